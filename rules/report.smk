# The report: one page of all that a scale has. Cheap: written again when its code changes.


rule write_report:
    input:
        unpack(inputs(reporting.write_report)),
    output:
        "results/{scale}/report.html",
    log:
        "logs/{scale}/report/report.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/report/report.tsv"
    conda:
        "../envs/environment.yaml"
    threads: threads_of("figures")
    resources:
        **asks("figures"),
    params:
        **job(reporting.write_report),
    message:
        "Writing the report of the scale {wildcards.scale}"
    script:
        "execute.py"
