"""Every full-size network on a GPU: steps a second and memory, as the training job itself does them, loader included.

The jobs are those of the full scale, each with invented shards of true form and 30 batches, as the rehearsal makes
them; networks whose steps are the same are measured once. Each is measured as its paper sets it, and in bfloat16.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel

from workflow_scripts.errors import UserError
from workflow_scripts.rehearsal import training
from workflow_scripts.rehearsal.plan import Part, of_training, trained
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.scale import Scale
from workflow_scripts.training.job import TrainingJob

ROOT = Path(__file__).parent.parent
NONE = "There is no CUDA GPU here, so no full-size network was measured on one."
HALF = "bf16-mixed"


class Network(BaseModel):
    """A network's steps; without `steps` it could not be measured, and `note` says why."""

    paper: str
    experiment: str
    precision: str
    batch: int = 0
    steps: float | None = None  # a second, of wall time
    gpu_mb: float = 0.0
    note: str = ""


def there() -> bool:
    """Whether PyTorch sees a GPU."""
    import torch

    return torch.cuda.is_available()


def measure(said: Callable[[str], None]) -> list[Network]:
    """All networks; `said` is told of each before it is measured."""
    found, seen = [], set()
    scale = Scale(ROOT, Config(), "full")
    for paper in scale.papers:
        for experiment in trained(scale, paper):
            part = of_training(scale, paper, experiment)
            try:
                key = training.key(part)
            except training.NotRehearsedError:  # it has no steps
                continue
            if key not in seen:
                seen.add(key)
                said(f"{paper}, {experiment}")
                found += [of(part, precision) for precision in precisions(part)]
    return found


def precisions(part: Part) -> list[str]:
    """The paper's number format, and bfloat16."""
    job = part.example
    own = job.precision if isinstance(job, TrainingJob) else "32-true"
    return list(dict.fromkeys([own, HALF]))


def of(part: Part, precision: str) -> Network:
    """A network in one number format."""
    job = part.example
    about = {"paper": part.paper, "experiment": part.name, "precision": precision}
    if not isinstance(job, TrainingJob):
        return Network(**about, note="it has no training job")
    own, batch = part.model_copy(update={"example": job.model_copy(update={"precision": precision})}), 0
    until = time.monotonic() + 600
    with tempfile.TemporaryDirectory() as folder:
        try:
            batch = training.batch_of(job.settings)
            spent = training.runs(own, Path(folder), lambda: until - time.monotonic())
        except (training.NotRehearsedError, UserError) as error:
            return Network(**about, batch=batch, note=str(error))
    if len(spent) != 1:
        return Network(**about, batch=batch, note="its job failed, or took more than ten minutes")
    return Network(**about, batch=batch, steps=spent[0].speed / batch, gpu_mb=spent[0].gpu_mb)
