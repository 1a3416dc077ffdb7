# Figures of what was trained, each with the numbers that it shows. Cheap: drawn again when their code changes.


rule draw_figure:
    input:
        unpack(inputs(figures.draw_figure)),
    output:
        report(
            "results/{scale}/{paper}/{figure}.png",
            caption="report/figure.rst",
            category="{paper}",
            labels={"table": "{figure}", "scale": "{scale}", "kind": "figure"},
        ),
        multiext("results/{scale}/{paper}/{figure}", ".svg", ".csv"),
    log:
        "logs/{scale}/figures/{paper}-{figure}.log",
    benchmark:
        f"{WORK}/{{scale}}/benchmarks/figures/{{paper}}-{{figure}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: threads_of("figures")
    resources:
        **asks("figures"),
    params:
        **job(figures.draw_figure),
    message:
        "Drawing {wildcards.figure} of {wildcards.paper}"
    script:
        "execute.py"
