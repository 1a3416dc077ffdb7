"""Scores on the command line, one sub-command for each kind of task: `python -m workflow_scripts.scores sed --help`."""

import typer

from workflow_scripts.errors import run
from workflow_scripts.scores import captions, sed, youtube8m

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.command("captions")(captions.main)
app.command("sed")(sed.main)
app.command("youtube8m")(youtube8m.main)


@app.callback()
def scores() -> None:
    """Scores a system's output against a reference, without the rest of the pipeline."""


if __name__ == "__main__":
    run(app)
