# From links to clips, and from clips to sound. Clips and the journal of what was asked stay when a job is killed.


rule fetch_clips:
    input:
        unpack(inputs(media.fetch_clips)),
    output:
        update(f"{WORK}/{{scale}}/media/{{corpus}}/clips/{{shard}}.parquet"),
    log:
        "logs/{scale}/media/{corpus}/fetch-{shard}.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/media/{{corpus}}/fetch-{{shard}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: threads_of("downloads")
    resources:
        **asks("downloads"),
        downloads=1,
    params:
        **job(media.fetch_clips),
    message:
        "Fetching the clips of {wildcards.corpus}, shard {wildcards.shard}"
    script:
        "execute.py"


rule decode_audio:
    input:
        unpack(inputs(media.decode_audio)),
    output:
        update(f"{WORK}/{{scale}}/media/{{corpus}}/audio-{{sample_rate}}/{{shard}}.parquet"),
    log:
        "logs/{scale}/media/{corpus}/audio-{sample_rate}-{shard}.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/media/{{corpus}}/audio-{{sample_rate}}-{{shard}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: threads_of("decoding")
    resources:
        **asks("decoding"),
    params:
        **job(media.decode_audio),
    message:
        "Decoding the sound of {wildcards.corpus} at {wildcards.sample_rate} Hz, shard {wildcards.shard}"
    script:
        "execute.py"


rule fetch_records:
    input:
        unpack(inputs(media.fetch_records)),
    output:
        update(f"{WORK}/{{scale}}/media/{{corpus}}/records-{{level}}/{{shard}}.parquet"),
    log:
        "logs/{scale}/media/{corpus}/records-{level}-{shard}.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/media/{{corpus}}/records-{{level}}-{{shard}}.tsv"
    wildcard_constraints:
        level="video|frame",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("downloads")
    resources:
        **asks("downloads"),
        downloads=1,
    params:
        **job(media.fetch_records),
    message:
        "Fetching the {wildcards.level}-level records of {wildcards.corpus}, shard {wildcards.shard}"
    script:
        "execute.py"


rule fetch_text:
    input:
        unpack(inputs(media.fetch_text)),
    output:
        update(f"{WORK}/{{scale}}/media/{{corpus}}/text/{{shard}}.parquet"),
    log:
        "logs/{scale}/media/{corpus}/text-{shard}.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/media/{{corpus}}/text-{{shard}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: threads_of("downloads")
    resources:
        **asks("downloads"),
        downloads=1,
    params:
        **job(media.fetch_text),
    message:
        "Fetching the texts of {wildcards.corpus}, shard {wildcards.shard}"
    script:
        "execute.py"
