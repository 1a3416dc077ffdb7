"""Captions of several systems side by side with errors in order marked, from made-up files."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.captions.event_order import marked, spans
from workflow_scripts.captions.grammar import TemporalCaption
from workflow_scripts.comparability import Basis
from workflow_scripts.corpora.annotate import MANIFEST
from workflow_scripts.corpora.plan import manifest
from workflow_scripts.errors import UserError
from workflow_scripts.figures import plan
from workflow_scripts.figures.kinds.caption_order import Figure
from workflow_scripts.figures.plan import DrawFigure, draw_figure
from workflow_scripts.plan.checks import check_figure
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.papers import Paper
from workflow_scripts.settings.scale import Scale
from workflow_scripts.shards import STATE, Status, array_field, pack, write

ROOT = Path(__file__).parent.parent
FRAMES, BINS = 300, 16
CLIPS: dict[str, tuple[list[str], list[str | None] | None]] = {
    "a": (["A dog barks, then a man speaks.", "A man talks after a dog"], None),
    "b": (
        ["Sounds of a street", "Rain falls, a bell rings and a cat meows"],
        [None, "rain falls: 1; bell rings: 2; cat meows: 3"],
    ),
    "c": (["An engine idles"], None),  # one event
    "d": (["A cow moos and a frog croaks"], [None]),  # whose order is not known
}
SAID = {
    "Baseline": {"a": "a man speaks and then a dog barks", "b": "a cat meows then a bell rings then rain falls"},
    "Ours": {"a": "a dog barks followed by a man talking and birds chirping", "b": ""},
}
SETTINGS = {"feature": "mel", "frame_seconds": 0.1, "clips": 2}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A manifest, a spectrogram of 30 s in each row, and the captions of two systems."""
    ok = {"status": Status.OK}
    rows: list[dict[str, Any]] = [
        {"clip_id": clip, "link": "", "start": 0.0, "split": "test", "captions": captions, "temporal": temporal, **ok}
        for clip, (captions, temporal) in CLIPS.items()
    ]
    write(tmp_path / "manifest.parquet", rows, MANIFEST)
    field = array_field("features", "float16", (FRAMES, BINS))
    random = np.random.default_rng(0)
    rows = [
        {"clip_id": clip, "seconds": 12.5, "features": pack(random.random((FRAMES, BINS)), field), **ok}
        for clip in CLIPS
    ]
    columns = [pa.field("clip_id", pa.string()), pa.field("seconds", pa.float64()), field, *STATE]
    (tmp_path / "mel").mkdir()
    write(tmp_path / "mel" / "0.parquet", rows, pa.schema(columns))
    schema = pa.schema(
        [("seed", pa.int32()), ("clip_id", pa.string()), ("split", pa.string()), ("caption", pa.string())]
    )
    for label, said in SAID.items():
        found = [
            {"seed": seed, "clip_id": clip, "split": "test", "caption": said.get(clip, "an engine") if seed else "no"}
            for seed in (0, 1)
            for clip in CLIPS
        ]
        write(tmp_path / f"{label}.parquet", found, schema)
    return tmp_path


def drawn(folder: Path, **changes: Any) -> pd.DataFrame:
    """What is drawn of seed 1."""
    outputs = [folder / f"figure.{ending}" for ending in ("png", "svg", "csv")]
    fields: dict[str, Any] = {
        "settings": SETTINGS,
        "shown": {label: folder / f"{label}.parquet" for label in SAID},
        "manifest": folder / "manifest.parquet",
        "features": {"mel": [folder / "mel" / "0.parquet"]},
        "seed": 1,
    } | changes
    settings = Figure.check(fields.pop("settings"), "settings")
    DrawFigure(kind="captions", settings=settings, title="Figure 3: made up", **fields).run(*outputs)
    assert all(path.stat().st_size > 5000 for path in outputs[:2])
    return pd.read_csv(folder / "figure.csv", keep_default_na=False)


def test_events_in_another_order_are_marked(files: Path) -> None:
    data = drawn(files)
    assert set(data["clip_id"]) == {"a", "b"}  # the others tell of no two events one after another
    events = {key: part[["event", "order", "mark"]].to_numpy().tolist()
              for key, part in data.groupby(["clip_id", "system"])}  # fmt: skip
    assert events["a", "Baseline"] == [["man speaks", "1", "misplaced"], ["dog barks", "2", "misplaced"]]
    assert events["a", "Ours"] == [
        ["dog barks", "1", "right"],
        ["man talking", "2", "right"],
        ["birds chirping", "3", "unknown"],
    ]
    assert [mark for *_, mark in events["b", "Baseline"]] == ["misplaced"] * 3
    assert events["b", "Ours"] == [["", "", ""]]  # an empty caption is shown, too
    reference = data[(data["clip_id"] == "b") & (data["system"] == "reference")]
    assert set(reference["caption"]) == {"Rain falls, a bell rings and a cat meows"}  # the first that tells an order
    assert set(reference["mark"]) == {"right"}
    for row in data[data["event"] != ""].itertuples():
        assert row.caption[int(row.start) : int(row.end)] == row.event
    svg = (files / "figure.svg").read_text()
    for text in ("clip a", "clip b", "time (s)", "Baseline", "Ours", "reference", "in another order"):
        assert text in svg
    assert "<!-- __________ -->" in svg  # under "man speaks"


def test_the_same_files_draw_the_same_figure(files: Path) -> None:
    drawn(files)
    first = {name: (files / name).read_bytes() for name in ("figure.png", "figure.svg", "figure.csv")}
    drawn(files)
    assert {name: (files / name).read_bytes() for name in first} == first


def test_clips_are_chosen_by_their_ids_alone(files: Path) -> None:
    one = {**SETTINGS, "clips": 1}
    chosen = {seed: set(drawn(files, settings={**one, "choice_seed": seed})["clip_id"]) for seed in range(8)}
    assert set.union(*chosen.values()) == {"a", "b"}
    assert set(drawn(files, settings={**one, "events": 3})["clip_id"]) == {"b"}


def test_mistakes_are_one_sentence(files: Path) -> None:
    here = files / "Ours.parquet"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"shown": {}}, "shown: this kind of figure needs the captions"),
        ({"shown": {"reference": here}}, "'reference' is the label of the references"),
        ({"shown": {"x": files / "manifest.parquet"}}, "manifest.parquet: the column 'seed' is missing"),
        ({"seed": 7}, "holds nothing of seed 7"),
        ({"manifest": None}, "this kind of figure needs the manifest"),
        ({"features": {}}, "the stream 'mel' is not given"),
        ({"settings": {**SETTINGS, "clips": 3}}, "3 of 2 'test' clips wanted that have 2 events one after"),
        ({"settings": {**SETTINGS, "split": "tests"}}, "2 of 0 'tests' clips wanted"),
        ({"settings": {**SETTINGS, "frame_seconds": 0}}, "frame_seconds"),
    ]
    for changes, sentence in cases:
        with pytest.raises(UserError) as error:
            drawn(files, **changes)
        assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("caption", "truth", "marks"),
    [
        ("a dog barks then a man speaks", "dog barking: 1; man speaks: 1", "right right"),  # together: not misplaced
        ("a dog barks while a man speaks", "man speaks: 1; dog barks: 2", "right right"),
        ("a dog barks after a man speaks", "man speaks: 1; dog barks: 2", "right right"),
        ("a dog barks before a man speaks", "man speaks: 1; dog barks: 2", "misplaced misplaced"),
        ("rain falls then a cat meows then a man speaks", "cat meows: 1; rain falls: 2; man speaks: 3",
         "misplaced misplaced right"),
        ("a dog barks then a man speaks in the background", "man speaks: background; dog barks: 1", "right right"),
        ("a man speaks then a woman speaks", "woman speaks: 1; man speaks: 2", "misplaced misplaced"),
        ("a whistle blows then a bird sings", "dog barks: 1", "unknown unknown"),
    ],
)  # fmt: skip
def test_what_is_misplaced(caption: str, truth: str, marks: str) -> None:
    assert [event.mark for event in marked(caption, [TemporalCaption.parse(truth)])] == marks.split()


def test_the_reference_with_most_of_the_events_counts() -> None:
    truths = [TemporalCaption.parse(text) for text in ("dog barks: 1", "man speaks: 1; dog barks: 2")]
    assert {event.mark for event in marked("a dog barks then a man speaks", truths)} == {"misplaced"}
    assert {event.mark for event in marked("a dog barks then a man speaks", [])} == {"unknown"}


WORDS = st.lists(st.sampled_from(["dog", "barks", "man", "speaks", "rain", "Loud", "then,"]), max_size=12)


@given(WORDS, st.lists(WORDS.filter(bool), max_size=3))
def test_spans_never_overlap_and_hold_their_words(caption: list[str], wanted: list[list[str]]) -> None:
    text = " ".join(caption)
    descriptions = [" ".join(words).lower().replace(",", "") for words in wanted]
    found = [
        (description, span) for description, span in zip(descriptions, spans(text, descriptions), strict=True) if span
    ]
    for description, (start, end) in found:
        words = text[start:end].lower().replace(",", "").split()
        assert words[0] == description.split()[0]
        assert words[-1] == description.split()[-1]
    if descriptions and " ".join(caption).lower().replace(",", "") == descriptions[0]:
        assert found


def test_a_paper_names_the_experiments_whose_captions_are_shown() -> None:
    """The predictions that hold the seed, of each; the spectrogram may be any feature of their corpus."""
    experiment = {"system": "x", "metrics": "captioning", "seeds": 4, "seeds_per_job": 2}
    paper = Paper.check(
        {
            **dict.fromkeys(("title", "citation", "url"), ""),
            "corpora": {"clotho": "clotho_composed", "audiocaps": "audiocaps_composed"},
            "features": {
                "mel": {"corpus": "clotho", "extractor": "panns_log_mel"},
                "other_mel": {"corpus": "audiocaps", "extractor": "panns_log_mel"},
            },
            "experiments": {
                name: {**experiment, "corpus": corpus}
                for name, corpus in (("bart", "clotho"), ("ours", "clotho"), ("caps", "audiocaps"))
            },
        },
        "paper",
    )
    figure: dict[str, Any] = {
        "title": "t",
        "kind": "caption_order",
        "seed": 2,
        "shown": {"CNN-BART": "bart", "Ours": "ours"},
        "settings": SETTINGS,
    }
    check_figure(paper, figure, "figure3")
    for changes, sentence in (
        ({"shown": {"CNN-BART": "bard"}}, "no experiment 'bard'; did you mean 'bart'?"),
        ({"shown": {"a": "bart", "b": "caps"}}, "experiments on audiocaps and clotho; show those of one corpus"),
        ({"shown": {}, "experiment": "bart"}, "the kind 'caption_order' needs the key 'shown'"),
        ({"shown": {}}, "give an experiment, scores, shown or values"),
        ({"settings": {**SETTINGS, "feature": "other_mel"}}, "'clotho' has no feature 'other_mel'"),
    ):
        with pytest.raises(UserError) as error:
            check_figure(paper, {**figure, **changes}, "figure3")
        assert sentence in str(error.value)

    scale = Scale(ROOT, Config(), "mini")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "basis", lambda *_: Basis())  # of settings that are none
        patch.setattr(scale, "folders", {"p": ROOT / "papers" / "p"})
        patch.setattr(scale, "paper", lambda name: paper.model_copy(update={"figures": {"figure3": figure}}))
        job = draw_figure(scale, "p", "figure3")
    assert job.note == "scale mini, seed 2"
    assert job.shown == {
        label: scale.work / "training" / "p" / name / "seeds-2-3" / "predictions.parquet"
        for label, name in figure["shown"].items()
    }
    assert job.manifest == manifest(scale, "clotho_composed")
    assert scale.work / "features" / "p" / "mel" / "0.parquet" in job.features["mel"]
    given = {path for paths in job.inputs().values() for path in paths}
    assert given == {str(path) for path in (*job.shown.values(), job.manifest, *job.features["mel"])}
