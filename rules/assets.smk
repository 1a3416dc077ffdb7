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
