# Files that somebody else made, fetched once for all scales.


rule fetch_asset:
    output:
        f"{WORK}/assets/{{asset}}/{{file}}",
    log:
        "logs/assets/{asset}/{file}.log",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("assets")
    resources:
        **asks("assets"),
        downloads=1,
    params:
        definition=lambda wildcards: as_json(plan(CONFIG.scale).asset(wildcards.asset, "assets")),
    message:
        "Fetching the asset {wildcards.asset}"
    shell:
        "python -m workflow_scripts.assets.fetch --asset {wildcards.asset} --definition {params.definition:q}"
        " --output {output:q} 2> {log:q}"


rule fetch_model:
    output:
        f"{WORK}/models/{{model}}/{{revision}}/fetched.json",
    log:
        "logs/models/{model}/{revision}.log",
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
        model=lambda wildcards: wildcards.model.replace("--", "/"),
        folder=lambda wildcards, output: Path(output[0]).parent,
    message:
        "Fetching the language model {params.model}"
    shell:
        "python -m workflow_scripts.assets.hub --model {params.model:q} --revision {wildcards.revision:q}"
        " --folder {params.folder:q} --output {output:q} 2> {log:q}"


rule unpack_archives:
    input:
        lambda wildcards: [
            plan(CONFIG.scale).asset_path(name) for name in plan(CONFIG.scale).corpus(wildcards.corpus).archives
        ],
    output:
        f"{WORK}/archives/{{corpus}}/unpacked.json",
    log:
        "logs/archives/{corpus}.log",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("unpacking")
    resources:
        **asks("unpacking"),
    params:
        archives=lambda wildcards: plan(CONFIG.scale).asset_options(
            plan(CONFIG.scale).corpus(wildcards.corpus).archives
        ),
        folder=lambda wildcards, output: Path(output[0]).parent / "files",
    message:
        "Unpacking the archives of {wildcards.corpus}"
    shell:
        "python -m workflow_scripts.assets.unpack {params.archives} --folder {params.folder:q} --output {output:q}"
        " 2> >(tee {log:q} >&2)"
