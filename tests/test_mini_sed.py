"""The mini scale of boes_avsed: enough clips to decide by, the same care for all rows, no picture looked at twice."""

from pathlib import Path

from composed.composers.dcase2018 import Composer
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.scale import Scale
from workflow_scripts.training.plan import seed_groups, system

ROOT = Path(__file__).parent.parent
ROWS = ("S", "SV", "SA", "SAV", "V", "A", "AV")
SCALE = Scale(ROOT, Config(), "mini")
CORPUS = SCALE.corpus("dcase2018_composed")
COMPOSER = Composer.check(CORPUS.composition, "corpora.yaml")


def test_clips_to_choose_and_to_decide_by() -> None:
    """300 test clips have intervals of a little more than half the width that 96 had."""
    assert COMPOSER.clips["test"] >= 300 and COMPOSER.clips["validation"] >= 128


def test_all_rows_are_trained_alike() -> None:
    """They differ in nothing but their length, which is one for all networks with convolutions, one for the others."""
    made = {name: system(SCALE, "boes_avsed", name) for name in ROWS}
    assert len({run.optimisation.model_copy(update={"steps": 0}).model_dump_json() for run in made.values()}) == 1
    assert len({str(seed_groups(SCALE, "boes_avsed", name)) for name in ROWS}) == 1
    for convolutions in (True, False):
        alike = {run.optimisation.steps for run in made.values() if (run.network.spectral is not None) == convolutions}
        assert len(alike) == 1
    # By fifths of the looks it is judged whether a run still rises.
    assert all(run.optimisation.steps / run.validate_every >= 8 for run in made.values())


def test_no_frame_is_looked_at_twice() -> None:
    features = SCALE.paper("boes_avsed").features["visual"]
    assert features.settings["frames_per_clip"] <= COMPOSER.video.fps * COMPOSER.clip_seconds
    assert COMPOSER.clip_seconds == CORPUS.clip_seconds


def test_the_smoke_scale_stays_short() -> None:
    smoke = Scale(ROOT, Config(), "smoke")
    assert {system(smoke, "boes_avsed", name).optimisation.steps for name in (*ROWS, "SP", "P")} == {4}
