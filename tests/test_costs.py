"""What a step of training costs, counted on the networks of the papers at their full size."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from workflow_scripts.jobs import Job
from workflow_scripts.rehearsal.plan import of_training
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.scale import Scale
from workflow_scripts.training import costs
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.plan import declared, system

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def scale() -> Scale:
    return Scale(ROOT, Config(), "full")


def kinds(scale: Scale) -> dict[tuple[str, ...], tuple[str, str]]:
    """An experiment of each system and kind of network."""
    found = {}
    for paper in sorted(path.parent.name for path in (ROOT / "papers").glob("*/paper.yaml")):
        for name in scale.paper(paper).experiments:
            settings = system(scale, paper, name)
            parts = [getattr(settings, part, None) for part in ("model", "encoder", "captioner")]
            network = [str(getattr(part, "kind", "")) for part in parts] + [str(getattr(settings, "kind", ""))]
            found[declared(scale, paper, name).system, *network] = paper, name
    return found


def counted(scale: Scale, paper: str, experiment: str) -> tuple[TrainingJob, dict[str, Job | None], str]:
    """What `costs` counts an experiment by."""
    part = of_training(scale, paper, experiment)
    assert isinstance(part.example, TrainingJob)
    return part.example, {name: need.example for name, need in part.needs.items()}, part.reader


def test_every_kind_of_experiment_is_counted(scale: Scale) -> None:
    for (name, *network), (paper, experiment) in kinds(scale).items():
        macs = costs.macs_a_clip(*counted(scale, paper, experiment))
        stepped = name not in ("ensemble", "unigram")
        assert (macs > 1000) == stepped, (name, network, paper, experiment, macs)


def test_a_learned_network_counts_three_times_and_its_teacher_once(scale: Scale) -> None:
    """A true step of the paper's CRNN on two clips does as much, but for the gradient of what it reads."""
    paper, experiment = next(place for key, place in kinds(scale).items() if key[0] == "mean_teacher_sed")
    settings: Any = system(scale, paper, experiment)
    job, needs, reader = counted(scale, paper, experiment)
    shapes = {name: need.settings.shape(need.clip_seconds) for name, need in needs.items()}
    network, teacher = (settings.build({name: shape[1] for name, shape in shapes.items()}) for _ in range(2))
    features = {
        name: torch.rand(2, shape[0] if name == settings.network.spectral else settings.frames, shape[1])
        for name, shape in shapes.items()
    }
    with FlopCounterMode(display=False) as counter:
        clips, frames = network(features)
        with torch.no_grad():
            teacher(features)
        (clips.sum() + frames.sum()).backward()
    true = counter.get_total_flops() / 2 / 2
    assert costs.macs_a_clip(job, needs, reader) == pytest.approx(true, rel=0.1)


def test_bart_is_counted_with_its_own_vocabulary(scale: Scale) -> None:
    """Its 50,265 tokens alone, learned, take more than a step with the captions' words would add."""
    places = {
        bool(system(scale, *place).captioner.pretrained): place
        for key, place in kinds(scale).items()
        if key[0] == "captioner" and key[3] == "bart"
    }
    paper, experiment = places[True]
    settings: Any = system(scale, paper, experiment)
    job, needs, reader = counted(scale, paper, experiment)
    own = settings.model_copy(update={"captioner": settings.captioner.model_copy(update={"pretrained": None})})
    with_words = costs.macs_a_clip(job.model_copy(update={"settings": own}), needs, reader)
    assert costs.macs_a_clip(job, needs, reader) - with_words == (50_265 - 5_000) * 768 * 16 * 3
