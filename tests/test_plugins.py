"""Every plug-in of every kind: found, documented, strict, at work, and identified by what defines its results."""

import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from plugin_work import WORK, Given, work
from variation import smallest, variations

from workflow_scripts.errors import UserError
from workflow_scripts.settings.base import Plugin, Strict
from workflow_scripts.settings.corpora import Corpora
from workflow_scripts.settings.download import Download
from workflow_scripts.settings.plugins import CLASSES, COMPOSERS, SYSTEMS, names, plugin

ROOT = Path(__file__).parent.parent
DOCUMENTED = (ROOT / "docs" / "configuration.md").read_text()
GUIDE = (ROOT / "docs" / "extending.md").read_text()
BLOCKS = re.findall(r"^```(?:python|csv) (\S+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
FILES = {path: text for path, text in BLOCKS if path.endswith(".csv")}
PLACES = {package: f"{package.replace('.', '/')}/" for package in CLASSES}
EXAMPLES = sorted(
    {
        (package, path.removeprefix(place).split("/")[0].removesuffix(".py"))
        for package, place in PLACES.items()
        for path, _ in BLOCKS
        if path.startswith(place)
    }
)
ELSEWHERE = {COMPOSERS, SYSTEMS}  # whose tests let each of them work on a corpus of its own
EVERY = [pytest.param(package, name, id=f"{CLASSES[package]}-{name}") for package in WORK for name in names(package)]


@pytest.mark.parametrize(("package", "name"), EVERY)
def test_it_is_found_and_documented(package: str, name: str) -> None:
    """By its name; a slip of the pen is answered with it, and each of its keys has a row in the documentation."""
    found = plugin(package, name, "here")
    assert issubclass(found, Plugin)
    with pytest.raises(UserError, match=f"here: .* did you mean '{name}'"):
        plugin(package, f"{name}x", "here")
    _, _, section = DOCUMENTED.partition(f"Files of `{package.replace('.', '/')}`")
    _, _, rows = section.partition(f"\n### {name}\n")
    rows, _, _ = rows.partition("\n### ")
    for key in found.model_fields:
        assert f"\n| `{key}` " in rows, key


@pytest.mark.parametrize(("package", "name"), EVERY)
def test_it_refuses_unknown_keys(package: str, name: str) -> None:
    found = plugin(package, name, "here")
    values = smallest(found, name).model_dump()
    for key in found.model_fields or [""]:
        with pytest.raises(UserError, match=f"there: unknown key '{key}x'") as raised:
            found.check({**values, f"{key}x": 1}, "there")
        assert not key or f"did you mean '{key}'" in str(raised.value)


@pytest.mark.parametrize(("package", "name"), EVERY)
def test_it_is_identified_by_what_defines_its_results(package: str, name: str) -> None:
    """Each field that defines changes the identity, each manner does not; so does the revision of the code."""
    settings = smallest(plugin(package, name, name), name)
    assert settings.identity()["revision"] == settings.revision >= 1
    obey(settings, name)


def obey(settings: Strict, name: str) -> None:
    for field, manner, before, after in variations(settings, name):
        assert (before.identity() == after.identity()) == manner, f"{field}: {before!r} and {after!r}"


@pytest.mark.parametrize(("package", "name"), EXAMPLES)
def test_examples_of_the_guide_work(
    package: str, name: str, tmp_path: Path, asset: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is found, identified and at work as it stands in the guide."""
    place = PLACES[package]
    own = {f"found/{path.removeprefix(place)}": text for path, text in BLOCKS if path.startswith(f"{place}{name}")}
    for file, text in {**own, **FILES}.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    parent = importlib.import_module(package)
    monkeypatch.setattr(parent, "__path__", [*parent.__path__, str(tmp_path / "found")])
    settings = smallest(plugin(package, name, "here"), name)
    obey(settings, name)
    work(package, settings, Given(name, tmp_path, asset, monkeypatch))


def test_the_guide_shows_every_kind() -> None:
    assert {package for package, _ in EXAMPLES} >= WORK.keys()


def downloads() -> Iterator[Strict]:
    yield Download()
    for corpus in Corpora.load(ROOT / "corpora.yaml").corpora.values():
        yield from filter(None, (corpus.records, corpus.text))


@pytest.mark.parametrize("settings", list(downloads()), ids=lambda settings: type(settings).__name__)
def test_downloads_are_identified_by_what_is_fetched(settings: Strict) -> None:
    obey(settings, "x")


@pytest.mark.parametrize(("package", "name"), [one for one in EVERY if one.values[0] not in ELSEWHERE])
def test_it_works(
    package: str, name: str, tmp_path: Path, asset: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    work(package, smallest(plugin(package, name, name), name), Given(name, tmp_path, asset, monkeypatch))


@pytest.mark.parametrize("package", CLASSES)
def test_what_breaks_the_contract_is_named(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without the class of its kind, and a class that lacks what its base declares."""
    parent = importlib.import_module(package)
    monkeypatch.setattr(parent, "__path__", [*parent.__path__, str(tmp_path)])
    (tmp_path / "plain.py").write_text(f"class {CLASSES[package]}:\n    pass\n")
    with pytest.raises(UserError, match=f"plain has no class '{CLASSES[package]}' made from the base of its kind"):
        plugin(package, "plain", "here")
    if package not in WORK:
        return
    base = next(kind for kind in plugin(package, names(package)[0], "here").__mro__ if kind.__bases__[0] is Plugin)
    if not [*base.__abstractmethods__, *(name for name in base.__class_vars__ if not hasattr(base, name))]:
        return  # the base of systems leaves nothing open: what they do stands in their `run.py`
    text = f"from {base.__module__} import {base.__name__}\nclass {CLASSES[package]}({base.__name__}):\n    pass\n"
    (tmp_path / "empty.py").write_text(text)
    with pytest.raises(UserError, match=f"the {CLASSES[package]} of .*/empty lacks '"):
        plugin(package, "empty", "here")
