# From predictions to metrics. Cheap: runs again when its code changes.


rule score:
    input:
        manifest=planned(lambda plan, w: plan.manifest(plan.experiment_corpus(w.paper, w.experiment))),
        predictions=planned(lambda plan, w: plan.training_outputs(w.paper, w.experiment, "predictions.parquet")),
        assets=planned(lambda plan, w: [plan.asset_path(name) for name in plan.scoring_assets(w.paper, w.experiment)]),
    output:
        multiext(
            f"{WORK}/{{scale}}/scores/{{paper}}/{{experiment}}/",
            "scores.parquet",
            "counts.parquet",
        ),
    log:
        "logs/{scale}/scores/{paper}/{experiment}.log",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("scores")
    resources:
        **asks("scores"),
    params:
        family=planned(lambda plan, w: plan.experiment(w.paper, w.experiment).metrics),
        definition=planned(lambda plan, w: as_json(plan.experiment(w.paper, w.experiment).scoring)),
        predictions=lambda w, input: " ".join(f"--predictions '{path}'" for path in input.predictions),
        assets=planned(lambda plan, w: plan.asset_options(plan.scoring_assets(w.paper, w.experiment))),
        folder=lambda w, output: Path(output[0]).parent,
        code=planned(
            lambda plan, w: code_hash(
                "workflow_scripts.scores.score",
                f"{FAMILIES}.{plan.experiment(w.paper, w.experiment).metrics}",
            )
        ),
    message:
        "Scoring {wildcards.experiment} of {wildcards.paper}"
    shell:
        "python -m workflow_scripts.scores.score --metrics {params.family} --definition {params.definition:q}"
        " --manifest {input.manifest:q} {params.predictions} {params.assets} --output-dir {params.folder:q} 2> {log:q}"
