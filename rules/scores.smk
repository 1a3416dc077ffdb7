# From predictions to metrics, which are tried before anything is trained. Cheap: run again when their code changes.


rule try_metrics:
    input:
        unpack(inputs(scores.try_metrics)),
    output:
        f"{WORK}/{{scale}}/scores/{{paper}}/tried.json",
    log:
        "logs/{scale}/scores/{paper}-tried.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/scores/{{paper}}-tried.tsv"
    conda:
        "../envs/environment.yaml"
    threads: threads_of("scores")
    resources:
        **asks("scores"),
    params:
        **job(scores.try_metrics),
    message:
        "Trying what the metrics of {wildcards.paper} need"
    script:
        "execute.py"


rule score:
    input:
        unpack(inputs(scores.score)),
    output:
        f"{WORK}/{{scale}}/scores/{{paper}}/{{experiment}}/scores.parquet",
        f"{WORK}/{{scale}}/scores/{{paper}}/{{experiment}}/counts.parquet",
        f"{WORK}/{{scale}}/scores/{{paper}}/{{experiment}}/replicates.parquet",
    log:
        "logs/{scale}/scores/{paper}/{experiment}.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/scores/{{paper}}/{{experiment}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: threads_of("scores")
    resources:
        **asks("scores"),
    params:
        **job(scores.score),
    message:
        "Scoring {wildcards.experiment} of {wildcards.paper}"
    script:
        "execute.py"
