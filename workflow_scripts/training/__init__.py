"""Training: a job fits the seeds of an experiment and leaves four files.

A new network, loss or setting belongs in the folder of its system in `systems`. The rest serves all of them: the loop,
checkpoints, several processes, sampling, schedules, streams, and the result files.
"""
