"""Makes one folder of a trained system, with which `predict` works anywhere.

    python -m workflow_scripts.export work/mini/training/boes_avsed/SA/seeds-0-3 sound-events

The folder holds `model.json` (the system, its classes or words, how its features are made), `weights.safetensors`, the
assets and lexicons that its features need, `README.md`, a model card, and in `uses` the members of an ensemble.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workflow_scripts.errors import UserError, room_in, run
from workflow_scripts.files import read_csv
from workflow_scripts.predict.description import FILE, Description, Found, find
from workflow_scripts.settings.corpora import Corpus
from workflow_scripts.settings.scale import Scale
from workflow_scripts.shards import atomic
from workflow_scripts.tables import plan as tables
from workflow_scripts.training.outputs import read_params, read_weights, weights_digest
from workflow_scripts.training.plan import experiment_corpus

if TYPE_CHECKING:
    from workflow_scripts.training.predictor import Predictor


def export(folder: Path, target: Path, seed: int | None = None) -> None:
    """Writes the folder `target`, which must be empty or not there, of a seed of a run."""
    from workflow_scripts.predict.model import Model

    found = find(folder, seed)
    if found.scale is None:
        raise UserError(f"{folder}: is an export already; copy the folder")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target}: is there already; name another folder, or empty it")
    predictor = Model(found, "cpu", 1).predictor  # what cannot predict is not exported
    with room_in(target.parent):
        assets = copied(found, target, set())
        with atomic(target / "README.md") as temporary:
            lines = card(found.scale, found.description, folder, assets, predictor)
            temporary.write_text("\n".join(lines), encoding="utf-8")


def copied(found: Found, target: Path, there: set[Path]) -> list[str]:
    """Writes a system into a folder, and those that it uses below it; `there` are files that lie above already.

    Returns the names of all assets.
    """
    from safetensors.torch import save_file

    about, assets = found.description, list(found.assets)
    weights = read_weights(found.folder, about.seed)
    told = {str(about.seed): weights_digest({name: values.numpy() for name, values in weights.items()})}
    for kind, files in (("assets", found.assets), ("reductions", found.reductions)):
        for name, path in files.items():
            if path not in there:
                (target / kind / name).mkdir(parents=True)
                shutil.copyfile(path, target / kind / name / path.name)
    above = there | {*found.assets.values(), *found.reductions.values()}
    for role, own in found.used.items():
        assets += copied(own, target / "uses" / role, above)
    with atomic(target / "weights.safetensors") as temporary:
        save_file({f"{about.seed}/{name}": values.contiguous() for name, values in weights.items()}, temporary, told)
    with atomic(target / FILE) as temporary:
        temporary.write_text(about.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return list(dict.fromkeys(assets))


def card(scale: Scale, about: Description, folder: Path, assets: list[str], predictor: "Predictor") -> Iterator[str]:
    """The lines of a model card."""
    paper, params = scale.paper(about.paper), read_params(folder)
    corpus = scale.corpus(experiment_corpus(scale, about.paper, about.experiment))
    yield f"# {about.experiment} of {about.paper}, seed {about.seed}\n"
    yield f"Gives {predictor.gives}. Trained by Encore at the scale `{about.scale}` as in:"
    yield f"{paper.citation}: *{paper.title}*. {paper.url}\n"
    yield "```bash\npython -m workflow_scripts.predict THIS_FOLDER FILE…\n```\n"
    if "members" in params:
        yield f"- Members: {', '.join(params['members'])}, in `uses`"
    else:
        parameters = f"{params['parameters']:,} parameters"
        yield f"- Network: {parameters}, the weights in `weights.safetensors`; all else in `{FILE}`"
        yield f"- Reads: {', '.join(about.features)}, of clips of {about.clip_seconds:g} s"
    yield f"- Trained on: {corpus.title}; clips: {told(params['clips'])}"
    if "frames" in predictor.schema.names:
        yield f"- Events: probability above {about.threshold:g}, median filter of {about.median_filter} frames"
    yield ""
    if corpus.caveat:
        yield f"**{corpus.caveat.strip()}**\n"
    yield from scores(scale, about)
    yield from licences(scale, corpus, assets)


def told(clips: dict[str, int]) -> str:
    return ", ".join(f"{split} {count}" for split, count in clips.items())


def scores(scale: Scale, about: Description) -> Iterator[str]:
    """The cells of tables that rest on this system, as far as they have been made."""
    lines = []
    for name in scale.paper(about.paper).tables:
        declared = tables.declared(scale, about.paper, name)
        rows = {(row.group, row.label) for row in declared.rows if row.experiment == about.experiment}
        path = scale.root / scale.result(about.paper, f"{name}.csv")
        if not rows or not path.exists():
            continue
        for _, cell in read_csv(path, ["group", "row", "column", "measured", "ci_low", "ci_high", "published"]):
            if (cell["group"], cell["row"]) in rows and cell["measured"]:
                interval = f"{cell['ci_low']} to {cell['ci_high']}" if cell["ci_low"] else ""
                place = ", ".join(filter(None, (cell["group"], cell["row"])))
                values = (cell["measured"], interval, cell["published"])
                lines.append(f"| {name} | {place} | {cell['column']} | {' | '.join(values)} |")
    yield "## Scores on test clips\n"
    if not lines:
        yield f"None of its tables has been made; make one, such as `snakemake --cores all results/{scale.name}/"
        yield f"{about.paper}/<table>.csv`, and export again.\n"
        return
    yield "Of all seeds of the experiment, as Encore's tables have them; `published` is the paper's.\n"
    yield "| table | row | column | measured | 95 % | published |\n|---|---|---|---|---|---|"
    yield from lines
    yield ""


def licences(scale: Scale, corpus: Corpus, assets: list[str]) -> Iterator[str]:
    """Whose work is in the folder, or went into the weights."""
    yield "## Licences\n"
    yield f"- Annotations that it learned from ({corpus.title}): {corpus.licence}; the media are their makers'"
    for name in assets:
        asset = scale.asset(name, FILE)
        yield f"- `assets/{name}`: {asset.licence}" + (f"; {asset.note}" if asset.note else "")
    yield "- Encore's code: MIT\n\nWhat may be done with the weights depends on all of these.\n"


def main(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="work/<scale>/training/<paper>/<experiment>/<seeds>")],
    target: Annotated[Path, typer.Argument(metavar="FOLDER", help="the folder to make")],
    seed: Annotated[int | None, typer.Option(help="of the run; default: its first")] = None,
) -> None:
    """Makes one folder of a trained system, with which `predict` works on any machine that has this code."""
    export(folder, target, seed)


if __name__ == "__main__":
    run(lambda: typer.run(main))
