# Cells, tables, claims, coverage, and the front doors results/table<n>.csv. Cheap: run again when their code changes.


rule count_clips:
    input:
        unpack(inputs(tables.count_clips)),
    output:
        "results/{scale}/{paper}/clips.csv",
        f"{WORK}/{{scale}}/tables/{{paper}}/coverage.json",
    log:
        "logs/{scale}/tables/{paper}-clips.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/tables/{{paper}}-clips.tsv"
    conda:
        "../envs/environment.yaml"
    threads: threads_of("tables")
    resources:
        **asks("tables"),
    params:
        **job(tables.count_clips),
    message:
        "Counting the clips that could be had of {wildcards.paper}"
    script:
        "execute.py"


rule count_coverage:
    input:
        unpack(inputs(tables.count_coverage)),
    output:
        "results/{scale}/{paper}/coverage.csv",
    log:
        "logs/{scale}/tables/{paper}-coverage.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/tables/{{paper}}-coverage.tsv"
    conda:
        "../envs/environment.yaml"
    threads: threads_of("tables")
    resources:
        **asks("tables"),
    params:
        **job(tables.count_coverage),
    message:
        "Counting what each stage got of the clips of {wildcards.paper}"
    script:
        "execute.py"


rule make_table:
    input:
        unpack(inputs(tables.make_table)),
    output:
        report(
            "results/{scale}/{paper}/{table}.csv",
            caption="report/table.rst",
            category="{paper}",
            labels={"table": "{table}", "scale": "{scale}", "kind": "cells"},
        ),
        "results/{scale}/{paper}/{table}.md",
        "results/{scale}/{paper}/{table}.tex",
    log:
        "logs/{scale}/tables/{paper}-{table}.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/tables/{{paper}}-{{table}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: threads_of("tables")
    resources:
        **asks("tables"),
    params:
        **job(tables.make_table),
    message:
        "Making {wildcards.table} of {wildcards.paper}"
    script:
        "execute.py"


rule draw_table:
    input:
        unpack(inputs(tables.draw_table)),
    output:
        report(
            "results/{scale}/{paper}/{table}.png",
            caption="report/picture.rst",
            category="{paper}",
            labels={"table": "{table}", "scale": "{scale}", "kind": "picture"},
        ),
        "results/{scale}/{paper}/{table}.svg",
    log:
        "logs/{scale}/tables/{paper}-{table}-picture.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/tables/{{paper}}-{{table}}-picture.tsv"
    conda:
        "../envs/environment.yaml"
    threads: threads_of("tables")
    resources:
        **asks("tables"),
    params:
        **job(tables.draw_table),
    message:
        "Drawing {wildcards.table} of {wildcards.paper}"
    script:
        "execute.py"


rule check_claims:
    input:
        unpack(inputs(tables.check_claims)),
    output:
        report(
            "results/{scale}/{paper}/{claims}.csv",
            caption="report/claims.rst",
            category="{paper}",
            labels={"table": "{claims}", "scale": "{scale}", "kind": "claims"},
        ),
        "results/{scale}/{paper}/{claims}.md",
    log:
        "logs/{scale}/tables/{paper}-{claims}.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/tables/{{paper}}-{{claims}}.tsv"
    wildcard_constraints:
        claims=r"claims|table\d+_claims",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("tables")
    resources:
        **asks("tables"),
    params:
        **job(tables.check_claims),
    message:
        "Checking the {wildcards.claims} of {wildcards.paper}"
    script:
        "execute.py"


rule join_papers:
    input:
        unpack(inputs(tables.join_papers)),
    output:
        "results/{scale}/{kind}.csv",
    log:
        "logs/{scale}/tables/{kind}.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/tables/{{kind}}.tsv"
    wildcard_constraints:
        kind="claims|clips|coverage",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("tables")
    resources:
        **asks("tables"),
    params:
        **job(tables.join_papers),
    message:
        "Joining the {wildcards.kind} of all papers"
    script:
        "execute.py"


rule open_front_door:
    input:
        unpack(inputs(tables.open_front_door)),
    output:
        "results/{table}.csv",
        "results/{table}_claims.csv",
    log:
        "logs/tables/{table}.log",
    benchmark:
        f"{WORK}/benchmarks/tables/{{table}}.tsv"
    wildcard_constraints:
        table=r"table\d+",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("tables")
    resources:
        **asks("tables"),
    params:
        **job(tables.open_front_door),
    message:
        f"Joining {{wildcards.table}} of all papers at the scale {CONFIG.scale}"
    script:
        "execute.py"
