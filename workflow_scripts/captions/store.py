"""Answers of language models by content: whoever asks the same model the same gets the stored answer.

A store is a folder of append-only JSON-lines files, one for each writer, so that jobs may share it. Only answers that
proved valid are stored: what failed is asked again by the next run.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple


class Answer(NamedTuple):
    """A model's answer, and whether it came at once (`llm`) or when asked again (`retry`)."""

    text: str
    source: Literal["llm", "retry"]


class Store:
    """The answers in a folder."""

    def __init__(self, folder: Path, writer: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{writer}.jsonl"
        self._answers = {entry["key"]: entry for path in sorted(folder.glob("*.jsonl")) for entry in entries(path)}
        if self._path.exists() and not self._path.read_bytes().endswith(b"\n"):
            self._append("\n")  # the line that a killed job left unfinished ends here

    def get(self, model: str, version: str, caption: str) -> Answer | None:
        """The answer of a model to a caption, asked by a version of the prompt."""
        entry = self._answers.get(key(model, version, caption))
        return Answer(entry["answer"], entry["source"]) if entry else None

    def add(self, model: str, version: str, caption: str, answer: Answer) -> None:
        """Appends a valid answer."""
        stored = {"model": model, "prompt": version, "caption": caption, "answer": answer.text, "source": answer.source}
        entry = {"key": key(model, version, caption), **stored}
        self._answers[entry["key"]] = entry
        self._append(json.dumps(entry) + "\n")

    def _append(self, text: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(text)


def key(model: str, version: str, caption: str) -> str:
    """The name of an answer: sha256 of all that it depends on."""
    return hashlib.sha256(json.dumps([model, version, caption]).encode()).hexdigest()


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """The readable lines of a file of the store; a torn one is passed over, its caption is asked again."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(entry, dict) and {"key", "answer", "source"} <= entry.keys():
            yield entry
