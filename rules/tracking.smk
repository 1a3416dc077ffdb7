# Runs and tables go into MLflow from the files that the jobs have written. A store that cannot be reached costs nothing.


rule sync_tracking:
    input:
        planned(lambda plan, w: plan.sync_inputs(w.paper)),
    output:
        f"{WORK}/{{scale}}/tracking/{{paper}}.json",
    log:
        "logs/{scale}/tracking/{paper}.log",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("tracking")
    resources:
        **asks("tracking"),
    params:
        uri=CONFIG.tracking_uri,
        options=planned(lambda plan, w: plan.sync_options(w.paper)),
        lock=ROOT / "envs" / "requirements.txt",
        code=code_hash("workflow_scripts.tracking.sync"),
    message:
        "Syncing the runs and tables of {wildcards.paper} into MLflow"
    shell:
        "MLFLOW_TRACKING_URI={params.uri:q} python -m workflow_scripts.tracking.sync --paper {wildcards.paper}"
        " --scale {wildcards.scale} {params.options} --coverage results/{wildcards.scale}/{wildcards.paper}/coverage.csv"
        " --lock {params.lock:q} --output {output:q} 2> >(tee {log:q} >&2)"
