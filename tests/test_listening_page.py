"""The page of a listening test in a real browser, from its first key to the scores."""

import csv
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, chromium
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from listening_files import TEST, export_page, make_corpora

from workflow_scripts.listening.plan import CollectRatings
from workflow_scripts.settings.listening import ListeningTest

TOTAL = 18  # three clips with three captions each, on two scales


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("listening")
    make_corpora(folder)
    return export_page(folder)


@pytest.fixture(scope="module")
def window(exported: tuple[Path, dict[str, Any]]) -> Iterator[Browser]:
    with chromium(exported[0].parent) as browser:
        yield browser


@pytest.fixture
def page(window: Browser, exported: tuple[Path, dict[str, Any]]) -> Browser:
    """The page as a new rater sees it."""
    window.open(exported[0])
    window.run("localStorage.clear()")
    window.resize(1200, 800)
    window.reload()
    window.messages()
    return window


def enter(page: Browser, name: str) -> None:
    page.click("#rater")
    page.press(*name, "enter")


def letters(page: Browser) -> dict[str, str]:
    """The captions of the open clip by letter."""
    script = (
        "return [...document.querySelectorAll('.card')].map(c => [c.dataset.letter, c.querySelector('p').innerText])"
    )
    return dict(page.run(script))


def rated(page: Browser) -> list[str]:
    """The points of the open clip from top to bottom, empty where there are none."""
    script = "return groups().map((group) => chosen(group)?.value ?? '')"
    return list(page.run(script))


def download(page: Browser, path: Path) -> list[dict[str, str]]:
    page.click("#download")
    for _ in range(100):
        if path.exists():
            break
        time.sleep(0.05)
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_rater_from_start_to_scores(page: Browser, exported: tuple[Path, dict[str, Any]]) -> None:
    source, key = exported
    folder = source.parent
    enter(page, "Ada")
    assert page.text("#heading") == "Clip 1 of 3"
    page.press("5", "4", "3", "2", "1", "5")  # all of the first clip; the focus comes to the button
    first = letters(page)
    page.press("enter")
    assert page.text("#heading") == "Clip 2 of 3"
    page.press("2")
    assert page.text("#counted") == "7 of 18 ratings"

    page.reload()  # nothing is lost, the place neither
    assert (page.text("#heading"), page.text("#counted")) == ("Clip 2 of 3", "7 of 18 ratings")
    assert rated(page) == ["2", "", "", "", "", ""]
    page.press("p")
    assert rated(page) == ["5", "4", "3", "2", "1", "5"]
    assert letters(page) == first
    page.press("n", "n", "n")
    assert page.text("#ended") == "Not finished yet"
    assert page.text("#missing").startswith("11 of 18 ratings are missing, in clip 2, 3.")
    page.click("#overview li:nth-child(2) button")
    page.press("3", "3", "3", "3", "3", "n")  # the first scale is rated: these go to the others
    page.press(*"444444", "enter")
    assert page.text("#ended") == "Thank you!"
    assert not page.visible("#missing")

    lines = download(page, folder / "table2-Ada.csv")
    assert list(lines[0]) == ["rater_id", "clip_id", "blind_letter", "caption_id", "quality", "temporal", "timestamp"]
    assert {line["caption_id"] for line in lines} == key["captions"].keys()
    assert all(line["rater_id"] == "Ada" and line["timestamp"].endswith("Z") for line in lines)
    texts = {line["blind_letter"]: key["captions"][line["caption_id"]]["text"] for line in lines[:3]}
    assert texts == first
    assert [(line["quality"], line["temporal"]) for line in lines[:4]] == [
        ("5", "4"),
        ("3", "2"),
        ("1", "5"),
        ("2", "3"),
    ]
    test = ListeningTest.check(TEST, "paper.yaml")
    job = CollectRatings(test=test, key=folder / "table2-key.json", ratings=[folder / "table2-Ada.csv"])
    job.run(folder / "scores.json")
    scores = json.loads((folder / "scores.json").read_text())
    assert scores.keys() == TEST["systems"].keys()
    by_system = {system: [] for system in scores}
    for line in lines:
        for system in key["captions"][line["caption_id"]]["systems"]:
            by_system[system].append(int(line["quality"]))
    for system, points in by_system.items():
        about = scores[system]["quality"]
        assert about["value"] == pytest.approx(sum(points) / 3)
        assert (about["items"], about["raters"], about["low"]) == (3, 1, None)
    assert page.messages() == []  # no error, and nothing that the page's policy forbids


def test_the_keys(page: Browser) -> None:
    enter(page, "Keys")
    page.press("down")
    assert page.run("return groups().indexOf(document.activeElement.closest('fieldset'))") == 0
    page.press("down", "down", "down", "up", "4")
    assert rated(page) == ["", "", "4", "", "", ""]
    page.press("up", "left")  # back to the scale that was rated, and lower
    assert rated(page) == ["", "", "3", "", "", ""]
    page.press("space")
    assert not page.run("return sound.paused")
    page.press("space")
    assert page.run("return sound.paused")
    page.press("p")  # there is no clip before the first
    assert page.text("#heading") == "Clip 1 of 3"
    page.press("7")
    assert rated(page) == ["", "", "3", "", "", ""]


def test_tab_reaches_everything_and_focus_is_seen(page: Browser) -> None:
    enter(page, "Tab")
    reached = []
    for _ in range(20):
        page.press("tab")
        reached.append(page.run(
            "const e = document.activeElement; const shown = e.matches('.points input') ? e.nextSibling : e;"
            "return [e.closest('fieldset')?.dataset.scale ?? e.id, getComputedStyle(shown).outlineStyle !== 'none']"
        ))  # fmt: skip
    assert {"sound", "quality", "temporal", "next"} <= {name for name, _ in reached}
    assert [name for name, _ in reached].count("quality") == 3
    assert all(seen for name, seen in reached if name in {"quality", "temporal", "next"})


def test_every_control_has_a_name_for_screen_readers(page: Browser) -> None:
    enter(page, "Names")
    page.command("Accessibility.enable")
    nodes = page.command("Accessibility.getFullAXTree")["nodes"]
    found = [
        (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored")
    ]
    roles = Counter(role for role, _ in found)
    assert roles["radio"] == 5 * 6
    used = {"radio", "button", "article", "group", "progressbar", "progressIndicator", "navigation"}
    assert all(name for role, name in found if role in used), found
    assert ("group", "Caption A: Does the caption say what is heard?") in found
    assert ("radio", "1, bad") in found


def test_raters_of_one_browser_are_kept_apart(page: Browser) -> None:
    enter(page, "Ben")
    page.press("5", "5")
    page.click("#leave")
    assert page.visible("#start")
    enter(page, "Cem")
    assert page.text("#counted") == f"0 of {TOTAL} ratings"
    page.click("#leave")
    page.click("#rater")
    page.press(*"Ben")
    assert "Ratings under this name are kept" in page.text("#found")
    page.press("enter")
    assert page.text("#counted") == f"2 of {TOTAL} ratings"


def test_a_rater_needs_a_name_and_any_name_is_one(page: Browser, exported: tuple[Path, dict[str, Any]]) -> None:
    enter(page, "  ")
    assert page.visible("#start")
    enter(page, ' =Zoë, "Z" <b>')
    page.press("5", "n", "n", "n")
    lines = download(page, exported[0].parent / "table2-_Zoë_Z_b_.csv")
    assert [(line["rater_id"], line["quality"], line["temporal"]) for line in lines] == [('=Zoë, "Z" <b>', "5", "")]


def test_a_rater_is_warned_where_nothing_can_be_kept(page: Browser, exported: tuple[Path, dict[str, Any]]) -> None:
    assert not page.visible("#unsaved")
    forbid = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('no'); }})"
    added = page.command("Page.addScriptToEvaluateOnNewDocument", source=forbid)
    try:
        page.reload()
        assert page.visible("#unsaved")
        enter(page, "Dora")
        page.press("5", "4")
        assert page.text("#counted") == f"2 of {TOTAL} ratings"
    finally:
        page.command("Page.removeScriptToEvaluateOnNewDocument", identifier=added["identifier"])
        page.reload()


@pytest.mark.parametrize(("width", "height"), [(360, 740), (768, 1024), (1600, 900)])
def test_the_page_fits_all_widths(page: Browser, width: int, height: int) -> None:
    page.resize(width, height)
    for name in ("", "Eve"):
        if name:
            enter(page, name)
        assert page.run("return document.documentElement.scrollWidth") <= width
    size = page.run("const box = document.querySelector('.points label').getBoundingClientRect();"
                    "return [box.width, box.height]")  # fmt: skip
    assert min(size) >= 44  # can be hit with a thumb


def test_sounds_play(page: Browser) -> None:
    enter(page, "Fay")
    assert page.run("return document.querySelectorAll('.card').length") == 3
    for _ in range(40):
        length = page.run("return sound.duration")
        if length is not None:
            break
        time.sleep(0.05)
    assert length == pytest.approx(1.0, abs=0.15)


ORDERS = """
const [ids, raters] = arguments;
return raters.map((rater) => ordered(ids, rater, (id) => id));
"""
IDS = st.lists(st.text("0123456789abcdef", min_size=4, max_size=16), min_size=2, max_size=6, unique=True)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=IDS, rater=st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=40))
def test_an_order_depends_on_the_rater_alone(page: Browser, ids: list[str], rater: str) -> None:
    (order,) = page.run(ORDERS, ids, [rater])
    assert sorted(order) == sorted(ids)
    assert page.run(ORDERS, ids[::-1], [rater, rater]) == [order, order]


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=IDS, prefix=st.sampled_from(["rater ", "", "R-0", "ada.", "Ж"]))
def test_every_caption_gets_every_letter_equally_often(page: Browser, ids: list[str], prefix: str) -> None:
    raters, share = 3000, 1 / len(ids)
    orders = page.run(ORDERS, ids, [f"{prefix}{number}" for number in range(raters)])
    counts = Counter((place, id) for order in orders for place, id in enumerate(order))
    spread = (raters * share * (1 - share)) ** 0.5
    assert len(counts) == len(ids) ** 2
    assert all(abs(count - raters * share) < 6 * spread for count in counts.values()), counts
