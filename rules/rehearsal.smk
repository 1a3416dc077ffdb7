# What the full scale, or the pilot, will cost, and whether its jobs keep within what they ask for: each stage's real code at the
# papers' real counts with small payloads, without network or data.


rule rehearse:
    output:
        "results/{scale}/rehearsal.csv",
        "results/{scale}/rehearsal.md",
    log:
        "logs/{scale}/rehearsal.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/rehearsal.tsv"
    wildcard_constraints:
        scale="full|pilot",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("rehearsal")
    resources:
        **asks("rehearsal"),
    params:
        **job(rehearsal.rehearse),
    message:
        "Rehearsing: {wildcards.scale}"
    script:
        "execute.py"
