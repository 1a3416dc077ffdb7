"""The report in a real browser: what is on it, for eyes, keyboards, screen readers, phones and printers."""

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from browser import Browser, chromium
from listening_files import NASTY, make_corpora
from matplotlib.image import imsave

from workflow_scripts.report.examples import examples
from workflow_scripts.report.plan import Examples, Part, Titled, WriteReport
from workflow_scripts.shards import pack
from workflow_scripts.tables.cells import Cell, write_cells
from workflow_scripts.tables.claims import HEADER as CLAIM
from workflow_scripts.tables.latex import render
from workflow_scripts.training.answers import in_words, samples_of
from workflow_scripts.training.outputs import heads_schema, logit_schema, prediction_schema, ranking_schema

WIDE = [f"Score {number}" for number in range(12)]


def cell(row: str, column: str, **more: str) -> Cell:
    about = {"unit": "%", "status": "measured", "scale": "mini", "differs": "scale `mini`"}
    return Cell(paper="hearing", table="table3", group="", row=row, column=column, **{**about, **more})


CELLS = [
    *(cell("spectral", name, measured="76.2512", ci_low="74.1", ci_high="78.3", published="76.22") for name in WIDE),
    cell("lopsided", WIDE[0], measured="50.0", ci_low="49.0", ci_high="58.0", note="not trained out: it still rose"),
    cell("absent <b>", WIDE[0], status="unavailable", published="3.1", note="no weights & no licence_x"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a paper with a wide table, claims, a figure, clips with captions, and training jobs."""
    folder = tmp_path_factory.mktemp("report")
    make_corpora(folder)
    write_cells(folder / "table3.csv", CELLS)
    with (folder / "claims.csv").open("w", newline="") as file:
        lines = csv.DictWriter(file, CLAIM, restval="")
        lines.writeheader()
        for verdict in ("holds", "undecided", "undecided", "does not hold"):
            line = {"claim": verdict, "text": f"It {verdict}.", "verdict": verdict, "measured": "1.4997"}
            lines.writerow({**line, "power": "±10 points; the paper's gain is 1.1"})
    imsave(folder / "figure1.png", np.zeros((40, 60)))
    job = folder / "training" / "plain" / "seeds-0-1"
    job.mkdir(parents=True)
    ran = {"device": "cpu", "precision": "32-true", "threads": 1, "versions": {"torch": "2.0"}, "seeds": [0, 1]}
    (job / "params.json").write_text(json.dumps({**ran, "parameters": 12345}))
    spent = folder / "plain.tsv"
    spent.write_text("s\tcpu_time\tmax_rss\n90.0\t60.0\t512.5\n")
    park = {name: folder / f"park_{name}.parquet" for name in ("plain", "nasty")}
    clips = sorted((folder / "park" / "clips").iterdir())
    part = Part(
        name="hearing",
        title="Hearing <i>things</i>",
        citation="Nobody, 2026",
        url="https://example.org",
        tables=[Titled(title="What is heard", file=folder / "table3.csv")],
        figures=[Titled(title="How it learned", file=folder / "figure1.png")],
        claims=folder / "claims.csv",
        examples=Examples(
            manifest=folder / "park" / "manifest.parquet", clips=clips, store=folder / "park", answers=park
        ),
        trained={"plain": {job: spent}},
    )
    page = folder / "report.html"
    WriteReport(scale="mini", parts=[part], rest="snakemake --cores all", needed=part.files()).run(page)
    return page


def test_systems_that_answered_no_clip_in_common_have_no_examples(tmp_path: Path) -> None:
    """Such as an ensemble of test clips beside systems of validation clips."""
    make_corpora(tmp_path)
    whole = pq.read_table(tmp_path / "park_plain.parquet")
    answers = {name: tmp_path / f"{name}.parquet" for name in ("first", "last")}
    for path, part in zip(answers.values(), (whole.slice(0, 1), whole.slice(len(whole) - 1)), strict=True):
        pq.write_table(part, path)
    manifest = tmp_path / "park" / "manifest.parquet"
    assert examples(Examples(manifest=manifest, store=tmp_path / "park", answers=answers)) == []
    answers["last"] = answers["first"]
    assert len(examples(Examples(manifest=manifest, store=tmp_path / "park", answers=answers))) == 1


def test_labels_that_are_numbers_are_told_by_the_names_of_the_answers(tmp_path: Path) -> None:
    """As those of YouTube-8M, whose records hold numbers."""
    row = {"clip_id": "aaaa", "labels": ["2", "0"]}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "manifest.parquet")
    schema = ranking_schema(["Car", "Dog", "Train"], 2)
    best = {"classes": np.array([2, 1]), "scores": np.array([0.9, 0.2])}
    packed = {name: pack(values, schema.field(name)) for name, values in best.items()}
    told = {"seed": 0, "clip_id": "aaaa", "split": "test", "seconds": 4.0, **packed}
    pq.write_table(pa.Table.from_pylist([told], schema=schema), tmp_path / "moe.parquet")
    answers = {"MoE": tmp_path / "moe.parquet"}
    (example,) = examples(Examples(manifest=tmp_path / "manifest.parquet", store=tmp_path, answers=answers))
    assert (example.truth, example.answers) == (["Train, Car"], {"MoE": "Train 0.90"})
    samples = samples_of(answers["MoE"], tmp_path / "manifest.parquet", 1)
    assert samples["data"] == [["aaaa", "Train 0.90", "Train, Car"]]


@pytest.fixture(scope="module")
def page(report: Path) -> Iterator[Browser]:
    with chromium(report.parent) as browser:
        browser.resize(1200, 800)
        browser.open(report)
        yield browser


def test_it_tells_what_was_measured(page: Browser, report: Path) -> None:
    page.run("for (const e of document.querySelectorAll('details')) e.open = true")
    text = page.text("body")
    assert "1 paper, 1 table, 4 claims: 2 undecided, 1 holds, 1 does not hold" in " ".join(text.split())
    assert "Hearing <i>things</i>" in text and NASTY.split("&")[0].strip() in text  # shown, not run
    assert page.run("return document.title") == "Encore: report at the scale mini"
    rows = page.run("return [...document.querySelectorAll('article table')[0].rows].map(r => r.innerText)")
    rows = [" ".join(row.split()) for row in rows]
    assert rows[1].startswith("spectral 76.25 ± 2.10 published 76.22 76.25")
    assert "[49.00, 58.00]" in rows[2] and "unavailable published 3.1" in rows[3]
    assert "not trained out" in page.text("article") and "snakemake --cores all" in text
    assert "±10 points; the paper's gain is 1.1" in page.text(".claims")
    assert "1.50" in page.text(".claims") and "1.4997" not in page.text(".claims")
    assert "12,345" in page.text("main") and "torch" in page.text("#environment")
    assert page.run("return [...document.querySelectorAll('.claims td .verdict')].map(e => e.className)") == [
        "verdict holds", "verdict undecided", "verdict undecided", "verdict does-not-hold"
    ]  # fmt: skip


def test_it_loads_nothing_and_its_links_lead_somewhere(page: Browser, report: Path) -> None:
    assert page.messages() == []
    assert page.run("return performance.getEntriesByType('resource').length") == 0
    links = page.run("return [...document.links].map(a => a.getAttribute('href'))")
    files = [link for link in links if not link.startswith(("#", "http"))]
    made = [link for link in files if not link.endswith((".md", ".tex", ".svg", "figure1.csv"))]  # of other jobs
    assert made and all((report.parent / link).exists() for link in made)
    ids = {link[1:] for link in links if link.startswith("#")}
    assert ids == set(page.run("return [...document.querySelectorAll('[id]')].map(e => e.id)")) & ids


def test_clips_are_heard_and_seen(page: Browser) -> None:
    assert page.run("return document.querySelectorAll('.clip').length") == 3
    assert page.run("return document.querySelector('.spectrogram').naturalWidth") > 20
    page.run("const a = document.querySelector('audio'); a.preload = 'auto'; a.load()")
    ready = "return new Promise(ok => { const a = document.querySelector('audio'); "
    ready += "a.readyState > 0 ? ok(a.duration) : a.addEventListener('loadedmetadata', () => ok(a.duration)) })"
    assert page.run(ready) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [320, 1200])
def test_it_fits_a_phone_and_can_be_read_in_the_dark(page: Browser, width: int, dark: bool) -> None:
    page.resize(width, 800, dark)
    assert page.run("return document.documentElement.scrollWidth") <= width
    contrasts = page.run(CONTRASTS)
    assert len(contrasts) > 20
    assert min(contrasts) >= 4.5  # WCAG 2, level AA


def test_tables_and_controls_have_names_and_scopes(page: Browser) -> None:
    page.command("Accessibility.enable")
    nodes = page.command("Accessibility.getFullAXTree")["nodes"]
    found = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    roles = Counter(role for role, _ in found)
    assert roles["columnheader"] >= len(WIDE) and roles["rowheader"] >= 3 and roles["main"] == 1
    assert all(name for role, name in found if role in {"region", "image", "link", "Audio", "navigation"})


def test_wide_tables_scroll_by_keyboard(page: Browser) -> None:
    page.resize(320, 800)
    page.run("document.querySelector('.scroll').focus()")
    page.press("right", "right", "right")
    moved = "return new Promise(ok => setTimeout(() => ok(document.querySelector('.scroll').scrollLeft), 400))"
    assert page.run(moved) > 0


def test_answers_of_every_kind_become_words() -> None:
    row: dict[str, Any] = {"seed": 0, "clip_id": "a", "split": "test", "seconds": 1.0}
    clip = prediction_schema(["dog", "cat"], 1, 0.1)
    tags = {"clip": pack(np.array([0.2, 0.9], "f4"), clip.field("clip")), "frames": None}
    assert in_words(pa.Table.from_pylist([{**row, **tags}], clip)) == ["cat 0.90"]
    logits = logit_schema(["dog", "cat"])
    one = {"logits": pack(np.array([3.0, 1.0], "f4"), logits.field("logits"))}
    assert in_words(pa.Table.from_pylist([{**row, **one}], logits)) == ["dog"]
    heads = heads_schema({"verb": ["cut", "pour"], "noun": ["cup", "pan", "lid"]})
    both = {"logits_verb": np.array([0.0, 1.0], "f4"), "logits_noun": np.array([0.0, 1.0, 2.0], "f4")}
    packed = {name: pack(values, heads.field(name)) for name, values in both.items()}
    assert in_words(pa.Table.from_pylist([{**row, **packed}], heads)) == ["pour, lid"]
    lists = ranking_schema(["a", "b", "c"], 2)
    best = {
        "classes": pack(np.array([2, 0], "i4"), lists.field("classes")),
        "scores": pack(np.array([0.4, 0.1], "f4"), lists.field("scores")),
    }
    assert in_words(pa.Table.from_pylist([{**row, **best}], lists)) == ["none (likeliest: c 0.40)"]


def test_latex_has_all_cells_and_escapes_them() -> None:
    text = render("What is heard & told", CELLS)
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert len(body) == 3 and {line.count(" & ") for line in body} == {len(WIDE)}
    assert body[0].startswith(r"spectral & 76.25 $\pm$ 2.10 (76.22) &")
    assert r"absent \textless{}b\textgreater{}" in body[2] and r"heard \& told" in text
    assert all(line.endswith(r"\\") for line in body)


CONTRASTS = """
const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map(channel);
  return .2126 * r + .7152 * g + .0722 * b; };
const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
  if (c !== 'rgba(0, 0, 0, 0)') return c; } return 'rgb(255, 255, 255)'; };
const texts = [...document.querySelectorAll('body *')].filter(e => e.checkVisibility()
  && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()));
return texts.map(e => { const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
  return (a + .05) / (b + .05); });
"""
