"""Language models as rewriters: stored answers, one retry, a server with faults, a killed run, a model that is real."""

import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from language_models import CAPTION, GOOD, KEY, Completions, served, untrained

from workflow_scripts.captions.answers import read_answer
from workflow_scripts.captions.asking import Asker
from workflow_scripts.captions.backends import openai, transformers
from workflow_scripts.captions.backends.openai import Server, response_format
from workflow_scripts.captions.grammar import GrammarError
from workflow_scripts.captions.plan import RewriteCaptions
from workflow_scripts.captions.prompt import Message, answer_of, chat, version
from workflow_scripts.captions.store import Answer, Store
from workflow_scripts.corpora.annotate import MANIFEST
from workflow_scripts.errors import UserError
from workflow_scripts.shards import read, write


class Stub:
    """A model whose answers are written beforehand, by caption: the first, then that to the retry."""

    name = "stub"

    def __init__(self, **answers: list[str | None]) -> None:
        self.answers = {caption.replace("_", " "): list(given) for caption, given in answers.items()}
        self.asked: list[list[list[Message]]] = []

    def ask(self, chats: Sequence[list[Message]]) -> list[str | None]:
        self.asked.append(list(chats))
        captions = [next(turn["content"] for turn in turns if turn["content"] in self.answers) for turns in chats]
        return [self.answers[caption].pop(0) for caption in captions]


def asker(model: Any, folder: Path, writer: str = "0", **settings: Any) -> Asker:
    """The model as a rewriter with a store."""
    return Asker(model, server_settings("http://", **{"batch": 16} | settings), "mention", Store(folder, writer))


def stored(folder: Path) -> list[dict[str, Any]]:
    """All lines of a store."""
    return [json.loads(line) for path in folder.glob("*.jsonl") for line in path.read_text().splitlines()]


def test_sources_and_what_is_stored(tmp_path: Path) -> None:
    """Valid at once, valid when asked again, never valid, refused, not even for the rules: each has its source."""
    dog, bell, cow = answer_of([("dog barks", 1)]), answer_of([("bell rings", 1)]), answer_of([("cow moos", 1)])
    model = Stub(
        a_dog_barks=[dog], a_bell_rings=["no", bell], a_cat_meows=[cow, cow], an_owl_hoots=[None], the=["", ""]
    )
    found = asker(model, tmp_path)(["a dog barks", "a bell rings", "a cat meows", "an owl hoots", "the", "a dog barks"])
    assert [(str(done.temporal), done.source) for done in found] == [
        ("dog barks: 1", "llm"),
        ("bell rings: 1", "retry"),
        ("cat meows: 1", "rules"),
        ("owl hoots: 1", "rules"),
        ("the: 1", "fallback"),
        ("dog barks: 1", "llm"),
    ]
    assert Counter((entry["caption"], entry["source"]) for entry in stored(tmp_path)) == Counter(
        [("a dog barks", "llm"), ("a bell rings", "retry")]
    )
    first, again = model.asked
    assert [turns[-1]["content"] for turns in first] == [
        "a dog barks",
        "a bell rings",
        "a cat meows",
        "an owl hoots",
        "the",
    ]
    assert "not in the caption" in again[1][-1]["content"]
    assert again[1][-2] == {"role": "assistant", "content": cow}


def test_stored_answers_are_not_asked_again(tmp_path: Path) -> None:
    """Another job finds the answers, and asks only for what failed; another model or prompt asks anew."""
    captions = ["a dog barks", "a cat meows"]
    dog, cat = answer_of([("dog barks", 1)]), answer_of([("cat meows", 1)])
    asker(Stub(a_dog_barks=[dog], a_cat_meows=["", ""]), tmp_path)(captions)
    model = Stub(a_cat_meows=["", cat])
    found = asker(model, tmp_path, writer="1")(captions)
    assert [done.source for done in found] == ["llm", "retry"]
    assert [done.source for done in asker(Stub(), tmp_path, writer="2")(captions)] == ["llm", "retry"]
    other = Stub(a_dog_barks=[dog], a_cat_meows=[cat])
    other.name = "other"
    asker(other, tmp_path, writer="3")(captions)
    assert len(other.asked) == 1
    assert version("mention", 8, 160) != version("simultaneous", 8, 160)


def test_batches(tmp_path: Path) -> None:
    """No more captions at a time than the settings say; equal ones are asked for once."""
    names = [f"a dog barks {word}" for word in ("loudly", "softly", "twice", "again", "nearby")]
    model = Stub(**{name.replace(" ", "_"): [answer_of([("dog barks", 1)])] for name in names})
    found = asker(model, tmp_path, batch=2)([*names, *names])
    assert [len(chats) for chats in model.asked] == [2, 2, 1]
    assert [done.source for done in found] == ["llm"] * 10


def test_only_so_many_are_asked_for(tmp_path: Path) -> None:
    """The first distinct captions up to the limit, over all calls; what is stored changes nothing about that."""
    dog, bell, cow = ([answer_of([(text, 1)])] for text in ("dog barks", "bell rings", "cow moos"))
    for writer, model in enumerate((Stub(a_dog_barks=dog, a_bell_rings=bell), Stub())):
        rewriter = asker(model, tmp_path, str(writer), limit=2)
        found = [
            *rewriter(["a dog barks", "a dog barks", "a bell rings"]),
            *rewriter(["a cow moos", "a dog barks", "the"]),
        ]
        assert [(str(done.temporal), done.source) for done in found] == [
            ("dog barks: 1", "llm"),
            ("dog barks: 1", "llm"),
            ("bell rings: 1", "llm"),
            ("cow moos: 1", "unasked"),
            ("dog barks: 1", "llm"),
            ("the: 1", "unasked"),
        ]
    more = asker(Stub(a_cow_moos=cow), tmp_path, writer="2", limit=3)
    assert [done.source for done in more(["a dog barks", "a bell rings", "a cow moos", "an owl"])] == ["llm"] * 3 + [
        "unasked"
    ]


def test_a_torn_line_is_passed_over(tmp_path: Path) -> None:
    """What a killed job left unfinished costs that answer only."""
    store = Store(tmp_path, "0")
    store.add("m", "v", "one", Answer(GOOD, "llm"))
    store.add("m", "v", "two", Answer(GOOD, "llm"))
    path = tmp_path / "0.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    store = Store(tmp_path, "0")
    assert store.get("m", "v", "one") == Answer(GOOD, "llm")
    assert store.get("m", "v", "two") is None
    store.add("m", "v", "three", Answer(GOOD, "retry"))
    assert Store(tmp_path, "1").get("m", "v", "three") == Answer(GOOD, "retry")


@pytest.fixture
def completions(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, type[Completions]]]:
    """The address of a server, and its handler."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with served() as server:
        yield server


def server_settings(url: str, **changes: Any) -> openai.Backend:
    """Impatient settings."""
    values = {"kind": "openai", "url": url, "model": "m", "retries": 3, "retry_wait": 0.01, "timeout": 5, "batch": 4}
    return openai.Backend.check(values | changes, "test")


def test_server_with_faults(tmp_path: Path, completions: tuple[str, type[Completions]]) -> None:
    """Passing faults pass, a refused caption goes to the rules, and the ask says what it should."""
    url, handler = completions
    settings = server_settings(url)
    names = ["flaky", "garbled", "torn", "refused", "fine"]
    captions = [f"{name}: {CAPTION}" for name in names]
    found = Asker(Server(settings), settings, "mention", Store(tmp_path, "0"))(captions)
    assert [done.source for done in found] == ["llm", "llm", "llm", "rules", "llm"]
    assert str(found[-1].temporal) == "dog barks: 1; man speaks: 2"
    assert [handler.asked[caption] for caption in captions] == [3, 2, 2, 1, 1]
    body = handler.bodies[0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0, 160)
    assert body["response_format"] == response_format(8)
    assert len(stored(tmp_path)) == 4


def test_server_that_stays_down(tmp_path: Path, completions: tuple[str, type[Completions]]) -> None:
    """The run ends with one sentence; earlier answers are stored, failures are not."""
    url, handler = completions
    settings = server_settings(url, batch=1, retries=1)
    with pytest.raises(UserError, match="run again"):
        Asker(Server(settings), settings, "mention", Store(tmp_path, "0"))([CAPTION, f"down: {CAPTION}"])
    assert [entry["caption"] for entry in stored(tmp_path)] == [CAPTION]
    assert handler.asked[f"down: {CAPTION}"] == 2


def test_wrong_keys_and_addresses_are_not_repeated(
    completions: tuple[str, type[Completions]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no repetition mends is said at once, without telling the key."""
    url, handler = completions
    with pytest.raises(UserError, match="check url and model"):
        Server(server_settings(f"{url}/v2")).ask([chat(CAPTION, "mention")])
    monkeypatch.setenv("OPENAI_API_KEY", "another-key")
    with pytest.raises(UserError, match="OPENAI_API_KEY") as raised:
        Server(server_settings(url)).ask([chat(CAPTION, "mention")])
    assert "another-key" not in str(raised.value)
    assert handler.asked[CAPTION] == 2


def test_a_killed_run_continues(tmp_path: Path, completions: tuple[str, type[Completions]]) -> None:
    """Killed halfway, the job asks only for what the store does not hold, and leaves no half shard behind."""
    url, handler = completions
    handler.pause = 0.1
    captions = [f"{CAPTION} {number} times" for number in range(24)]
    row = {"clip_id": "a", "split": "train", "captions": captions, "status": "ok"}
    schema = pa.schema(
        [("clip_id", pa.string()), ("split", pa.string()), ("captions", pa.list_(pa.string()))]
        + [(name, pa.string()) for name in ("status", "reason", "detail")]
    )
    pq.write_table(pa.Table.from_pylist([row], schema=schema), tmp_path / "m.parquet")
    job = RewriteCaptions(
        manifest=tmp_path / "m.parquet",
        temporal={"backend": server_settings(url, batch=2)},
        answers=tmp_path / "store",
    )
    spawn, output = multiprocessing.get_context("spawn"), tmp_path / "out.parquet"
    process = spawn.Process(target=job.run, args=(output,), daemon=True)
    process.start()
    while len(handler.asked) < 8:
        time.sleep(0.02)
        assert process.is_alive()
    process.kill()
    process.join()
    kept = {entry["caption"] for entry in stored(tmp_path / "store")}
    assert 4 <= len(kept) < 24
    assert not output.exists()
    handler.pause = 0.0
    job.run(output)
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [done["caption"] for done in rows] == captions
    assert {done["source"] for done in rows} == {"llm"}
    assert all(handler.asked[caption] == 1 for caption in kept)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.parquet", "out.parquet", "store"]


def test_first_captions_are_asked_for_first(tmp_path: Path, completions: tuple[str, type[Completions]]) -> None:
    """The limit takes one caption of many clips rather than all of a few; rows keep the manifest's order."""
    rows = [
        {"clip_id": name, "link": "", "start": 0.0, "split": "train", "status": "ok"}
        | {"captions": [f"{CAPTION} {name} {place}" for place in range(2)]}
        for name in "abc"
    ]
    write(tmp_path / "m.parquet", rows, MANIFEST)
    RewriteCaptions(
        manifest=tmp_path / "m.parquet",
        temporal={"backend": server_settings(completions[0], limit=4)},
        answers=tmp_path / "store",
    ).run(tmp_path / "out.parquet")
    found = [(row["clip_id"], row["caption_index"], row["source"]) for row in read(tmp_path / "out.parquet")]
    assert found == [
        ("a", 0, "llm"),
        ("a", 1, "llm"),
        ("b", 0, "llm"),
        ("b", 1, "unasked"),
        ("c", 0, "llm"),
        ("c", 1, "unasked"),
    ]


def test_what_was_not_asked_for_is_no_fallback(tmp_path: Path, completions: tuple[str, type[Completions]]) -> None:
    """The limit on fallbacks is of the captions that were asked for."""
    captions = [CAPTION, f"refused: {CAPTION}", *(f"{CAPTION} {number}" for number in range(8))]
    row = {"clip_id": "a", "link": "", "start": 0.0, "split": "train", "captions": captions, "status": "ok"}
    write(tmp_path / "m.parquet", [row], MANIFEST)

    def rewritten(limit: int) -> Counter[str]:
        output = tmp_path / f"{limit}.parquet"
        RewriteCaptions(
            manifest=tmp_path / "m.parquet",
            temporal={"backend": server_settings(completions[0], limit=limit), "fallback_limit": 0.3},
            answers=tmp_path / "store",
        ).run(output)
        return Counter(pq.read_table(output)["source"].to_pylist())

    assert rewritten(4) == {"llm": 3, "rules": 1, "unasked": 6}
    with pytest.raises(UserError, match=r"no valid answer to 50\.0% of 2 captions"):
        rewritten(2)
    assert len(list((tmp_path / "store").iterdir())) == 1, "a job that stores nothing leaves no file"
    rewritten(5)
    assert len(list((tmp_path / "store").iterdir())) == 2, "a job has a file of its own"


def test_missing_models_are_explained(tmp_path: Path) -> None:
    """A folder without a model: one sentence."""
    with pytest.raises(UserError, match="cannot be loaded"):
        transformers.Backend(kind="transformers", model=str(tmp_path)).load("mention", {}, "cpu")


@pytest.fixture(scope="module")
def tiny() -> transformers.LocalModel:
    """The untrained model as a backend's."""
    settings = transformers.Backend(kind="transformers", model="tiny", max_events=2, max_tokens=400)
    return transformers.LocalModel("tiny", *untrained(), settings, "mention")


def test_answers_are_held_to_the_grammar(tiny: transformers.LocalModel) -> None:
    """Whatever the weights, a finished answer is an array of at most the given number of events."""
    for text in tiny.ask([chat(f"a dog barks {number}", "mention") for number in range(3)]):
        assert text is not None
        events = json.loads(text)
        assert 1 <= len(events) <= 2
        assert all(event.keys() == {"event", "order"} for event in events)
        with pytest.raises(GrammarError, match=r"caption|phrase|sound"):
            read_answer(text, "zzz")


def test_batch_and_cache_do_not_change_answers(tiny: transformers.LocalModel) -> None:
    """Captions of different lengths answered together, alone, and without the cached beginning: all the same."""
    tiny._settings = tiny._settings.model_copy(update={"max_tokens": 24})
    chats = [chat(caption, "mention") for caption in (CAPTION, "rain", "a cat meows while an owl hoots nearby")]
    together = tiny.ask(chats)
    assert together == [tiny.ask([one])[0] for one in chats]
    tiny._prefix, prefix = tiny._prefix[:1], tiny._prefix
    tiny._cache, cache = tiny._cached_prefix(), tiny._cache
    uncached = tiny.ask(chats)
    tiny._prefix, tiny._cache = prefix, cache
    assert uncached == together


def test_a_fetched_model_rewrites_without_a_network(
    tiny: transformers.LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model on the hub is loaded from where it was fetched to; its answers are stored by its name and commit."""
    folder, asked = tmp_path / "owner--tiny" / "v1", []
    tiny._model.save_pretrained(folder)
    tiny._tokenizer.save_pretrained(folder)
    (folder / "fetched.json").write_text("{}")
    manifest = tmp_path / "manifest.parquet"
    clip = {"clip_id": "a", "link": "", "start": 0.0, "split": "train", "captions": [CAPTION], "status": "ok"}
    write(manifest, [clip], MANIFEST)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was asked"))

    def answers(model: transformers.LocalModel, chats: Sequence[list[Message]]) -> list[str | None]:
        asked.append(real(model, chats))  # nothing that random weights say is a valid answer
        return [GOOD for _ in chats]

    real = transformers.LocalModel.ask
    monkeypatch.setattr(transformers.LocalModel, "ask", answers)
    backend = {"kind": "transformers", "model": "owner/tiny", "commit": "v1", "max_events": 2, "max_tokens": 24}
    RewriteCaptions(
        manifest=manifest,
        models={"owner/tiny": folder / "fetched.json"},
        temporal={"backend": backend},
        answers=tmp_path / "store",
    ).run(tmp_path / "0.parquet")
    assert len(asked) == 1
    assert [row["source"] for row in read(tmp_path / "0.parquet")] == ["llm"]
    assert [entry["model"] for entry in stored(tmp_path / "store")] == ["owner/tiny@v1"]


@pytest.mark.slow
def test_a_real_model(asset: Callable[[str], Path]) -> None:
    """SmolLM2-135M answers in the grammar, and of most captions with their own sounds."""
    settings = transformers.Backend(kind="transformers", asset="smollm2", max_events=3, max_tokens=60)
    model = settings.load("mention", {"smollm2": asset("smollm2_135m_instruct")}, "cpu")
    sounds = {
        "a bell rings after a man laughs": {"bell", "laughs"},
        "an engine idles": {"engine"},
        "people talk nearby, followed by gunshots": {"talk", "gunshots"},
        "a vehicle engine revs": {"revs"},
    }
    answers = model.ask([chat(caption, "mention") for caption in sounds])
    events = [" ".join(event["event"] for event in json.loads(answer or "")) for answer in answers]
    assert sum(words <= set(named.split()) for words, named in zip(sounds.values(), events, strict=True)) >= 3
