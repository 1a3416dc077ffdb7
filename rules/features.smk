# What the models are given: one shard of features for each shard of clips.


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
    params:
        extractor=planned(lambda plan, w: plan.feature(w.paper, w.feature).extractor),
        definition=planned(lambda plan, w: as_json(plan.extractor(w.paper, w.feature))),
        seconds=planned(lambda plan, w: plan.corpus(plan.feature_corpus(w.paper, w.feature)).clip_seconds),
        source=planned(lambda plan, w: plan.feature_source(w.paper, w.feature, w.shard)),
        assets=planned(lambda plan, w: plan.asset_options(plan.extractor(w.paper, w.feature).assets)),
        device=CONFIG.device,
        revision=planned(lambda plan, w: revision(EXTRACTORS, plan.feature(w.paper, w.feature).extractor)),
    message:
        "Extracting the {wildcards.feature} features of {wildcards.paper}, shard {wildcards.shard}"
    shell:
        "python -m workflow_scripts.features.extract --extractor {params.extractor}"
        " --definition {params.definition:q} --clip-seconds {params.seconds} {params.source}"
        " {params.assets} --device {params.device} --threads {threads}"
        " --output {output:q} 2> >(tee {log:q} >&2)"
