# Listening tests: a page for raters, and scores from the files that they return to ratings/<scale>/<paper>/<table>/.
# Cheap: run again when their code changes.
from workflow_scripts.listening.export import SCRIPTS, STYLE, TEMPLATE


rule export_listening_test:
    input:
        planned(lambda plan, w: plan.listening_inputs(w.paper, w.listening)),
        parts=[TEMPLATE, STYLE, *SCRIPTS],
    output:
        page="results/{scale}/{paper}/listening/{listening}.html",
        key="results/{scale}/{paper}/listening/{listening}-key.json",
    log:
        "logs/{scale}/listening/{paper}-{listening}-export.log",
    wildcard_constraints:
        listening=r"table\w+",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("tables")
    resources:
        **asks("tables"),
    params:
        definition=planned(lambda plan, w: as_json(plan.listening(w.paper, w.listening))),
        options=planned(lambda plan, w: plan.listening_options(w.paper, w.listening)),
        code=code_hash("workflow_scripts.listening.export"),
    message:
        "Writing the page of the listening test {wildcards.listening} of {wildcards.paper}"
    shell:
        "python -m workflow_scripts.listening.export --name {wildcards.listening} --definition {params.definition:q}"
        " {params.options} --page {output.page:q} --key {output.key:q} 2> {log:q}"


rule collect_ratings:
    input:
        ratings=planned(lambda plan, w: plan.returned(w.paper, w.listening)),
        key=planned(lambda plan, w: plan.rating_key(w.paper, w.listening)),
    output:
        f"{WORK}/{{scale}}/tables/{{paper}}/{{listening}}.json",
    log:
        "logs/{scale}/listening/{paper}-{listening}-ratings.log",
    wildcard_constraints:
        listening=r"table\w+",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("tables")
    resources:
        **asks("tables"),
    params:
        definition=planned(lambda plan, w: as_json(plan.listening(w.paper, w.listening))),
        ratings=lambda w, input: [f"--ratings={path}" for path in input.ratings],
        code=code_hash("workflow_scripts.listening.ratings"),
    message:
        "Reading the ratings of the listening test {wildcards.listening} of {wildcards.paper}"
    shell:
        "python -m workflow_scripts.listening.ratings --definition {params.definition:q} --key {input.key:q}"
        " {params.ratings:q} --output {output:q} 2> {log:q}"
