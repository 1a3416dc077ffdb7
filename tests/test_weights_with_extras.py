"""Published files that hold more than weights: known extras are passed over, others named, nothing is executed."""

import argparse
import collections
import pathlib
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from workflow_scripts.errors import UserError
from workflow_scripts.models.pretrained import read_weights

STATE = {"weight": torch.arange(6.0).reshape(2, 3)}


class CfgNode(dict):  # as yacs has it
    """A mapping with attributes, as yacs makes them."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.__dict__["__immutable__"] = True


class AnyNode:
    """An object with a state, as omegaconf makes them."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Meter:
    """What nobody knows."""


@pytest.fixture(autouse=True)
def modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """The types under the names that they have in the packages, which need not be installed."""
    for kind, module in ((CfgNode, "yacs.config"), (AnyNode, "omegaconf.nodes"), (Meter, "authors.utils")):
        made = types.ModuleType(module)
        setattr(made, kind.__name__, kind)
        monkeypatch.setattr(kind, "__module__", module)
        monkeypatch.setitem(sys.modules, module.partition(".")[0], types.ModuleType(module.partition(".")[0]))
        monkeypatch.setitem(sys.modules, module, made)


def saved(path: Path, extras: dict[str, Any], old: bool) -> Path:
    torch.save({"model": STATE, **extras}, path, _use_new_zipfile_serialization=not old)
    return path


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
def test_options_and_scores_beside_weights_are_passed_over(
    old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extras = {
        "args": argparse.Namespace(lr=1e-5, drop=0.5),
        "config": CfgNode({"TRAIN": CfgNode({"EPOCHS": 300}), "NAME": "dat"}),
        "hydra": {"lr": AnyNode(1e-5)},
        "max_accuracy": np.float64(84.0),
        "epoch": np.int64(299),
        "counts": collections.defaultdict(int, {"a": 1}),
        "output": pathlib.PurePosixPath("out/dat"),
        "order": collections.OrderedDict(a=1),
    }
    path = saved(tmp_path / "weights.pth", extras, old)
    for name in ("yacs.config", "omegaconf.nodes"):  # they are not installed where the file is read
        monkeypatch.delitem(sys.modules, name)
    found = read_weights(path)
    assert list(found) == ["weight"] and torch.equal(found["weight"], STATE["weight"])


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
def test_other_objects_are_named_with_the_way_to_be_rid_of_them(old: bool, tmp_path: Path) -> None:
    path = saved(tmp_path / "weights.pth", {"meter": Meter(), "args": argparse.Namespace(lr=1)}, old)
    said = (
        r"weights.pth: not a file of PyTorch weights alone: it holds objects of authors.utils.Meter, and to make them"
    )
    with pytest.raises(UserError, match=said) as error:
        read_weights(path)
    assert "torch.save(torch.load('weights.pth', weights_only=False)['model'], 'weights.pth')" in str(error.value)


def test_a_whole_network_is_named(tmp_path: Path) -> None:
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), tmp_path / "model.pth")
    said = r"it holds objects of torch.nn.modules.container.Sequential, torch.nn.modules.linear.Linear, and"
    with pytest.raises(UserError, match=said):
        read_weights(tmp_path / "model.pth")


class Sneaky:
    """Calls what looks like a harmless type with a harmful argument."""

    def __init__(self, function: Any, path: Path) -> None:
        self.function, self.path = function, path

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, (self.path,)


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
def test_nothing_of_the_extras_is_executed(old: bool, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    for function in (Path.touch, Path.mkdir):
        path = saved(tmp_path / "weights.pth", {"trap": Sneaky(function, sprung)}, old)
        with pytest.raises(UserError):
            read_weights(path)
    made: list[Any] = []

    class Recording(argparse.Namespace):
        def __setstate__(self, state: Any) -> None:
            made.append(state)

    argparse.Namespace, whole = Recording, argparse.Namespace  # what would be made is seen
    Recording.__module__, Recording.__qualname__ = "argparse", "Namespace"
    try:
        assert list(read_weights(saved(tmp_path / "weights.pth", {"args": Recording(lr=1)}, old))) == ["weight"]
    finally:
        argparse.Namespace = whole
    assert not made and not sprung.exists()
