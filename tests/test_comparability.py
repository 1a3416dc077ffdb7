"""Whether a table's numbers may be compared with the paper's follows from what was trained, and on which clips."""

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from table_files import PUBLISHED, TABLE, made, scored
from test_tables import checked

from workflow_scripts.comparability import Basis, Corpus
from workflow_scripts.errors import UserError
from workflow_scripts.figures.plan import DrawFigure, draw_figure
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.plugins import FIGURES, plugin
from workflow_scripts.settings.scale import Scale
from workflow_scripts.settings.tables import Table
from workflow_scripts.shards import STATE, write
from workflow_scripts.tables.plan import DrawTable, MakeTable, check_claims, make_table

ROOT = Path(__file__).parent.parent
NOT_COMPARABLE = "not directly comparable with the paper's numbers"


def ledgers(folder: Path, got: dict[str, int], of: int = 4) -> Basis:
    """Two ledgers of a corpus of `of` clips a split, so many of which could be had; the paper had 4 test clips."""
    columns = [pa.field("clip_id", pa.string()), *STATE]
    manifest = [
        {"clip_id": f"{split}{n}", "split": split, "status": "ok", "reason": None}
        for split in got
        for n in range(of)
    ]  # fmt: skip
    write(folder / "manifest.parquet", manifest, pa.schema([pa.field("split", pa.string()), *columns]))
    for shard in range(2):
        rows = [
            {"clip_id": f"{split}{n}", "status": "ok" if n < count else "unavailable", "reason": None}
            for split, count in got.items()
            for n in range(shard, of, 2)
        ]
        write(folder / f"{shard}.parquet", rows, pa.schema(columns))
    clips = [folder / f"{shard}.parquet" for shard in range(2)]
    printed = {"train": 4, "test": 4}
    return Basis(corpora=[Corpus(name="sounds", manifest=folder / "manifest.parquet", clips=clips, printed=printed)])


@pytest.fixture
def counts(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "published.csv").write_text(PUBLISHED)
    hits = {"validation": [[1, 0], [1, 1]], "test": [[1, 0, 1], [1, 1, 0]]}
    return {name: scored(tmp_path / name, hits) for name in "SA"}


def test_all_clips_of_the_paper_are_the_data_of_the_paper(tmp_path: Path, counts: dict[str, Path]) -> None:
    lines = made(tmp_path, TABLE, counts, basis=ledgers(tmp_path, {"train": 4, "test": 4}))
    assert {line["differs"] for line in lines} == {""}
    text = (tmp_path / "table3.md").read_text()
    assert "on the data of the paper" in text and NOT_COMPARABLE not in text and "the paper's names" not in text


def test_missing_clips_are_said_wherever_numbers_are_shown(tmp_path: Path, counts: dict[str, Path]) -> None:
    """In the table as printed, in every measured cell, in the picture, and beside each verdict."""
    basis = ledgers(tmp_path, {"train": 4, "test": 1})
    sentence = "clips of sounds: 1 of 4 test"
    lines = made(tmp_path, TABLE, counts, basis=basis)
    assert {line["differs"] for line in lines if line["status"] == "measured"} == {sentence}
    assert {line["differs"] for line in lines if line["status"] != "measured"} == {""}
    text = (tmp_path / "table3.md").read_text()
    assert f"{NOT_COMPARABLE}: {sentence}" in text and "on the data of the paper" not in text
    assert "(published); rows and columns bear the paper's names" in text
    DrawTable(cells=tmp_path / "table3.csv", title="Table 3").run(tmp_path / "table3.svg")
    drawn = re.findall(r"<!-- (.*?) -->", (tmp_path / "table3.svg").read_text())  # a comment for each line of text
    assert sentence in " ".join(drawn)
    cell = {"table": "table3", "row": "one", "column": "Clip F1"}
    claims = [{"id": "c", "text": "", "compare": {"left": cell, "right": 0.0, "relation": "greater"}}]
    (claim,) = checked(tmp_path, claims, TABLE, counts, basis={"table3": basis})
    assert claim["differs"] == sentence


def test_what_the_paper_does_not_count_is_not_taken_for_the_same(tmp_path: Path, counts: dict[str, Path]) -> None:
    corpus = ledgers(tmp_path, {"test": 4}).corpora[0].model_copy(update={"printed": {}})
    (line, *_) = made(tmp_path, TABLE, counts, basis=Basis(corpora=[corpus]))
    assert line["differs"] == "the paper does not say how many clips of sounds it had"


def test_nothing_declares_that_numbers_are_comparable() -> None:
    with pytest.raises(UserError, match="unknown key 'comparable'"):
        Table.check({**TABLE, "comparable": True}, "tables.table3")


def planned(scale: str, paper: str, table: str, **config: Any) -> MakeTable:
    return make_table(Scale(ROOT, Config(**config), scale), paper, table)


def test_at_full_scale_only_what_the_user_changes_differs_by_the_settings() -> None:
    assert planned("full", "boes_avsed", "table3").basis.differs == []
    for config, sentence in (
        ({"limit": 10}, "at most 10 clips of each split"),
        ({"fraction": 0.1}, "a fraction of 0.1 of dcase"),
        ({"seeds": 1}, "1 seed in the place of 20"),
        ({"precision": "bf16-mixed"}, "precision bf16-mixed"),
    ):
        assert planned("full", "boes_avsed", "table3", **config).basis.differs == [sentence]
    (ground,) = planned("full", "nora_fusion", "table1").basis.differs
    assert "the labels of its test part are withheld" in ground


def test_a_table_counts_the_corpora_that_it_needs_and_no_others() -> None:
    def names(paper: str, table: str) -> list[str]:
        return [corpus.name for corpus in planned("full", paper, table).basis.corpora]

    assert names("datar", "table2") == ["vggsound"]
    assert names("datar", "table3") == ["vggsound", "epic"]  # a baseline goes on from the network of VGGSound
    assert names("temp4cap", "table2") == ["clotho", "audiocaps"]  # rated captions
    assert names("boes_avsed", "intext") == ["dcase"]
    assert names("boes_avsed", "table1") == []  # read off the model
    job = planned("full", "datar", "table2")
    ledger = [path for path in job.ledgers if "clips" in path.parts]
    assert len(ledger) == 64 and job.inputs()["ledgers"] == [str(path) for path in job.ledgers]
    assert job.basis.corpora[0].printed == {"train": 159223, "test": 12790}


def test_what_numbers_from_a_composed_corpus_must_be_read_with_stands_beside_them() -> None:
    mini = "; ".join(planned("mini", "yt8m_text", "table5").basis.differs)
    assert "in the place of youtube8m, whose titles and keywords are written from the topics that their labels" in mini


def test_smaller_scales_name_what_is_smaller() -> None:
    mini = "; ".join(planned("mini", "boes_avsed", "table3").basis.differs)
    assert mini.startswith("composed clips (dcase2018_composed) in the place of dcase; yamnet in the place of vggish;")
    assert "efficientnet_lite0 in the place of vgg16" in mini
    assert "other settings than the paper's (spectral.hop, spectral.mels, " in mini
    assert mini.endswith("3 seeds in the place of 20")
    assert planned("mini", "boes_avsed", "table3").basis.corpora == []
    pilot = planned("pilot", "datar", "table4").basis
    assert pilot.differs == [
        "a fraction of 0.1 of kinetics_sounds",
        "other settings than the paper's (optimisation.epochs)",
        "1 seed in the place of 3",
    ]
    assert pilot.corpora[0].printed == {"train": 22914, "test": 1585}
    assert check_claims(Scale(ROOT, Config(), "pilot"), "datar").basis["table4"] == pilot


def test_manners_and_costs_are_no_difference() -> None:
    """`yt8m_text` at the pilot has other costs and seeds, and the paper's settings."""
    differs = planned("pilot", "yt8m_text", "table2").basis.differs
    assert not any("settings" in part for part in differs)


def test_figures_say_the_same_as_tables(tmp_path: Path, counts: dict[str, Path]) -> None:
    """The sentence of a table of the same experiments, and the clips that could be had, counted when it is drawn."""
    scale = Scale(ROOT, Config(), "mini")
    figure = draw_figure(scale, "nora_fusion", "figure1")
    assert figure.basis == make_table(scale, "nora_fusion", "table1").basis
    at_full = draw_figure(Scale(ROOT, Config(), "full"), "datar", "figure1")
    assert at_full.basis.differs == [] and [corpus.name for corpus in at_full.basis.corpora] == ["kinetics_sounds"]
    assert at_full.inputs()["ledgers"] == [str(path) for path in at_full.ledgers] != []

    (tmp_path / "values.json").write_text('{"top": [["cat", 3], ["dog", 2]]}')
    settings = plugin(FIGURES, "bars", "kind").check({"key": "top", "label": "occurrences"}, "settings")
    drawn = {}
    for name, got in (("all", 4), ("some", 1)):
        basis = ledgers(tmp_path, {"train": 4, "test": got})
        job = DrawFigure(kind="bars", settings=settings, title="Figure 5", note="scale full", basis=basis,
                         values=tmp_path / "values.json")  # fmt: skip
        job.run(*(tmp_path / f"{name}.{ending}" for ending in ("png", "svg", "csv")))
        drawn[name] = " ".join(re.findall(r"<!-- (.*?) -->", (tmp_path / f"{name}.svg").read_text()))
        made(tmp_path, TABLE, counts, basis=basis)
        sentence = {"all": "on the data of the paper", "some": f"{NOT_COMPARABLE}: clips of sounds: 1 of 4 test"}[name]
        assert sentence in (tmp_path / "table3.md").read_text()
        assert f"scale full: {sentence}" in drawn[name]


def test_a_network_that_starts_from_no_other_is_told() -> None:
    """At mini AudioSlowFast learns EPIC-KITCHENS from random weights, and in the paper's setting from VGGSound's."""
    told = "epic_slowfast without vgg_slowfast"
    assert told in make_table(Scale(ROOT, Config(), "mini"), "datar", "table3").basis.differs
    assert told not in make_table(Scale(ROOT, Config(), "full"), "datar", "table3").basis.differs
