"""What sound and pictures tell of the labels of a finished run's clips, whatever the networks make of it.

    python -m benchmarks.sound_and_pictures [--scale mini] [--paper boes_avsed]

A logistic regression for each class reads the features of a clip pooled over time (their mean and maximum). It learns
from the weakly labelled clips and is tried on the validation clips; test clips are not looked at. Prints the mean of
the classes' average precision, the highest micro F1 of any one threshold, and what pictures say of labels that
are not heard: that lie below the loudest third of the clips by the regression on sound.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from workflow_scripts.errors import run
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.scale import Scale
from workflow_scripts.training import plan as training
from workflow_scripts.training.clips import load_clips, multi_hot

ROOT = Path(__file__).parent.parent
SYSTEMS = (["spectral"], ["auditory"], ["visual"], ["spectral", "visual"], ["auditory", "visual"])
TOP = 1 / 3


def probabilities(inputs: np.ndarray, targets: np.ndarray, others: np.ndarray) -> np.ndarray:
    """What regressions that learned from `inputs` (clips, values) say of `others`, (others, classes)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    found = np.zeros((len(others), targets.shape[1]))
    for label in range(targets.shape[1]):
        if len(np.unique(targets[:, label])) > 1:
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
            found[:, label] = model.fit(inputs, targets[:, label]).predict_proba(others)[:, 1]
    return found


def in_top(values: np.ndarray) -> np.ndarray:
    """Which clips are among the highest third of a class."""
    return np.argsort(np.argsort(-values, axis=0), axis=0) < TOP * len(values)


def main(
    scale: Annotated[str, typer.Option(help="Scale of the finished run.")] = "mini",
    paper: Annotated[str, typer.Option(help="Its paper.")] = "boes_avsed",
) -> None:
    """Print what pooled features tell."""
    from sklearn.metrics import average_precision_score

    here = Scale(ROOT, Config(), scale)
    names = list(dict.fromkeys(name for system in SYSTEMS for name in system))
    job = training.train(here, paper, "SAV", next(iter(training.seed_groups(here, paper, "SAV"))))
    clips = load_clips(job, names, ["weak", "validation"])
    learned, tried = clips.of(["weak"]), clips.of(["validation"])
    targets = multi_hot(clips.rows, training.system(here, paper, "SAV").classes) > 0.5
    true = targets[tried]

    def pooled(system: Sequence[str], places: np.ndarray) -> np.ndarray:
        stored = [clips.features[name][places].astype(np.float32) for name in system]
        return np.concatenate([pool for values in stored for pool in (values.mean(1), values.max(1))], axis=1)

    said = {}
    print(f"{len(learned)} clips to learn from, {len(tried)} to try on; a label is true of {true.mean():.3f} of them")
    for system in SYSTEMS:
        name = " + ".join(system)
        found = said[name] = probabilities(pooled(system, learned), targets[learned], pooled(system, tried))
        seen = [average_precision_score(true[:, n], found[:, n]) for n in range(true.shape[1]) if true[:, n].any()]
        best = max(
            2 * ((found > at) & true).sum() / ((found > at).sum() + true.sum()) for at in np.linspace(0.05, 0.9, 18)
        )
        print(f"{name:20} average precision {np.mean(seen):.3f}, micro F1 {best:.3f}")
    for name in ("spectral", "auditory"):
        unheard = true & ~in_top(said[name])
        share = in_top(said["visual"])[unheard].mean() if unheard.any() else np.nan
        print(
            f"{unheard.sum()} of {true.sum()} labels not heard by {name}: {share:.2f} of them seen (chance {TOP:.2f})"
        )


if __name__ == "__main__":
    run(lambda: typer.run(main))
