# From links to clips, and from clips to sound. Clips and the journal of what was asked stay when a job is killed.


rule fetch_clips:
    input:
        manifest=f"{WORK}/{{scale}}/corpora/{{corpus}}/manifest.parquet",
        sources=planned(lambda plan, w: plan.source_inputs(w.corpus)),
    output:
        f"{WORK}/{{scale}}/media/{{corpus}}/clips/{{shard}}.parquet",
    log:
        "logs/{scale}/media/{corpus}/fetch-{shard}.log",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("downloads")
    resources:
        **asks("downloads"),
        downloads=1,
    params:
        definition=planned(lambda plan, w: as_json(plan.download(w.corpus))),
        shards=planned(lambda plan, w: plan.corpus(w.corpus).shards),
        store=planned(lambda plan, w: plan.media(w.corpus)),
        serve=planned(lambda plan, w: plan.serve_option(w.corpus)),
        revision=media.REVISION,
    message:
        "Fetching the clips of {wildcards.corpus}, shard {wildcards.shard}"
    shell:
        "python -m workflow_scripts.media.fetch --manifest {input.manifest:q} --shard {wildcards.shard}"
        " --shards {params.shards} --definition {params.definition:q} --store {params.store:q} {params.serve}"
        " --output {output:q} 2> >(tee {log:q} >&2)"


rule decode_audio:
    input:
        f"{WORK}/{{scale}}/media/{{corpus}}/clips/{{shard}}.parquet",
    output:
        f"{WORK}/{{scale}}/media/{{corpus}}/audio-{{sample_rate}}/{{shard}}.parquet",
    log:
        "logs/{scale}/media/{corpus}/audio-{sample_rate}-{shard}.log",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("decoding")
    resources:
        **asks("decoding"),
    params:
        definition=planned(lambda plan, w: as_json(plan.audio(w.corpus, int(w.sample_rate)))),
        store=planned(lambda plan, w: plan.media(w.corpus)),
        revision=media.REVISION,
    message:
        "Decoding the sound of {wildcards.corpus} at {wildcards.sample_rate} Hz, shard {wildcards.shard}"
    shell:
        "python -m workflow_scripts.media.audio --clips {input:q} --store {params.store:q}"
        " --definition {params.definition:q} --output {output:q} 2> {log:q}"


rule fetch_records:
    input:
        planned(lambda plan, w: plan.annotation_inputs(w.corpus) if plan.corpus(w.corpus).composer else []),
    output:
        f"{WORK}/{{scale}}/media/{{corpus}}/records-{{level}}/{{shard}}.parquet",
    log:
        "logs/{scale}/media/{corpus}/records-{level}-{shard}.log",
    wildcard_constraints:
        level="video|frame",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("downloads")
    resources:
        **asks("downloads"),
        downloads=1,
    params:
        definition=planned(lambda plan, w: as_json(plan.corpus(w.corpus).records)),
        shards=planned(lambda plan, w: plan.corpus(w.corpus).shards),
        store=lambda w, output: Path(output[0]).parent,
        serve=planned(lambda plan, w: plan.serve_option(w.corpus)),
        revision=media.REVISION,
    message:
        "Fetching the {wildcards.level}-level records of {wildcards.corpus}, shard {wildcards.shard}"
    shell:
        "python -m workflow_scripts.media.records --level {wildcards.level} --shard {wildcards.shard}"
        " --shards {params.shards} --definition {params.definition:q} --store {params.store:q} {params.serve}"
        " --output {output:q} 2> >(tee {log:q} >&2)"


rule fetch_text:
    input:
        manifest=f"{WORK}/{{scale}}/corpora/{{corpus}}/manifest.parquet",
        records=f"{WORK}/{{scale}}/media/{{corpus}}/records-video/{{shard}}.parquet",
    output:
        f"{WORK}/{{scale}}/media/{{corpus}}/text/{{shard}}.parquet",
    log:
        "logs/{scale}/media/{corpus}/text-{shard}.log",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("downloads")
    resources:
        **asks("downloads"),
        downloads=1,
    params:
        definition=planned(lambda plan, w: as_json(plan.corpus(w.corpus).text)),
        files=planned(lambda plan, w: plan.text_options(w.corpus)),
        store=lambda w, output: Path(output[0]).parent,
        revision=media.REVISION,
    message:
        "Fetching the texts of {wildcards.corpus}, shard {wildcards.shard}"
    shell:
        "python -m workflow_scripts.media.text --manifest {input.manifest:q} --records {input.records:q}"
        " --definition {params.definition:q} {params.files} --store {params.store:q}"
        " --output {output:q} 2> >(tee {log:q} >&2)"
