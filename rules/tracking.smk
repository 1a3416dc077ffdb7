# Runs and tables go into MLflow from the files that the jobs have written. A store that cannot be reached costs nothing.


rule sync_tracking:
    input:
        unpack(inputs(tracking.sync_tracking)),
    output:
        f"{WORK}/{{scale}}/tracking/{{paper}}.json",
    log:
        "logs/{scale}/tracking/{paper}.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/tracking/{{paper}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: threads_of("tracking")
    resources:
        **asks("tracking"),
    params:
        **job(tracking.sync_tracking),
    message:
        "Syncing the runs and tables of {wildcards.paper} into MLflow"
    script:
        "execute.py"


rule sync_table:
    input:
        unpack(inputs(tracking.sync_table)),
    output:
        f"{WORK}/{{scale}}/tracking/tables/{{table}}.json",
    log:
        "logs/{scale}/tracking/{table}.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/tracking/tables/{{table}}.tsv"
    wildcard_constraints:
        table=r"table\d+",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("tracking")
    resources:
        **asks("tracking"),
    params:
        **job(tracking.sync_table),
    message:
        "Syncing {wildcards.table} of all papers, and its runs, into MLflow"
    script:
        "execute.py"
