"""Listening tests: which captions are rated, what the page tells, and what returned ratings come to."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from listening_files import NASTY, TEST, export_page, make_corpora, reference

from workflow_scripts.errors import UserError
from workflow_scripts.listening import ratings
from workflow_scripts.listening.choice import shown, telling
from workflow_scripts.listening.plan import CollectRatings, collect_ratings, export_listening_test
from workflow_scripts.plan.checks import check_paper
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.listening import ListeningTest
from workflow_scripts.settings.scale import Scale
from workflow_scripts.settings.tables import Table
from workflow_scripts.tables.plan import MakeTable

ROOT = Path(__file__).parent.parent
SCALES = ["quality", "temporal"]
HEADER = ["rater_id", "clip_id", "blind_letter", "caption_id", *SCALES, "timestamp"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_corpora(tmp_path)
    return tmp_path


def content(page: Path) -> dict[str, Any]:
    """What a page shows."""
    text = page.read_text().partition('<script id="content" type="application/json">')[2]
    return json.loads(text.partition("</script>")[0])


# The page and its key


def test_the_key_holds_every_caption_of_the_page(folder: Path) -> None:
    page, key = export_page(folder)
    clips = content(page)["clips"]
    assert key["clips"] == {"park": 2, "street": 1}
    on_page = {(clip["id"], caption["id"], caption["text"]) for clip in clips for caption in clip["captions"]}
    assert on_page == {(said["clip_id"], id, said["text"]) for id, said in key["captions"].items()}
    assert all(clip["sound"].startswith("data:audio/mpeg;base64,") for clip in clips)
    by_clip: dict[str, list[list[str]]] = {}
    for said in key["captions"].values():
        by_clip.setdefault(said["clip_id"], []).append(said["systems"])
    same = ["Plainsystem", "Copysystem"]  # differ in capitals and a full stop only
    assert all(sorted(found) == sorted([same, ["Truth"], ["Nastysystem"]]) for found in by_clip.values())


def test_only_clips_with_a_telling_reference_are_chosen(folder: Path) -> None:
    _, key = export_page(folder, {**TEST, "clips": {"park": 4, "street": 2}})
    found = {said["clip_id"]: said["text"] for said in key["captions"].values() if said["systems"] == ["Truth"]}
    assert found == {clip: shown(reference(clip[5:])) for clip in ("test-dog", "test-cow", "test-owl", "test-car")}
    assert key["clips"] == {"park": 3, "street": 1}
    assert key["wanted"] == {"park": 4, "street": 2}


def test_too_few_clips_are_told_on_the_page_and_none_is_an_error(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    page, _ = export_page(folder, {**TEST, "clips": {"park": 4, "street": 1}})
    assert "3 of 4 clips of park, 1 of 1 clips of street" in page.read_text()
    assert "only 3 clips can be rated, 4 are wanted" in caplog.text
    with pytest.raises(UserError, match="street: no 'test' clip can be rated"):
        export_page(folder, {**TEST, "words": ["quack"]} | {"clips": {"street": 1, "park": 1}})


def test_the_choice_depends_on_the_seed_and_not_on_the_other_clips(folder: Path) -> None:
    def chosen(count: int, seed: int) -> list[str]:
        systems = {"Truth": None, "Plainsystem": {"park": "park_plain"}}
        page, _ = export_page(folder, {**TEST, "clips": {"park": count}, "systems": systems, "seed": seed})
        return [clip["id"] for clip in content(page)["clips"]]

    assert chosen(3, 0)[:1] == chosen(1, 0)
    assert {chosen(1, seed)[0] for seed in (0, 1)} <= {"test-dog", "test-cow", "test-owl"}
    text = (folder / "table2.html").read_text()
    assert "again" in text  # seed 1 of the systems says this
    with pytest.raises(UserError, match="no 'test' captions of seed 2"):
        chosen(1, 2)


def test_the_page_does_not_tell_whose_a_caption_is(folder: Path) -> None:
    page, key = export_page(folder)
    text = page.read_text()
    for name in ("Truth", "Plainsystem", "Nastysystem", "Copysystem", "park_plain", "street_nasty", str(folder)):
        assert name not in text
    orders = {tuple(said["systems"][0] for said in key["captions"].values() if said["clip_id"] == clip["id"])
              for clip in content(page)["clips"]}  # fmt: skip
    assert len(orders) > 1


def test_nothing_on_the_page_can_break_it(folder: Path) -> None:
    page, _ = export_page(folder, {**TEST, "title": NASTY, "scales": {"quality": NASTY}})
    text = page.read_text()
    assert content(page)["scales"] == [{"name": "quality", "question": NASTY}]
    assert text.count("<script") == text.count("</script>") == 2
    assert "default-src 'none'" in text
    assert "http://" not in text
    assert "https://" not in text


def test_pages_are_the_same_each_time(folder: Path) -> None:
    assert export_page(folder)[0].read_bytes() == export_page(folder)[0].read_bytes()


def test_a_clip_without_sound_is_named(folder: Path) -> None:
    (folder / "street" / "files" / "test-car.wav").write_bytes(b"none")
    with pytest.raises(UserError, match=r"test-car\.wav: its sound cannot be encoded"):
        export_page(folder)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("A dog barks, then a man's voice.", "A dog barks then a man's voice"),
        ("a dog barks then a man's voice", "A dog barks then a man's voice"),
        ("  Tick-tock! ", "Tick-tock"),
        ("", "(no caption)"),
        ("...", "(no caption)"),
    ],
)
def test_captions_are_written_alike(written: str, text: str) -> None:
    assert shown(written) == text


def test_temporal_words_are_counted_as_words() -> None:
    said = ["Then, after it, a cow", "strengthen hereafter", "a man then a cow", "then then"]
    assert telling(said, ["then", "after"], 2) == [said[0], said[3]]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"systems": {"A.B": None}}, "must not have a dot"),
        ({"systems": {"A": {"park": "x"}}}, "give an experiment for each of park, street"),
        ({"scales": {"timestamp": "when?"}}, "choose another name"),
        ({"clips": {"park": 0}}, "greater than or equal to 1"),
        ({"intervall": "rater"}, "did you mean 'interval'"),
    ],
)
def test_mistakes_in_a_declaration_are_explained(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        ListeningTest.check({**TEST, **change}, "paper.yaml")


# Ratings. Two clips; the systems S and T say the same of the second one.

KEY = {
    "captions": {
        "s1": {"corpus": "park", "clip_id": "c1", "systems": ["S"]},
        "t1": {"corpus": "park", "clip_id": "c1", "systems": ["T"]},
        "st2": {"corpus": "park", "clip_id": "c2", "systems": ["S", "T"]},
    }
}
RATED = {  # by rater: quality and temporal of each caption
    "ada": {"s1": (5, 4), "t1": (2, 1), "st2": (3, 2)},
    "ben": {"s1": (4, 4), "t1": (1, 1), "st2": (3, 5)},
    "cem": {"s1": (1, 2), "t1": (2, "")},
}


def file_of(path: Path, rated: dict[str, dict[str, Any]], header: list[str] = HEADER) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        for rater, captions in rated.items():
            for caption, given in captions.items():
                writer.writerow([rater, "c", "A", caption, *given, "2020-01-01T00:00:00Z"])
    return path


def scored(folder: Path, *files: Path, **changes: Any) -> dict[str, Any]:
    (folder / "key.json").write_text(json.dumps(KEY))
    test, output = ListeningTest.check({**TEST, **changes}, "paper.yaml"), folder / "scores.json"
    CollectRatings(test=test, key=folder / "key.json", ratings=files).run(output)
    return json.loads(output.read_text())


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [file_of(tmp_path / f"{rater}.csv", {rater: given}) for rater, given in RATED.items()]


def test_intervals_over_raters(files: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = scored(tmp_path, *files)
    # Of S: ada (5 + 3)/2, ben (4 + 3)/2, cem 1; their mean 17/6, variance 31/12; Student's t of 2: 4.302653.
    half = 4.302653 * (31 / 12 / 3) ** 0.5
    assert found["S"]["quality"] == pytest.approx(
        {"value": 17 / 6, "low": 17 / 6 - half, "high": 17 / 6 + half, "items": 2, "raters": 3}, abs=1e-5
    )
    # Of T: ada (1 + 2)/2, ben (1 + 5)/2, cem nothing; mean 2.25, deviation 1.5/sqrt(2); Student's t of 1: 12.706205.
    assert found["T"]["temporal"] == pytest.approx(
        {"value": 2.25, "low": 2.25 - 12.706205 * 0.75, "high": 2.25 + 12.706205 * 0.75, "items": 2, "raters": 2},
        abs=1e-5,
    )
    assert "cem: 3 of 6 ratings" in caplog.text
    assert "ada" not in caplog.text


def test_intervals_over_clips(files: list[Path], tmp_path: Path) -> None:
    found = scored(tmp_path, *files, interval="clip")
    # Of S: the first clip (5 + 4 + 1)/3, the second (3 + 3)/2; mean 19/6, deviation (1/3)/sqrt(2).
    assert found["S"]["quality"] == pytest.approx(
        {"value": 19 / 6, "low": 19 / 6 - 12.706205 / 6, "high": 19 / 6 + 12.706205 / 6, "items": 2, "raters": 3},
        abs=1e-5,
    )


def test_one_rater_has_no_interval(files: list[Path], tmp_path: Path) -> None:
    found = scored(tmp_path, files[0])
    assert found["T"] == {
        "quality": {"value": 2.5, "low": None, "high": None, "items": 2, "raters": 1},
        "temporal": {"value": 1.5, "low": None, "high": None, "items": 2, "raters": 1},
    }


@given(st.lists(st.lists(st.integers(1, 5), min_size=3, max_size=3), min_size=2, max_size=6))
def test_scores_lie_within_the_ratings_and_their_interval(points: list[list[int]]) -> None:
    test = ListeningTest.check(TEST, "test")
    given_points = [
        ratings.Rating(f"r{rater}", caption, {"quality": value})
        for rater, values in enumerate(points)
        for caption, value in zip(KEY["captions"], values, strict=True)
    ]
    found = ratings.scores(given_points, test, KEY["captions"])
    everything = [value for values in points for value in (values[0], values[2])]
    about = found["S"]["quality"]
    assert min(everything) <= about["value"] <= max(everything)
    assert about["value"] == pytest.approx(sum(everything) / len(everything))  # when all rate all
    assert about["low"] <= about["value"] <= about["high"]
    assert found == ratings.scores(reversed(given_points), test, KEY["captions"])


@pytest.mark.parametrize(
    ("rated", "problem"),
    [
        ({"ada": {"other": (1, 1)}}, r"one\.csv, line 2: the caption_id 'other' is not in the key.*another export"),
        ({"ada": {"s1": (6, 1)}}, "line 2: quality is '6', but must be a whole number from 1 to 5"),
        ({"ada": {"s1": (1, "2.5")}}, "temporal is '2.5'"),
        ({" ": {"s1": (1, 2)}}, "the rater_id is empty"),
    ],
)
def test_what_is_wrong_with_a_file_is_explained(rated: dict[str, Any], problem: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=problem):
        scored(tmp_path, file_of(tmp_path / "one.csv", rated))


def test_a_rater_counts_once(files: list[Path], tmp_path: Path) -> None:
    again = file_of(tmp_path / "ada (1).csv", {"ada": RATED["ada"]})
    with pytest.raises(UserError, match=r"the rater 'ada' stands in .*ada\.csv too"):
        scored(tmp_path, files[0], again)
    again.write_text(again.read_text() + "".join(again.read_text().splitlines(keepends=True)[1:2]))
    with pytest.raises(UserError, match="the rater 'ada' rates the caption 's1' twice"):
        scored(tmp_path, again)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the column 'temporal' is missing; did you mean 'temporall'"):
        scored(tmp_path, file_of(tmp_path / "one.csv", {}, [*HEADER[:5], "temporall", "timestamp"]))


# The table


PRINTED = "table,group,row,column,unit,value,ci,note\n"


def cells(folder: Path, scores: dict[str, Any]) -> dict[tuple[str, str], dict[str, str]]:
    """The lines of the table of the systems S and T."""
    single = [
        {"kind": "statistic", "row": system, "column": scale, "values": "table2", "key": f"{system}.{scale}"}
        for system in ("S", "T")
        for scale in SCALES
    ]
    (folder / "values.json").write_text(json.dumps(scores))
    (folder / "published.csv").write_text(PRINTED + "table2,,S,quality,,4.15,0.18,\n")
    MakeTable(
        paper="p",
        name="table2",
        scale="mini",
        table=Table.check({"title": "Ratings", "cells": single}, "table2"),
        published=folder / "published.csv",
        values={"table2": folder / "values.json"},
    ).run(folder / "table2.csv", folder / "table2.md", folder / "table2.tex")
    with (folder / "table2.csv").open(newline="") as stream:
        return {(line["row"], line["column"]): line for line in csv.DictReader(stream)}


def test_ratings_fill_the_cells_with_their_intervals(files: list[Path], tmp_path: Path) -> None:
    cell = cells(tmp_path, scored(tmp_path, *files))["S", "quality"]
    assert (cell["measured"], cell["items"], cell["seeds"], cell["status"]) == ("2.8333", "2", "", "measured")
    assert (cell["ci_low"], cell["ci_high"], cell["published_ci"]) == ("-1.1594", "6.8260", "0.18")
    assert "2.83 ± 3.99 (4.15)" in (tmp_path / "table2.md").read_text()
    alone = cells(tmp_path, scored(tmp_path, files[0]))["S", "quality"]
    assert (alone["measured"], alone["ci_low"], alone["ci_high"], alone["status"]) == ("4.0000", "", "", "measured")


def test_without_ratings_nothing_is_collected(tmp_path: Path) -> None:
    assert scored(tmp_path) == {}
    found = cells(tmp_path, {})
    assert {line["status"] for line in found.values()} == {"not_collected"}
    assert not any(line["measured"] for line in found.values())


def test_a_key_that_is_not_there_or_none_is_a_sentence(tmp_path: Path) -> None:
    job = CollectRatings(test=ListeningTest.check(TEST, "paper.yaml"), key=tmp_path / "none.json", ratings=[])
    with pytest.raises(UserError, match=r"none\.json: cannot be read as JSON"):
        job.run(tmp_path / "x.json")
    (tmp_path / "none.json").write_text("{}")
    with pytest.raises(UserError, match="it is not the key of a listening test"):
        job.run(tmp_path / "x.json")


# The plan, of a paper that declares a listening test


def planned(root: Path, name: str = "table2", **changes: Any) -> Scale:
    """A copy of a paper with a listening test."""
    source = ROOT / "papers" / "boes_avsed"
    for file in ("assets.yaml", "corpora.yaml", "resources.yaml"):
        shutil.copy(ROOT / file, root / file)
    shutil.copytree(source, root / "papers" / source.name)
    systems = {"Truth": None, "Audio": {"dcase": "A"}, "Both": {"dcase": "SAV"}}
    test = {"title": "t", "clips": {"dcase": 3}, "systems": systems, "scales": {"quality": "?"}} | changes
    with (root / "papers" / source.name / "paper.yaml").open("a") as file:
        file.write(f"\nlistening: {json.dumps({name: test})}\n")
    return Scale(root, Config(), "mini")


def test_the_export_is_planned(tmp_path: Path) -> None:
    job = export_listening_test(planned(tmp_path), "boes_avsed", "table2")
    assert list(job.predictions) == ["A", "SAV"]
    for name, path in job.predictions.items():
        assert path.parts[-3:] == (name, path.parts[-2], "predictions.parquet")
        assert path.parts[-2].startswith("seeds-0-")
    inputs = job.inputs()
    assert inputs["predictions"] == list(map(str, job.predictions.values()))
    assert [Path(path).name for path in inputs["manifests"]] == ["manifest.parquet"]
    assert inputs["clips"] and all(Path(path).parent == job.stores["dcase"] / "clips" for path in inputs["clips"])


def test_returned_files_are_found_with_the_key_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scale = planned(tmp_path)
    monkeypatch.chdir(tmp_path)
    job = collect_ratings(scale, "boes_avsed", "table2")
    assert (job.ratings, job.key) == ([], Path("results/mini/boes_avsed/listening/table2-key.json"))
    folder = Path("ratings/mini/boes_avsed/table2")
    folder.mkdir(parents=True)
    for name in ("ben.csv", "ada.csv", "key.json", "notes.txt"):
        (folder / name).touch()
    job = collect_ratings(scale, "boes_avsed", "table2")
    assert (job.ratings, job.key) == ([folder / "ada.csv", folder / "ben.csv"], folder / "key.json")


@pytest.mark.parametrize(
    ("name", "changes", "problem"),
    [
        ("mos", {}, r"listening\.mos: name it after the table"),
        ("table2", {"clips": {"dcase2018": 3}, "systems": {"T": None}}, "no corpus 'dcase2018'; did you mean 'dcase'"),
        ("table2", {"systems": {"X": {"dcase": "SAVV"}}}, r"systems\.X\.dcase: no experiment 'SAVV'; did you"),
        ("table2", {"scale": {}}, r"listening\.table2: unknown key 'scale'"),
    ],
)
def test_mistakes_are_found_before_any_job(name: str, changes: dict[str, Any], problem: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=problem):
        check_paper(planned(tmp_path, name, **changes), "boes_avsed")


def test_a_seed_that_is_not_trained_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="seed 1000 of 'A' is not trained"):
        export_listening_test(planned(tmp_path, seed=1000), "boes_avsed", "table2")
