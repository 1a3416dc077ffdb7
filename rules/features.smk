# What the models are given: one shard of features, or of rewritten captions, for each shard of clips.


rule extract_features:
    input:
        unpack(inputs(features.extract_features)),
    output:
        update(f"{WORK}/{{scale}}/features/{{paper}}/{{feature}}/{{shard}}.parquet"),
    log:
        "logs/{scale}/features/{paper}/{feature}-{shard}.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/features/{{paper}}/{{feature}}-{{shard}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: threads_of("features")
    resources:
        **asks("features"),
    params:
        **job(features.extract_features),
    message:
        "Extracting the {wildcards.feature} features of {wildcards.paper}, shard {wildcards.shard}"
    script:
        "execute.py"


rule reduce_features:
    input:
        unpack(inputs(features.reduce_features)),
    output:
        update(f"{WORK}/{{scale}}/features/{{paper}}/{{reduction}}.{{suffix}}"),
    log:
        "logs/{scale}/features/{paper}/{reduction}-{suffix}.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/features/{{paper}}/{{reduction}}-{{suffix}}.tsv"
    wildcard_constraints:
        reduction=r"\w+",
        suffix="parquet|json",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("reductions")
    resources:
        **asks("reductions"),
    params:
        **job(features.reduce_features),
    message:
        "Reducing the features of {wildcards.paper} to {wildcards.reduction}"
    script:
        "execute.py"
