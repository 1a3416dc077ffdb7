# What the models are given: one shard of features, or of rewritten captions, for each shard of clips.


rule extract_features:
    input:
        clips=planned(lambda plan, w: plan.feature_input(w.paper, w.feature, w.shard)),
        assets=planned(lambda plan, w: [plan.asset_path(name) for name in plan.extractor(w.paper, w.feature).assets]),
    output:
        f"{WORK}/{{scale}}/features/{{paper}}/{{feature}}/{{shard}}.parquet",
    log:
        "logs/{scale}/features/{paper}/{feature}-{shard}.log",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("features")
    resources:
        **asks("features"),
    params:
        command=planned(lambda plan, w: plan.feature_command(w.paper, w.feature, w.shard)),
        definition=planned(lambda plan, w: as_json(plan.extractor(w.paper, w.feature))),
        assets=planned(lambda plan, w: plan.asset_options(plan.extractor(w.paper, w.feature).assets)),
        revision=planned(lambda plan, w: revision(EXTRACTORS, plan.feature(w.paper, w.feature).extractor)),
    message:
        "Extracting the {wildcards.feature} features of {wildcards.paper}, shard {wildcards.shard}"
    shell:
        "python -m workflow_scripts.{params.command}"
        " --definition {params.definition:q} {params.assets} --threads {threads}"
        " --output {output:q} 2> >(tee {log:q} >&2)"


rule reduce_features:
    input:
        shards=planned(lambda plan, w: plan.feature_shards(w.paper, plan.reduction(w.paper, w.reduction).feature)),
        manifest=planned(lambda plan, w: plan.manifest(plan.reduction_corpus(w.paper, w.reduction))),
        assets=planned(lambda plan, w: [plan.asset_path(name) for name in plan.reducer(w.paper, w.reduction).assets]),
    output:
        f"{WORK}/{{scale}}/features/{{paper}}/{{reduction}}.{{suffix}}",
    log:
        "logs/{scale}/features/{paper}/{reduction}-{suffix}.log",
    wildcard_constraints:
        reduction=r"\w+",
        suffix="parquet|json",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("reductions")
    resources:
        **asks("reductions"),
    params:
        reducer=planned(lambda plan, w: plan.reduction(w.paper, w.reduction).reducer),
        definition=planned(lambda plan, w: as_json(plan.reducer(w.paper, w.reduction))),
        shards=lambda w, input: " ".join(f"--features '{path}'" for path in input.shards),
        assets=planned(lambda plan, w: plan.asset_options(plan.reducer(w.paper, w.reduction).assets)),
        revision=planned(lambda plan, w: revision(REDUCERS, plan.reduction(w.paper, w.reduction).reducer)),
    message:
        "Reducing the features of {wildcards.paper} to {wildcards.reduction}"
    shell:
        "python -m workflow_scripts.features.reduce --reducer {params.reducer} --definition {params.definition:q}"
        " {params.shards} --manifest {input.manifest:q} {params.assets} --threads {threads} --output {output:q} 2> >(tee {log:q} >&2)"
