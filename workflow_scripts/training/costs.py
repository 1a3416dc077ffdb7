"""What a step of training costs: multiply-accumulates of the real networks, counted on shapes without data or weights.

A learned network counts three times, for its way forward and the two ways back; a frozen one once. Optimisers, losses
and what is normalised are left out: they multiply no matrices.
"""

import functools
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from workflow_scripts.features.interface import ArrayExtractor
from workflow_scripts.features.plan import ExtractArrays, ReduceFeatures
from workflow_scripts.formats.youtube8m import AUDIO, RGB
from workflow_scripts.jobs import Job
from workflow_scripts.settings.plugins import READERS, SYSTEMS, plugin
from workflow_scripts.training.fitting import Forward, Known
from workflow_scripts.training.job import TrainingJob

CLIPS = 2  # that are counted together: batch norm wants several
LEARNED = 3
VECTOR = 300  # dimensions of published word vectors


def macs_a_clip(job: TrainingJob, needs: Mapping[str, Job | None], reader: str) -> int:
    """The multiply-accumulates of a step, for each clip in it; 0 of a system that learns without steps.

    `needs`: the jobs that make what the job reads, by its names for it; `reader`: of the corpus, which tells the
    numbers of classes where the settings do not.
    """
    fitting = importlib.import_module(f"{SYSTEMS}.{job.system}.run").Fitting
    known = known_of(needs, reader)
    return sum(macs * (LEARNED if learned else 1) for macs, learned in counted(fitting.forwards, job.settings, known))


def counted(forwards: Callable[..., Iterable[Forward]], settings: Any, known: Known) -> Iterator[tuple[int, bool]]:
    """Multiply-accumulates of a clip on each network's way forward, and whether the network learns."""
    import torch

    from workflow_scripts.models.macs import of_call

    with torch.device("meta"):
        networks = list(forwards(settings, known, CLIPS))
    for network, inputs, learns in networks:
        device = next(network.parameters()).device.type
        yield of_call(functools.partial(network.train(), *inputs), device).total // CLIPS, learns


def known_of(needs: Mapping[str, Job | None], reader: str) -> Known:
    """The sizes that the data decide."""
    shapes: dict[str, tuple[int, ...]] = {}
    used: dict[str, Any] = {}
    clusters = 0
    for name, need in needs.items():
        settings = getattr(need, "settings", None)
        if isinstance(need, ExtractArrays) and isinstance(settings, ArrayExtractor):
            shapes[name] = tuple(settings.shape(need.clip_seconds))
        elif isinstance(need, ReduceFeatures):
            clusters = getattr(settings, "clusters", clusters)
        elif isinstance(need, TrainingJob):
            used[name] = need.settings
        elif (frames := getattr(settings, "max_frames", None)) is not None:
            shapes[name] = (frames, RGB + AUDIO)
    published = plugin(READERS, reader, "corpora.yaml").published_classes
    classes = {head: len(names) for head, names in published.items()}
    return Known(shapes, classes, clusters, VECTOR, used)
