# Listening tests: a page for raters, and scores from the files that they return to ratings/<scale>/<paper>/<table>/.
# Cheap: run again when their code changes.


rule export_listening_test:
    input:
        unpack(inputs(listening.export_listening_test)),
    output:
        "results/{scale}/{paper}/listening/{listening}.html",
        "results/{scale}/{paper}/listening/{listening}-key.json",
    log:
        "logs/{scale}/listening/{paper}-{listening}-export.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/listening/{{paper}}-{{listening}}-export.tsv"
    wildcard_constraints:
        listening=r"table\w+",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("tables")
    resources:
        **asks("tables"),
    params:
        **job(listening.export_listening_test),
    message:
        "Writing the page of the listening test {wildcards.listening} of {wildcards.paper}"
    script:
        "execute.py"


rule collect_ratings:
    input:
        unpack(inputs(listening.collect_ratings)),
    output:
        f"{WORK}/{{scale}}/tables/{{paper}}/{{listening}}.json",
    log:
        "logs/{scale}/listening/{paper}-{listening}-ratings.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/listening/{{paper}}-{{listening}}-ratings.tsv"
    wildcard_constraints:
        listening=r"table\w+",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("tables")
    resources:
        **asks("tables"),
    params:
        **job(listening.collect_ratings),
    message:
        "Reading the ratings of the listening test {wildcards.listening} of {wildcards.paper}"
    script:
        "execute.py"
