"""Networks beside the paper's: their parameters, counted on what is built and trained, and what stands in for what."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from workflow_scripts.errors import UserError
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.scale import Scale
from workflow_scripts.settings.tables import Table
from workflow_scripts.tables.plan import MakeTable, make_table

ROOT = Path(__file__).parent.parent
HERE, THERE = "here", "in the paper's setting"


def networks(folder: Path, paper: str, found: dict[str, list[int]]) -> dict[tuple[str, str], str]:
    """The cells of a paper's table of networks when the training jobs of all experiments report such sizes."""
    job, facts = make_table(Scale(ROOT, Config(), "mini"), paper, "networks"), {}
    for name in job.facts:
        facts[name] = [folder / f"{name}-{number}.json" for number in range(len(found.get(name, [1])))]
        for path, size in zip(facts[name], found.get(name, [1]), strict=True):
            path.write_text(json.dumps({"parameters": size}))
    job.model_copy(update={"facts": facts}).run(
        folder / "networks.csv", folder / "networks.md", folder / "networks.tex"
    )
    with (folder / "networks.csv").open(newline="") as stream:
        return {(line["row"], line["column"]): line["measured"] for line in csv.DictReader(stream)}


@pytest.mark.parametrize(
    ("paper", "sizes"),
    [
        ("boes_avsed", {"spectral": 1.038e6, "spectral + visual": 1.058e6, "spectral + auditory": 1.053e6,
                        "spectral + auditory + visual": 1.072e6, "visual": 0.477e6, "auditory": 0.456e6,
                        "auditory + visual": 0.534e6}),
        ("nora_fusion", {"Image only (Conv2Net)": 225_034, "Audio only (Conv1Net)": 4_151_914}),
    ],
)  # fmt: skip
def test_parameters_are_counted_on_the_network_of_the_papers_setting(
    tmp_path: Path, paper: str, sizes: dict[str, float]
) -> None:
    """Beside those that the training jobs counted; the numbers here were computed apart, layer by layer."""
    cells = networks(tmp_path, paper, {"S": [37946, 37946], "image": [56714]})
    for row, size in sizes.items():
        assert int(cells[row, THERE]) == pytest.approx(size, rel=1e-3)
    first = next(iter(sizes))
    assert cells[first, HERE] == {"spectral": "37946"}.get(first, "56714")


def test_a_fusion_adds_what_its_layers_have(tmp_path: Path) -> None:
    cells = networks(tmp_path, "nora_fusion", {})
    own = {row: int(size) for (row, column), size in cells.items() if column == THERE}
    for row, layers in {"Attention": 66_304, "Bilinear": 2_097_280, "Factorized Bilinear": 24_832}.items():
        assert own[row] - own["Addition"] == layers
    assert own["Gated"] - own["Concatenation"] == 98_816


def test_every_paper_counts_its_networks() -> None:
    for name in Scale(ROOT, Config(), "full").papers:
        job = make_table(Scale(ROOT, Config(), "full"), name, "networks")
        assert job.facts and {cell.key for cell in job.table.cells} == {"parameters"}


def test_jobs_that_disagree_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="experiment S: its training jobs report 5 and 7 as 'parameters'"):
        networks(tmp_path, "boes_avsed", {"S": [5, 7]})


def test_a_number_of_a_job_is_beside_a_printed_one(tmp_path: Path) -> None:
    """In the paper's unit, where a paper prints one."""
    (tmp_path / "params.json").write_text('{"parameters": 27800000}')
    (tmp_path / "published.csv").write_text(
        "table,group,row,column,unit,value,ci,note\ntable1,,DATAR,size,1e6 parameters,27.8,,\n"
    )
    cell: dict[str, Any] = {"kind": "fact", "row": "DATAR", "column": "size", "experiment": "S", "key": "parameters"}
    table = Table.check({"title": "t", "cells": [{**cell, "unit": "1e6 parameters"}]}, "t")
    MakeTable(
        paper="p", name="table1", scale="mini", table=table, published=tmp_path / "published.csv",
        facts={"S": [tmp_path / "params.json"]},
    ).run(tmp_path / "table1.csv", tmp_path / "table1.md", tmp_path / "table1.tex")  # fmt: skip
    assert "27.8000 (27.8)" in (tmp_path / "table1.md").read_text()


def test_stand_ins_are_named() -> None:
    """Encoders, weights, word vectors, language models and programs in the place of the paper's, each by its name."""

    def differs(paper: str, table: str, scale: str = "mini") -> list[str]:
        return make_table(Scale(ROOT, Config(), scale), paper, table).basis.differs

    assert "yamnet in the place of vggish" in differs("boes_avsed", "table3")
    assert "without dat_base_imagenet" in differs("datar", "table4")
    assert "spacy_md_keys, spacy_md_vectors in the place of word2vec_google_news" in differs("yt8m_text", "table1")
    captions = differs("temp4cap", "table3")
    assert "smollm2_135m_instruct in the place of microsoft/phi-4" in captions
    assert any(text.startswith("spacy_md_wheel in the place of stanford_corenlp, ") for text in captions)
    assert any(text.startswith("without cnn14_audioset, bart_base_config, ") for text in captions)
    for paper, table in (("boes_avsed", "table3"), ("datar", "table4"), ("temp4cap", "table3")):
        assert differs(paper, table, "full") == []
