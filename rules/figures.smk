# Figures of what was trained, each with the numbers that it shows. Cheap: drawn again when their code changes.


rule draw_figure:
    input:
        planned(lambda plan, w: plan.figure_inputs(w.paper, w.figure)),
    output:
        multiext("results/{scale}/{paper}/{figure}", png=".png", svg=".svg", csv=".csv"),
    log:
        "logs/{scale}/figures/{paper}-{figure}.log",
    conda:
        "../envs/environment.yaml"
    threads: threads_of("figures")
    resources:
        **asks("figures"),
    params:
        kind=planned(lambda plan, w: plan.figure(w.paper, w.figure).kind),
        definition=planned(lambda plan, w: as_json(plan.figure(w.paper, w.figure).settings)),
        title=planned(lambda plan, w: plan.figure(w.paper, w.figure).title),
        seed=planned(lambda plan, w: plan.figure(w.paper, w.figure).seed),
        options=planned(lambda plan, w: plan.figure_options(w.paper, w.figure)),
        note=planned(lambda plan, w: plan.figure_note(w.paper, w.figure)),
        code=planned(lambda plan, w: plan.figure_code(w.paper, w.figure)),
    message:
        "Drawing {wildcards.figure} of {wildcards.paper}"
    shell:
        "python -m workflow_scripts.figures.draw --kind {params.kind} --definition {params.definition:q}"
        " --title {params.title:q} --note {params.note:q} --seed {params.seed}"
        " {params.options} --output {output.png:q} --output {output.svg:q} --data {output.csv:q} 2> {log:q}"
