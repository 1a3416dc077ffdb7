"""Counts of sound event detection: ours beside sed_eval's, on the same events, in one run.

    python -m benchmarks.sed_metrics --clips 96

Prints the seconds of each for one system and their ratio; the scores are checked to be the same.
"""

import json
import time
from typing import Annotated

import numpy as np
import typer

from workflow_scripts.errors import run
from workflow_scripts.metrics import sed

CLASSES, FRAMES, FRAME_SECONDS = 10, 151, 4 * 366 / 22100


def probabilities(clips: int, noise: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Smooth activities (clips, frames, classes) of about two events a clip, and a noisy system's version of them."""
    steps = random.normal(size=(clips, FRAMES // 15 + 1, CLASSES)).repeat(15, axis=1)[:, :FRAMES]
    truth = steps > 1.9
    return truth.astype(float), np.clip(truth + noise * random.normal(size=truth.shape), 0, 1)


def main(
    clips: Annotated[int, typer.Option(min=1, help="clips of one system")] = 96,
    repeats: Annotated[int, typer.Option(min=1, help="the fastest of so many runs counts")] = 5,
) -> None:
    """Measures both."""
    truth, system = probabilities(clips, 0.35, np.random.default_rng(0))
    seconds = np.full(clips, FRAMES * FRAME_SECONDS)
    reference = sed.decide(truth, seconds, FRAME_SECONDS, 0.5, 7)
    estimate = sed.decide(system, seconds, FRAME_SECONDS, 0.5, 7)
    labels = [f"class {i}" for i in range(CLASSES)]

    def ours() -> dict[str, float]:
        clip = sed.tag_counts(reference.tags(clips, CLASSES), estimate.tags(clips, CLASSES))
        segment, errors = sed.segment_counts(reference, estimate, clips, CLASSES)
        event = sed.event_counts(reference, estimate, clips, CLASSES)
        scores = sed.detection_scores(*(counts.sum(axis=0) for counts in (clip, segment, event)), errors.sum())
        return {name: float(value) for name, value in scores.items()}

    def theirs() -> dict[str, float]:
        return sed.official(reference, estimate, clips, labels)

    sed.verify(ours(), theirs())
    fastest = {}
    for name, function in (("ours", ours), ("sed_eval", theirs)):
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        fastest[name] = min(times)
    events = {"clips": clips, "reference_events": len(reference.clip), "estimated_events": len(estimate.clip)}
    ratio = round(fastest["sed_eval"] / fastest["ours"], 1)
    typer.echo(json.dumps({**events, **{f"{k}_seconds": round(v, 5) for k, v in fastest.items()}, "ratio": ratio}))


if __name__ == "__main__":
    run(lambda: typer.run(main))
