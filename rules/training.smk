# One job trains a group of seeds of one experiment. Checkpoints lie outside the outputs, so that a killed job resumes.


rule train:
    input:
        unpack(inputs(training.train)),
        tried=metrics_tried,
    output:
        update(f"{WORK}/{{scale}}/training/{{paper}}/{{experiment}}/{{group}}/predictions.parquet"),
        update(f"{WORK}/{{scale}}/training/{{paper}}/{{experiment}}/{{group}}/history.parquet"),
        update(f"{WORK}/{{scale}}/training/{{paper}}/{{experiment}}/{{group}}/weights.safetensors"),
        update(f"{WORK}/{{scale}}/training/{{paper}}/{{experiment}}/{{group}}/params.json"),
    log:
        "logs/{scale}/training/{paper}/{experiment}-{group}.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/training/{{paper}}/{{experiment}}-{{group}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: threads_of("training")
    resources:
        **asks("training"),
    params:
        **job(training.train),
    message:
        "Training {wildcards.experiment} of {wildcards.paper}, {wildcards.group}"
    script:
        "execute.py"
