"""The figure like SPICE: what captions say as tuples, and how it reaches the scores."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.errors import UserError
from workflow_scripts.metrics import captions, scene_graphs
from workflow_scripts.scores.counts import Counted
from workflow_scripts.scores.families.captioning import SPICE_JARS, Scorer
from workflow_scripts.scores.plan import Score, score
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.papers import Paper
from workflow_scripts.settings.scale import Scale
from workflow_scripts.shards import Row, write

ROOT, MODEL = Path(__file__).parent.parent, "spacy_md_wheel"
GRAPHS = st.frozensets(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), max_size=6)


@pytest.fixture(scope="module")
def model(asset: Callable[[str], Path]) -> Path:
    return asset(MODEL)


def one(caption: str, model: Path) -> scene_graphs.Graph:
    (found,) = scene_graphs.graphs([caption], model)
    return found


def test_a_graph_is_objects_attributes_and_relations(model: Path) -> None:
    assert one("two loud dogs bark at a man", model) == {
        ("dog",), ("dog", "two"), ("dog", "loud"), ("man",), ("dog", "bark"), ("dog", "at", "man")
    }  # fmt: skip
    assert one("a woman is laughing", model) == {("woman",), ("woman", "laugh")}
    assert ("child", "speak") in one("a child speaking in the distance", model)
    assert one(" ", model) == frozenset()


def test_references_count_as_one_graph(model: Path) -> None:
    """Worked by hand: (man), (man, speak) of each clip's caption, against what its references tell together."""
    references = [["a man speaks", "a man is laughing"], ["an old man speaks", "the dog is loud"], ["a bell rings"]]
    found = scene_graphs.f_scores(["a man is speaking", "a man speaks", ""], references, model)
    theirs = [{("man",), ("man", "speak"), ("man", "laugh")}, {("man",), ("man", "old"), ("man", "speak"), ("dog",)}]
    for value, tuples in zip(found, theirs, strict=False):
        assert value == pytest.approx(2 * 2 / (2 + len(tuples)))
    assert found[2] == 0


@given(GRAPHS, GRAPHS)
def test_the_f_score_is_that_of_precision_and_recall(ours: scene_graphs.Graph, theirs: scene_graphs.Graph) -> None:
    value = scene_graphs.f_score(ours, theirs)
    assert value == scene_graphs.f_score(theirs, ours)
    shared = len(ours & theirs)
    if shared:
        precision, recall = shared / len(ours), shared / len(theirs)
        assert value == pytest.approx(2 * precision * recall / (precision + recall))
    else:
        assert value == 0


def test_a_wheel_without_a_model_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as wheel:
        wheel.writestr("readme", "")
    with pytest.raises(UserError, match="holds no spaCy model"):
        scene_graphs.loaded(tmp_path / "x.whl")


def files(folder: Path) -> dict[str, Any]:
    """A manifest and the captions of two seeds."""
    clips = {"c0": ("a dog barks", ["a dog barks", "dogs bark"]), "c1": ("rain", ["a man speaks"])}
    strings = [(name, pa.string()) for name in ("clip_id", "split", "caption")]
    rows: list[Row] = [{"seed": seed, "clip_id": clip, "split": "test", "caption": said}
            for seed in (0, 1) for clip, (said, _) in clips.items()]  # fmt: skip
    write(folder / "predictions.parquet", rows, pa.schema([("seed", pa.int32()), *strings]))
    rows = [{"clip_id": clip, "split": "test", "captions": many} for clip, (_, many) in clips.items()]
    schema = pa.schema([*strings[:2], ("captions", pa.list_(pa.string()))])
    write(folder / "manifest.parquet", rows, schema)
    return {"manifest": folder / "manifest.parquet", "predictions": [folder / "predictions.parquet"]}


def test_the_figure_is_scored_only_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the parser replaced by one for which every word is an object."""
    seen: list[Path] = []

    def graphs(captions: list[str], model: Path) -> list[scene_graphs.Graph]:
        seen.append(model)
        return [frozenset((word,) for word in caption.split()) for caption in captions]

    monkeypatch.setattr(scene_graphs, "graphs", graphs)
    monkeypatch.setattr(captions, "meteor_statistics", lambda *_: np.zeros((2, 6)))  # takes seconds to start
    given_files, model = files(tmp_path), tmp_path / "model.whl"
    for name, scorer, assets in (("with", Scorer(scene_graphs=MODEL), {MODEL: model}), ("without", Scorer(), {})):
        job = Score(family="captioning", settings=scorer, assets=assets, **given_files)
        job.run(*(tmp_path / name / f"{file}.parquet" for file in ("scores", "counts", "replicates")))
    assert set(seen) == {model}
    values = {row["metric"]: row["value"] for row in pq.read_table(tmp_path / "with" / "scores.parquet").to_pylist()}
    assert values["spice_like"] == pytest.approx((2 * 3 / (3 + 5) + 0) / 2)
    assert np.isnan(values["spice"]) and np.isnan(values["spider"])
    plain = {row["metric"] for row in pq.read_table(tmp_path / "without" / "scores.parquet").to_pylist()}
    assert plain == set(values) - {"spice_like"} == set(captions.METRICS)
    counted = Counted.open(tmp_path / "with" / "counts.parquet")  # as the bootstrap reads it, without the model
    (records,) = counted.records(0, "test")
    found = counted.scorer.aggregate(records, np.array([[1.0, 0.0], [1.0, 1.0]]))
    assert found["spice_like"] == pytest.approx([0.75, 0.375])


def test_the_settings_name_the_assets() -> None:
    assert Scorer(scene_graphs=MODEL).assets == (MODEL,)
    assert Scorer(spice=True).assets == SPICE_JARS
    assert Scorer().assets == ()


def test_the_plan_gives_the_metrics_their_assets(monkeypatch: pytest.MonkeyPatch) -> None:
    scale = Scale(ROOT, Config(), "mini")
    monkeypatch.setattr(scale, "assets", {MODEL: scale.assets["spacy_md_keys"]})
    monkeypatch.setattr(scale, "folders", {"p": ROOT / "papers" / "p"})
    experiments = {
        name: {
            "system": "x",
            "corpus": "c",
            "seeds": 1,
            "seeds_per_job": 1,
            "metrics": metrics,
            "scoring": scoring,
        }
        for name, metrics, scoring in (
            ("graphs", "captioning", {"scene_graphs": MODEL}),
            ("plain", "captioning", {}),
            ("sed", "sed", {}),
            ("spice", "captioning", {"spice": True}),
        )
    }
    values = {**dict.fromkeys(("title", "citation", "url"), ""), "corpora": {"c": "c"}, "experiments": experiments}
    paper = Paper.check(values, "paper")
    monkeypatch.setattr(scale, "paper", lambda name: paper)
    assert {name: list(score(scale, "p", name).assets) for name in ("graphs", "plain", "sed")} == {
        "graphs": [MODEL],
        "plain": [],
        "sed": [],
    }
    with pytest.raises(UserError, match=r"no asset 'stanford_corenlp' in assets\.yaml"):
        score(scale, "p", "spice")
