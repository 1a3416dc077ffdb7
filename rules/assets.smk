# Files that somebody else made, fetched once for all scales.


rule fetch_asset:
    output:
        update(f"{WORK}/assets/{{asset}}/{{file}}"),
    log:
        "logs/assets/{asset}/{file}.log",
    benchmark:
        f"{WORK}/benchmarks/assets/{{asset}}/{{file}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: threads_of("assets")
    resources:
        **asks("assets"),
        downloads=1,
    params:
        **job(assets.fetch_asset),
    message:
        "Fetching the asset {wildcards.asset}"
    script:
        "execute.py"


rule fetch_model:
    output:
        f"{WORK}/models/{{model}}/{{revision}}/fetched.json",
    log:
        "logs/models/{model}/{revision}.log",
    benchmark:
        f"{WORK}/benchmarks/models/{{model}}/{{revision}}.tsv"
    wildcard_constraints:
        model=r"[\w.-]+",
        revision=r"[\w.-]+",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("assets")
    resources:
        **asks("assets"),
        downloads=1,
    params:
        **job(assets.fetch_model),
    message:
        "Fetching the language model {wildcards.model}"
    script:
        "execute.py"


rule unpack_archives:
    input:
        unpack(inputs(assets.unpack_archives)),
    output:
        update(f"{WORK}/archives/{{corpus}}/unpacked.json"),
    log:
        "logs/archives/{corpus}.log",
    benchmark:
        f"{WORK}/benchmarks/archives/{{corpus}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: threads_of("unpacking")
    resources:
        **asks("unpacking"),
    params:
        **job(assets.unpack_archives),
    message:
        "Unpacking the archives of {wildcards.corpus}"
    script:
        "execute.py"
