# What the clips are: composed corpora are made first; annotation files become a manifest.


rule compose_corpus:
    input:
        planned(lambda plan, w: [plan.asset_path(name) for name in plan.composer(w.corpus).assets]),
    output:
        f"{WORK}/{{scale}}/corpora/{{corpus}}/composed/COMPOSED.md",
    log:
        "logs/{scale}/corpora/{corpus}/compose.log",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("composition")
    resources:
        **asks("composition"),
    params:
        composer=planned(lambda plan, w: plan.corpus(w.corpus).composer),
        definition=planned(lambda plan, w: as_json(plan.composer(w.corpus))),
        assets=planned(lambda plan, w: plan.asset_options(plan.composer(w.corpus).assets)),
        folder=planned(lambda plan, w: plan.composed(w.corpus)),
        revision=planned(lambda plan, w: plan.composer(w.corpus).revision),
    message:
        "Composing the corpus {wildcards.corpus}"
    shell:
        "python -m composed --composer {params.composer}"
        " --definition {params.definition:q} {params.assets} --output-dir {params.folder:q} --workers {threads}"
        " 2> >(tee {log:q} >&2)"


rule annotate_corpus:
    input:
        planned(lambda plan, w: plan.annotation_inputs(w.corpus)),
        planned(lambda plan, w: plan.ledgers_of_records(w.corpus, "video") if plan.corpus(w.corpus).records else []),
    output:
        f"{WORK}/{{scale}}/corpora/{{corpus}}/manifest.parquet",
    log:
        "logs/{scale}/corpora/{corpus}/annotate.log",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("annotation")
    resources:
        **asks("annotation"),
    params:
        reader=planned(lambda plan, w: plan.corpus(w.corpus).reader),
        files=planned(lambda plan, w: plan.annotation_options(w.corpus)),
        definition=planned(
            lambda plan, w: as_json(
                {
                    "link": plan.corpus(w.corpus).link,
                    "limit": CONFIG.limit,
                    "reading": plan.corpus(w.corpus).reading,
                }
            )
        ),
        revision=planned(lambda plan, w: revision(READERS, plan.corpus(w.corpus).reader)),
    message:
        "Reading the annotations of {wildcards.corpus}"
    shell:
        "python -m workflow_scripts.corpora.annotate --reader {params.reader} {params.files}"
        " --definition {params.definition:q} --output {output:q} 2> {log:q}"
