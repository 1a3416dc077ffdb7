# From predictions to metrics. Cheap: runs again when its code changes.


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
