"""Titles and keywords: files that were given out, and a loopback site in the place of YouTube, with faults."""

import json
import logging
import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.errors import UserError
from workflow_scripts.media import server, text_release
from workflow_scripts.media.pace import Pace, host
from workflow_scripts.media.plan import FetchText
from workflow_scripts.media.text_release import Release, members
from workflow_scripts.media.text_sources import answer_of
from workflow_scripts.settings.text import Text
from workflow_scripts.shards import ClipError, Reason, Row, Status

FAST = {
    "min_share": 0,
    "asks_per_hour": None,
    "ids_per_hour": None,
    "retry_wait": 0.01,
    "retries": 2,
    "timeout": 5,
    "concurrent": 1,
}
STATE = [(name, pa.string()) for name in ("status", "reason", "detail")]
MANIFEST = pa.schema(
    [(name, pa.string()) for name in ("clip_id", "link", "split")] + [("labels", pa.list_(pa.string()))] + STATE
)
LEDGER = pa.schema([(name, pa.string()) for name in ("name", "part")] + STATE)
KEY = "a-secret-key"
SPAWN = multiprocessing.get_context("spawn")
XML = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"
DENIED, GONE, STRANGE, FORBIDDEN, FLAKY, DOWN = "goneXML", "gone404", "strange", "forbid", "flaky", "down503"


class YouTube(server.Handler):
    """Tells ids and titles; the names of videos say what goes wrong with them."""

    asked: Counter[str]
    quota: list[int]  # calls that the API still answers

    def answer(self, body: bool) -> None:
        place = urlsplit(self.path)
        if place.path == "/api":
            self.api(parse_qs(place.query))
        elif place.path.startswith("/i/"):
            self.identity(place.path.split("/")[-1].removesuffix(".js"))
        else:
            self.asked[place.path] += 1
            super().answer(body)

    def reply(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def identity(self, name: str) -> None:
        self.asked[name] += 1
        assert self.path == f"/i/{name[:2]}/{name}.js"
        if name == DENIED:
            self.reply(403, XML)
        elif name == FORBIDDEN:
            self.reply(403, b"slow down")
        elif name == GONE:
            self.reply(404, XML)
        elif name == DOWN or (name == FLAKY and self.asked[name] == 1):
            self.reply(503, b"")
        else:
            other = "someone" if name == STRANGE else name
            self.reply(200, f'i("{other}","yt-{name}");\n'.encode())

    def api(self, query: dict[str, list[str]]) -> None:
        names = query["id"][0].split(",")
        assert self.headers["X-Goog-Api-Key"]
        assert KEY not in self.path
        self.asked[f"{len(names)} videos, {query['part'][0]}"] += 1
        if self.headers["X-Goog-Api-Key"] != KEY:
            self.reply(400, json.dumps({"error": {"errors": [{"reason": "keyInvalid"}]}}).encode())
        elif self.quota[0] == 0:
            self.reply(403, json.dumps({"error": {"errors": [{"reason": "quotaExceeded"}]}}).encode())
        else:
            self.quota[0] -= 1
            time.sleep(0.1 if names[0].startswith("slow") else 0)
            items = [self.item(name) for name in names if "removed" not in name]
            self.reply(200, json.dumps({"items": items}).encode())

    def item(self, name: str) -> Row:
        snippet = {"title": "" if "untitled" in name else f"Title of {name}", "tags": ["dance", "lake side"]}
        if "untagged" in name:
            del snippet["tags"]
        return {"id": name, "snippet": snippet, "status": {"embeddable": "homely" not in name}}


class Corpus:
    """A manifest of two record files, and the site."""

    def __init__(self, folder: Path, base: str, site: type[YouTube]) -> None:
        self.folder, self.base, self.site = folder, base, site
        self.asked = site.asked
        self.rows: list[Row] = []

    def add(self, *names: str, file: str = "train/a", **other: Any) -> None:
        state = {"status": "ok", "reason": None, "detail": None, "split": "train", "labels": ["3"]}
        self.rows += [{"clip_id": name, "link": file, **state, **other} for name in names]

    def write(self, files: list[str]) -> list[Path]:
        manifest, ledger = self.folder / "manifest.parquet", self.folder / "ledger.parquet"
        pq.write_table(pa.Table.from_pylist(self.rows, schema=MANIFEST), manifest, row_group_size=3)
        parts = [file.split("/") for file in files]
        pq.write_table(pa.Table.from_pylist([{"part": p, "name": n} for p, n in parts], schema=LEDGER), ledger)
        return [manifest, ledger]

    def job(self, settings: Row, files: dict[str, Path] | None = None, of: tuple[str, ...] = ("train/a",)) -> FetchText:
        manifest, records = self.write(list(of))
        chosen, store = FAST | settings, self.folder / "store"
        return FetchText(manifest=manifest, records=records, text=chosen, files=files or {}, store=store)

    def find(
        self, settings: Row, files: dict[str, Path] | None = None, of: tuple[str, ...] = ("train/a",)
    ) -> dict[str, Row]:
        output = self.folder / "out.parquet"
        self.job(settings, files, of).run(output)
        rows = pq.read_table(output).to_pylist()
        assert [row["clip_id"] for row in rows] == [row["clip_id"] for row in self.rows if row["link"] in of]
        return {row["clip_id"]: row for row in rows}

    @property
    def api(self) -> Row:
        return {"source": "data_api", "api": f"{self.base}api", "key_variable": "ENCORE_TEST_KEY"}

    @property
    def with_ids(self) -> Row:
        return {"source": "release", "ids": self.base + "i/{prefix}/{id}.js"}


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Corpus]:
    monkeypatch.setenv("ENCORE_TEST_KEY", KEY)
    served = tmp_path / "served"
    served.mkdir()
    site = type("Site", (YouTube,), {"asked": Counter(), "quota": [1000]})
    with server.serve(served, site) as base:
        yield Corpus(tmp_path, base, site)


def state(row: Row) -> tuple[str, str | None]:
    return row["status"], row["reason"]


def saved(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_release_fills_rows_in_the_manifest_s_order(corpus: Corpus, tmp_path: Path) -> None:
    corpus.add("d", "b")
    corpus.add("x", file="validate/a")
    corpus.add("c", "a", "e")
    corpus.add("left out", status="skipped", reason="beyond_limit", detail="limit: 5")
    titles = {"a": "A title", "b": "", "c": "Größe ★", "x": "of another file"}
    keywords = [{"video_id": "a", "keywords": ["dance, lake,, side"]}, {"video_id": "b", "keywords": ["one", "two"]}]
    files = {
        "titles": saved(tmp_path / "t.json", titles),
        "keywords": saved(tmp_path / "k.json", [*keywords, {"video_id": "d", "keywords": [""]}]),
    }
    rows = corpus.find({"source": "release"}, files)
    assert (rows["a"]["title"], rows["a"]["keywords"]) == ("A title", ["dance", "lake", "side"])
    assert [state(rows[name]) for name in "abc"] == [("ok", None)] * 3
    assert (rows["c"]["title"], rows["c"]["keywords"]) == ("Größe ★", None)
    reasons = {name: (row["title_reason"], row["keywords_reason"]) for name, row in rows.items()}
    assert [reasons[n] for n in "abc"] == [(None, None), ("no_text", None), (None, "not_found")]
    assert [reasons[n] for n in "de"] == [("not_found", "no_text"), ("not_found", "not_found")]
    assert state(rows["d"]) == ("unavailable", "no_text")
    assert state(rows["left out"]) == ("skipped", "beyond_limit")
    assert rows["a"]["video_id"] == "a"
    assert {(row["split"], *row["labels"]) for row in rows.values()} == {("train", "3")}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("k.json", [{"video_id": "a", "keywords": ["rock,folk music"]}]),
        ("k.json", {"a": ["rock", "folk music"]}),
        ("k.txt", "z\t(jazz)\n\na\t(rock,folk music)\n"),
    ],
)
def test_the_forms_of_keyword_files(tmp_path: Path, name: str, content: Any) -> None:
    release = Release({"keywords": saved(tmp_path / name, content)}, {"a"})
    assert release.keywords == {"a": ["rock", "folk music"]}
    assert release.titles == {}


@pytest.mark.parametrize(
    ("role", "name", "content", "words"),
    [
        ("titles", "t.json", '{"a": "x", "b": "y', "not complete"),
        ("titles", "t.json", "", "object or list"),
        ("titles", "t.json", {"a": 3}, "expected a JSON object"),
        ("titles", "t.json", ["a"], "expected a JSON object"),
        ("keywords", "k.json", [{"keywords": ["a"]}], "video_id"),
        ("keywords", "k.json", {"a": "rock"}, "found"),
        ("keywords", "k.txt", "a rock", "line 1"),
        ("labels", "l.json", {}, "expected 'titles' or 'keywords'"),
    ],
)
def test_files_of_another_shape_are_refused(tmp_path: Path, role: str, name: str, content: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Release({role: saved(tmp_path / name, content)}, set())


JSON = st.recursive(
    st.none() | st.booleans() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(st.dictionaries(st.text(), JSON) | st.lists(JSON), st.sampled_from([None, 1]), st.booleans(), st.integers(1, 40))
def test_json_is_streamed_whatever_the_blocks(
    tmp_path_factory: pytest.TempPathFactory, value: Any, indent: int | None, ascii_only: bool, block: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    path.write_text(json.dumps(value, indent=indent, ensure_ascii=ascii_only), encoding="utf-8", errors="replace")
    expected = json.loads(path.read_text(encoding="utf-8"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_release, "BLOCK", block)
        found = list(members(path))
    assert found == (list(expected.items()) if isinstance(expected, dict) else expected)


def test_ids_are_told_and_the_gone_are_said_to_be(corpus: Corpus, tmp_path: Path) -> None:
    corpus.add("good", DENIED, GONE, STRANGE, FORBIDDEN, FLAKY, DOWN)
    titles = {"titles": saved(tmp_path / "t.json", {"yt-good": "Found", "yt-flaky": "Found later"})}
    rows = corpus.find(corpus.with_ids, titles)
    assert (rows["good"]["video_id"], rows["good"]["title"]) == ("yt-good", "Found")
    assert (rows[FLAKY]["title"], corpus.asked[FLAKY]) == ("Found later", 2)
    assert [state(rows[name]) for name in (DENIED, GONE)] == [("unavailable", "removed")] * 2
    assert state(rows[STRANGE]) == ("failed", "unexpected_error")
    assert state(rows[FORBIDDEN]) == ("unavailable", "forbidden")
    assert state(rows[DOWN]) == ("unavailable", "server_error")
    assert rows[DENIED]["video_id"] is None
    assert (rows[DENIED]["title_reason"], rows[DENIED]["keywords_reason"]) == ("removed", "removed")
    corpus.asked.clear()
    assert corpus.find(corpus.with_ids, titles) == rows
    assert set(corpus.asked) == {STRANGE, FORBIDDEN, DOWN}, "only what may have passed is asked again"


def test_the_api_is_asked_for_fifty_videos_a_call(corpus: Corpus) -> None:
    names = [f"v{number}" for number in range(117)]
    corpus.add(*names, "removed", "homely", "untitled-untagged")
    rows = corpus.find(corpus.api)
    assert corpus.asked == {"50 videos, snippet,status": 2, "20 videos, snippet,status": 1}
    assert [rows[name]["title"] for name in names] == [f"Title of {name}" for name in names]
    assert rows["v3"]["keywords"] == ["dance", "lake side"]
    assert state(rows["removed"]) == ("unavailable", "removed")
    assert state(rows["homely"]) == ("unavailable", "embedding_disabled")
    assert rows["homely"]["title_reason"] == "embedding_disabled"
    assert state(rows["untitled-untagged"]) == ("unavailable", "no_text")
    corpus.asked.clear()
    assert corpus.find(corpus.api) == rows
    assert not corpus.asked
    assert state(corpus.find({**corpus.api, "embeddable_only": False})["homely"]) == ("ok", None)
    assert set(corpus.asked) == {"50 videos, snippet", "20 videos, snippet"}


def test_a_spent_quota_ends_the_asking_until_the_next_run(corpus: Corpus) -> None:
    corpus.add(*(f"v{number}" for number in range(260)))
    corpus.site.quota[:] = [2]
    rows = corpus.find(corpus.api)
    assert Counter(state(row) for row in rows.values()) == {("ok", None): 100, ("unavailable", "rate_limited"): 160}
    assert corpus.asked.total() == 3, "two answers, one refusal, and nothing after it"
    corpus.site.quota[:] = [100]
    corpus.asked.clear()
    rows = corpus.find(corpus.api)
    assert {state(row) for row in rows.values()} == {("ok", None)}
    assert corpus.asked == {"50 videos, snippet,status": 3, "10 videos, snippet,status": 1}


def test_a_spent_quota_fails_the_job_until_all_is_told(corpus: Corpus) -> None:
    corpus.add(*(f"v{number}" for number in range(250)), "removed")
    corpus.add("w", split="test")
    corpus.site.quota[:] = [2]
    strict = {**corpus.api, "min_share": 1.0}
    with pytest.raises(UserError) as caught:
        corpus.find(strict)
    words = "151 of 251 videos of train (not asked after rate_limited 101, rate_limited 50) and 1 of 1 videos of test"
    assert str(caught.value).startswith(words)
    assert "run the same command again" in str(caught.value)
    unfinished = pq.read_table(corpus.folder / "unfinished-out.parquet").to_pylist()
    assert Counter(row["reason"] for row in unfinished) == {None: 100, "rate_limited": 152}
    assert not (corpus.folder / "out.parquet").exists()
    assert len(corpus.find({**corpus.api, "min_share": 0.0})) == 252, "the loss is accepted"
    corpus.asked.clear()
    corpus.site.quota[:] = [100]
    rows = corpus.find(strict)
    assert Counter(row["reason"] for row in rows.values()) == {None: 251, "removed": 1}
    assert corpus.asked == {"50 videos, snippet,status": 3, "2 videos, snippet,status": 1}
    assert not (corpus.folder / "unfinished-out.parquet").exists()


def test_texts_and_clips_of_a_site_share_its_pace(corpus: Corpus, caplog: pytest.LogCaptureFixture) -> None:
    site = Pace(3600 / 0.3, corpus.folder / "store" / "pace", host(corpus.base))
    site.wait()
    corpus.add("v")
    with caplog.at_level(logging.INFO):
        corpus.find({**corpus.api, "asks_per_hour": 3600 / 0.3})
    assert "was asked just now, by another job" in caplog.text


def test_other_shards_find_the_same_journal(corpus: Corpus) -> None:
    corpus.add("a", "b")
    corpus.add("c", file="validate/b")
    first = corpus.find(corpus.api)
    second = corpus.find(corpus.api, of=("validate/b", "train/a"))
    assert {name: second[name] for name in first} == first
    assert corpus.asked == {"2 videos, snippet,status": 1, "1 videos, snippet,status": 1}


def test_keys_that_lack_or_are_refused_are_named(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus.add("a")
    monkeypatch.setenv("ENCORE_TEST_KEY", "wrong")
    with pytest.raises(UserError, match=r"ENCORE_TEST_KEY .*keyInvalid"):
        corpus.find(corpus.api)
    monkeypatch.delenv("ENCORE_TEST_KEY")
    with pytest.raises(UserError, match="ENCORE_TEST_KEY"):
        corpus.find(corpus.api)


def test_pages_are_read_with_yt_dlp(corpus: Corpus) -> None:
    import scripted_site  # noqa: F401 - yt-dlp knows it from then on; processes that others spawn need not

    movie = {"@type": "VideoObject", "name": "Dance on a lake", "contentUrl": f"{corpus.base}b.mp4", "keywords": "a,b"}
    schema = json.dumps({"@context": "https://schema.org", **movie})
    page = f'<html><script type="application/ld+json">{schema}</script></html>'
    saved(corpus.folder / "served" / "page.html", page)
    (corpus.folder / "served" / "untagged.mp4").write_bytes(bytes(64))
    scripted = {"private": Reason.PRIVATE, "bot": Reason.BOT_CHECK, "removed": Reason.REMOVED}
    corpus.add("page.html", "untagged.mp4", "absent", *(f"scripted/{name}" for name in scripted))
    settings = {"source": "yt_dlp", "link": corpus.base + "{video_id}", "retries": 0}
    rows = corpus.find(settings)
    assert (rows["page.html"]["title"], rows["page.html"]["keywords"]) == ("Dance on a lake", ["a", "b"])
    assert (rows["untagged.mp4"]["title"], rows["untagged.mp4"]["keywords_reason"]) == ("untagged", "no_text")
    assert state(rows["absent"]) == ("unavailable", "not_found")
    for name, reason in scripted.items():
        assert state(rows[f"scripted/{name}"]) == ("unavailable", reason)
    assert not corpus.asked["/b.mp4"], "no video is fetched"
    corpus.asked.clear()
    assert corpus.find(settings) == rows
    assert not corpus.asked


def test_asking_stops_when_everything_is_refused(corpus: Corpus) -> None:
    corpus.add(*(f"clip{number}" for number in range(6)))
    settings = {"source": "yt_dlp", "link": "http://127.0.0.1:9/{video_id}", "give_up_after": 2, "retries": 0}
    rows = corpus.find(settings)
    assert {state(row) for row in rows.values()} == {("unavailable", "network_error")}
    assert [row["detail"].startswith("not asked") for row in rows.values()] == [False] * 2 + [True] * 4


def test_videos_that_may_not_be_embedded() -> None:
    strict, lax = Text(source="yt_dlp"), Text(source="yt_dlp", embeddable_only=False)
    with pytest.raises(ClipError) as caught:
        answer_of("Title", ["tag"], False, strict)
    assert (caught.value.status, caught.value.reason) == (Status.UNAVAILABLE, Reason.EMBEDDING_DISABLED)
    for embeddable, settings in ((None, strict), (True, strict), (False, lax)):
        assert answer_of("Title", ["tag"], embeddable, settings) == {"title": "Title", "keywords": ["tag"]}


@pytest.mark.parametrize(
    "values",
    [{"ids": "http://x/{name}"}, {"ids": "http://x/"}, {"link": "watch/{video_id}"}, {"link": "http://x/{"}],
)
def test_urls_that_cannot_be_filled_in_are_refused(values: Row) -> None:
    with pytest.raises(UserError, match=f"'{next(iter(values))}'"):
        Text.check({"source": "yt_dlp", **values}, "test")


def test_a_terminated_job_ends_at_once_and_goes_on_where_it_was(
    corpus: Corpus, capfd: pytest.CaptureFixture[str]
) -> None:
    corpus.add(*(f"slow{number}" for number in range(700)))
    journal = corpus.folder / "store/journals/train/a/texts/journal-0.jsonl"
    process = SPAWN.Process(target=corpus.job(corpus.api).run, args=(corpus.folder / "out.parquet",), daemon=True)
    process.start()
    deadline = time.monotonic() + 30
    while not journal.exists() or journal.read_text().count("\n") < 100:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.terminate()
    process.join(3)
    assert process.exitcode == 128 + signal.SIGTERM
    assert KEY not in capfd.readouterr().err
    assert not (corpus.folder / "out.parquet").exists()
    assert KEY not in journal.read_text()
    done = journal.read_text().count("\n")
    assert 100 <= done < 700
    corpus.asked.clear()
    rows = corpus.find(corpus.api)
    assert {state(row) for row in rows.values()} == {("ok", None)}
    assert corpus.asked.total() == -(-(700 - done) // 50)


def test_the_job_reads_a_release(corpus: Corpus, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    corpus.add("a")
    files = {"titles": saved(tmp_path / "t.json", {"a": "Title"})}
    with caplog.at_level(logging.INFO):
        corpus.find({"source": "release"}, files)
    assert "1 videos: with title 1, with keywords 0" in caplog.text
    with pytest.raises(UserError, match=r"the file 'keywords' of the released texts: there is no 'none\.json'"):
        corpus.find({"source": "release"}, files | {"keywords": Path("none.json")})
    assert not corpus.asked


def test_what_the_authors_scripts_skip_is_skipped_and_counted(
    corpus: Corpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The three files of keywords that YouTube-8M-Text names, with all that its scripts pass over."""
    corpus.add("a", "b", "c", "d")
    validation = [{"keywords": ["no id"]}, {"video_id": "d"}, {}, None, {"video_id": ["c"], "keywords": ["x,y"]}]
    files = {
        "keywords": saved(tmp_path / "input-train.txt", "\ufeffa\t(rock,folk music)\nd\n"),
        "keywords_dev": saved(tmp_path / "input-dev.txt", "b\t(jazz)\n"),
        "keywords_validation": saved(tmp_path / "combined_metadata_val.json", validation),
        "titles": saved(tmp_path / "titles.json", {"a": "A title", "b": None, "c": ["a", "list", "of", "words"]}),
    }
    rows = corpus.find({"source": "release"}, files)
    found = {name: row["keywords"] for name, row in rows.items()}
    assert found == {"a": ["rock", "folk music"], "b": ["jazz"], "c": ["x", "y"], "d": None}
    assert [rows[name]["title"] for name in "abc"] == ["A title", None, "a list of words"]
    assert "input-train.txt: 1 of 2 entries are left out" in caplog.text
    assert "combined_metadata_val.json: 4 of 5 entries are left out" in caplog.text
    assert "titles.json: 1 of 3 entries are left out" in caplog.text
