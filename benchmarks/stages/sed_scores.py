"""Scores of sound event detection by clips, segments and events, beside sed_eval's."""

import importlib
from pathlib import Path

import numpy as np

from benchmarks.stage import Stage, Work, agree
from workflow_scripts.metrics import sed

CLASSES, FRAMES, FRAME_SECONDS = 10, 151, 4 * 366 / 22100
LABELS = [f"class {number}" for number in range(CLASSES)]


def prepare(folder: Path, clips: int) -> None:
    """Smooth activities (clips, frames, classes) of about two events a clip, and a noisy system's version of them."""
    random = np.random.default_rng(0)
    steps = random.normal(size=(clips, FRAMES // 15 + 1, CLASSES)).repeat(15, axis=1)[:, :FRAMES]
    truth = steps > 1.9
    system = np.clip(truth + 0.35 * random.normal(size=truth.shape), 0, 1)
    np.savez(folder / "frames.npz", truth=truth.astype(float), system=system)


def events(folder: Path) -> tuple[sed.Events, sed.Events, int]:
    """Of the reference and of the system, and how many clips there are."""
    with np.load(folder / "frames.npz") as found:
        truth, system = found["truth"], found["system"]
    seconds = np.full(len(truth), FRAMES * FRAME_SECONDS)
    reference, estimate = (sed.decide(frames, seconds, FRAME_SECONDS, 0.5, 7) for frames in (truth, system))
    return reference, estimate, len(truth)


def ours(folder: Path) -> Work:
    reference, estimate, clips = events(folder)

    def work() -> dict[str, float]:
        tags = sed.tag_counts(reference.tags(clips, CLASSES), estimate.tags(clips, CLASSES))
        segment, errors = sed.segment_counts(reference, estimate, clips, CLASSES)
        event = sed.event_counts(reference, estimate, clips, CLASSES)
        scores = sed.detection_scores(*(counts.sum(axis=0) for counts in (tags, segment, event)), errors.sum())
        return {name: float(value) for name, value in scores.items()}

    return work


def sed_eval(folder: Path) -> Work:
    importlib.import_module("sed_eval")  # told if it is not there
    reference, estimate, clips = events(folder)
    return lambda: sed.official(reference, estimate, clips, LABELS)


def same(ours: Work, theirs: Work) -> str:
    """That all scores of sed_eval are ours."""
    one, other = ours(), theirs()
    apart = max(abs(one[name] - np.nan_to_num(value)) for name, value in other.items())
    agree(apart < 1e-9, f"a score differs by {apart:.1g}")
    return f"a score differs by at most {apart:.0e}"


STAGE = Stage(
    place=50,
    title="scores of sound event detection",
    unit="clips",
    size=400,
    prepare=prepare,
    ours=ours,
    peers={"sed_eval": sed_eval},
    same=same,
)
