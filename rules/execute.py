"""What the rules run: the job that is described in their params."""

from workflow_scripts.execute import execute

if __name__ == "__main__":  # and not in the processes that a job starts
    execute(snakemake)  # noqa: F821 - Snakemake provides it
