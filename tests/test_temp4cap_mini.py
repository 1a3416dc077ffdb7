"""What the mini scale of the captioning paper is made of."""

import re
from pathlib import Path

import numpy as np
import pytest

from composed.composers.clotho import Composer
from composed.text.caption_templates import KINDS, captions
from workflow_scripts.settings.base import read_yaml
from workflow_scripts.settings.papers import Paper
from workflow_scripts.training.systems import captioner, denoiser

ROOT = Path(__file__).parent.parent
CORPORA = read_yaml(ROOT / "corpora.yaml")


def paper(scale: str) -> Paper:
    return Paper.load(ROOT / "papers" / "temp4cap", scale)


def test_clips_and_texts_are_of_the_same_clear_kinds() -> None:
    """Twelve sounds, each of one kind, of which one may go on through a clip; at smoke the same."""
    names = [f"{name}_{scale}" for name in ("clotho", "audiocaps", "caption_texts") for scale in ("composed", "smoke")]
    kinds = {tuple(CORPORA[name]["composition"]["kinds"]) for name in names}
    assert len(kinds) == 1
    (chosen,) = kinds
    assert len({KINDS[name].sound for name in chosen}) == len(chosen) == 12
    assert any(KINDS[name].lasting for name in chosen)
    assert not any(KINDS[name].envelope for name in chosen)
    for name in ("clotho_composed", "audiocaps_composed"):
        assert CORPORA[name]["composition"]["clips"]["test"] >= 320


@pytest.mark.parametrize("table", ["table1", "table3"])
def test_mini_tables_show_the_order_of_events(table: str) -> None:
    shown = [column["metric"] for column in paper("mini").tables[table]["columns"]]
    assert {"order_recall", "order_precision"} <= set(shown)
    assert not {"order_recall", "order_precision"} & {c["metric"] for c in paper("full").tables[table]["columns"]}


def test_every_bart_starts_from_one_pretrained_network() -> None:
    """At mini from an experiment that learns texts alone, with one seed; at full scale from the published one."""
    mini, full = paper("mini"), paper("full")
    own = denoiser.System.check(mini.experiments["bart"].settings, "bart")
    assert mini.experiments["bart"].seeds == 1 and not mini.experiments["bart"].features
    found = 0
    for name, experiment in mini.experiments.items():
        if experiment.system != "captioner":
            continue
        system = captioner.System.check(experiment.settings, name)
        if system.captioner.kind == "bart":
            assert experiment.uses == {"pretrained": "bart"} and system.captioner == own.captioner, name
            assert full.experiments[name].settings["captioner"]["pretrained"] == "bart_base"
            found += 1
        else:
            assert not experiment.uses
    assert found == 8 and "bart" not in full.experiments


def test_captions_say_grammatically_what_follows_what() -> None:
    """A clause and what follows it are divided by a comma; only a single event "is followed"."""
    composer, rng = Composer.check({}, "test"), np.random.default_rng(0)
    texts = [c.text for _ in range(1500) for c in captions(*composer.cast(rng, 6.0), 1.0, rng, ".", 2)]
    followed = [text for text in texts if "followed by" in text]
    assert len(followed) > 200
    for text in followed:
        assert re.search(r"\w, followed by|is followed by", text), text
        before = text.partition(" is followed by")
        assert not before[1] or not re.search(r" (while|as|at the same time)( |$)", before[0]), text
