# Cells, tables, claims, coverage, and the front doors results/table<n>.csv. Cheap: run again when their code changes.


rule count_coverage:
    input:
        planned(lambda plan, w: plan.ledger_inputs(w.paper)),
    output:
        table="results/{scale}/{paper}/coverage.csv",
        values=f"{WORK}/{{scale}}/tables/{{paper}}/coverage.json",
    log:
        "logs/{scale}/tables/{paper}-coverage.log",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("tables")
    resources:
        **asks("tables"),
    params:
        definition=planned(lambda plan, w: as_json(plan.ledgers(w.paper))),
        code=code_hash("workflow_scripts.tables.coverage"),
    message:
        "Counting the clips of {wildcards.paper}"
    shell:
        "python -m workflow_scripts.tables.coverage --definition {params.definition:q} --output {output.table:q}"
        " --values {output.values:q} 2> {log:q}"


rule make_table:
    input:
        planned(lambda plan, w: plan.table_inputs(w.paper, w.table)),
        published=lambda w: ROOT / "papers" / w.paper / "published.csv",
    output:
        table="results/{scale}/{paper}/{table}.csv",
        markdown="results/{scale}/{paper}/{table}.md",
    log:
        "logs/{scale}/tables/{paper}-{table}.log",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("tables")
    resources:
        **asks("tables"),
    params:
        definition=planned(lambda plan, w: as_json(plan.table(w.paper, w.table))),
        options=planned(lambda plan, w: plan.table_options(w.paper, w.table)),
        models=planned(
            lambda plan, w: [f"--settings={name}={text}" for name, text in plan.models(w.paper, w.table).items()]
        ),
        replicates=CONFIG.bootstrap,
        code=planned(lambda plan, w: plan.table_code(w.paper, w.table)),
    message:
        "Making {wildcards.table} of {wildcards.paper}"
    shell:
        "python -m workflow_scripts.tables.make --paper {wildcards.paper} --table {wildcards.table}"
        " --scale {wildcards.scale} --definition {params.definition:q} --published {input.published:q}"
        " {params.options} {params.models:q} --replicates {params.replicates} --output {output.table:q}"
        " --markdown {output.markdown:q} 2> {log:q}"


rule draw_table:
    input:
        "results/{scale}/{paper}/{table}.csv",
    output:
        multiext("results/{scale}/{paper}/{table}", png=".png", svg=".svg"),
    log:
        "logs/{scale}/tables/{paper}-{table}-picture.log",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("tables")
    resources:
        **asks("tables"),
    params:
        title=planned(lambda plan, w: plan.table(w.paper, w.table).title),
        comparable=planned(lambda plan, w: "--comparable" if plan.table(w.paper, w.table).comparable else ""),
        code=code_hash("workflow_scripts.tables.picture"),
    message:
        "Drawing {wildcards.table} of {wildcards.paper}"
    shell:
        "python -m workflow_scripts.tables.picture --table {input:q} --title {params.title:q} {params.comparable}"
        " --output {output.png:q}"
        " --output {output.svg:q} 2> {log:q}"


rule check_claims:
    input:
        planned(
            lambda plan, w: [
                f"{plan.score_folder(w.paper, name)}/counts.parquet" for name in plan.claim_experiments(w.paper)
            ]
        ),
        published=lambda w: ROOT / "papers" / w.paper / "published.csv",
    output:
        "results/{scale}/{paper}/claims.csv",
    log:
        "logs/{scale}/tables/{paper}-claims.log",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("tables")
    resources:
        **asks("tables"),
    params:
        definition=planned(lambda plan, w: as_json(plan.claims(w.paper))),
        tables=planned(
            lambda plan, w: as_json(
                {name: table.model_dump(mode="json") for name, table in plan.claim_tables(w.paper).items()}
            )
        ),
        scores=planned(
            lambda plan, w: " ".join(
                f"--scores '{name}={plan.score_folder(w.paper, name)}'" for name in plan.claim_experiments(w.paper)
            )
        ),
        replicates=CONFIG.bootstrap,
        code=code_hash("workflow_scripts.tables.claims"),
    message:
        "Checking the claims of {wildcards.paper}"
    shell:
        "python -m workflow_scripts.tables.claims --paper {wildcards.paper} --scale {wildcards.scale}"
        " --definition {params.definition:q} --tables {params.tables:q} --published {input.published:q}"
        " {params.scores} --replicates {params.replicates} --output {output:q} 2> {log:q}"


rule join_papers:
    input:
        planned(lambda plan, w: [plan.result(paper, f"{w.kind}.csv") for paper in plan.papers]),
    output:
        "results/{scale}/{kind}.csv",
    log:
        "logs/{scale}/tables/{kind}.log",
    wildcard_constraints:
        kind="claims|coverage",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("tables")
    resources:
        **asks("tables"),
    params:
        inputs=lambda w, input: " ".join(f"--input '{path}'" for path in input),
        code=code_hash("workflow_scripts.tables.join"),
    message:
        "Joining the {wildcards.kind} of all papers"
    shell:
        "python -m workflow_scripts.tables.join {params.inputs} --output {output:q} > {log:q} 2>&1"


rule open_front_door:
    input:
        tables=lambda w: [plan(CONFIG.scale).result(paper, f"{w.table}.csv") for paper in with_table(w.table)],
        others=lambda w: [
            *judged(w.table),
            *pictures(w.table),
            *tracked(w.table),
        ],
    output:
        "results/{table}.csv",
    log:
        "logs/tables/{table}.log",
    wildcard_constraints:
        table=r"table\d+",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("tables")
    resources:
        **asks("tables"),
    params:
        inputs=lambda w, input: " ".join(f"--input '{path}'" for path in input.tables),
        code=code_hash("workflow_scripts.tables.join"),
    message:
        f"Joining {{wildcards.table}} of all papers at the scale {CONFIG.scale}"
    shell:
        "python -m workflow_scripts.tables.join {params.inputs} --output {output:q} > {log:q} 2>&1"
