# One job trains a group of seeds of one experiment. Checkpoints lie outside the outputs, so that a killed job resumes.
# SLURM sends signals to all processes of a job: the shell gives its place to Python, which makes a checkpoint and ends
# with exit code 75, `tee` lives until Python has said so, and Snakemake, which SIGUSR1 would kill, does not hear it.
import signal

signal.signal(signal.SIGUSR1, signal.SIG_IGN)


rule train:
    input:
        manifest=planned(lambda plan, w: plan.manifest(plan.experiment_corpus(w.paper, w.experiment))),
        others=planned(lambda plan, w: plan.training_inputs(w.paper, w.experiment)),
    output:
        multiext(
            f"{WORK}/{{scale}}/training/{{paper}}/{{experiment}}/{{group}}/",
            "predictions.parquet",
            "history.parquet",
            "weights.safetensors",
            "params.json",
        ),
    log:
        "logs/{scale}/training/{paper}/{experiment}-{group}.log",
    conda:
        "../envs/environment.yaml"
    params:
        system=planned(lambda plan, w: plan.experiment(w.paper, w.experiment).system),
        definition=planned(lambda plan, w: as_json(plan.experiment(w.paper, w.experiment).settings)),
        inputs=planned(lambda plan, w: plan.training_options(w.paper, w.experiment)),
        seeds=planned(lambda plan, w: plan.group_seeds(w.paper, w.experiment, w.group)),
        seconds=planned(lambda plan, w: plan.corpus(plan.experiment_corpus(w.paper, w.experiment)).clip_seconds),
        folder=lambda w, output: Path(output[0]).parent,
        checkpoints=f"{WORK}/checkpoints",
        device=CONFIG.device,
        precision=CONFIG.precision,
        revision=planned(lambda plan, w: revision(SYSTEMS, plan.experiment(w.paper, w.experiment).system)),
    message:
        "Training {wildcards.experiment} of {wildcards.paper}, {wildcards.group}"
    shell:
        "exec python -m workflow_scripts.training.train --system {params.system} --definition {params.definition:q}"
        " --manifest {input.manifest:q} {params.inputs} --seeds {params.seeds} --clip-seconds {params.seconds}"
        " --output-dir {params.folder:q} --checkpoint-dir {params.checkpoints:q} --device {params.device}"
        " --precision {params.precision} --threads {threads} 2> >(trap '' TERM USR1; exec tee {log:q} >&2)"
