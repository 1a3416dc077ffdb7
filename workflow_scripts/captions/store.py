"""Answers of language models by content: whoever asks the same model the same gets the stored answer.

A store is a folder of append-only JSON-lines files, one for each writer, so that jobs may share it. Only answers that
proved valid are stored: what failed is asked again by the next run.
"""

import hashlib
import json
from pathlib import Path
from typing import Literal, NamedTuple

from workflow_scripts.files import JsonLines, read_json_lines


class Answer(NamedTuple):
    """A model's answer, and whether it came at once (`llm`) or when asked again (`retry`)."""

    text: str
    source: Literal["llm", "retry"]


class Store:
    """The answers in a folder, and the file of one writer."""

    def __init__(self, folder: Path, writer: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        read = (read_json_lines(path, {"key", "answer", "source"}) for path in sorted(folder.glob("*.jsonl")))
        self._answers = {entry["key"]: entry for entries in read for entry in entries}
        self._file = JsonLines(folder / f"{writer}.jsonl")

    def get(self, model: str, version: str, caption: str) -> Answer | None:
        """The answer of a model to a caption, asked by a version of the prompt."""
        entry = self._answers.get(key(model, version, caption))
        return Answer(entry["answer"], entry["source"]) if entry else None

    def add(self, model: str, version: str, caption: str, answer: Answer) -> None:
        """Appends a valid answer."""
        stored = {"model": model, "prompt": version, "caption": caption, "answer": answer.text, "source": answer.source}
        entry = {"key": key(model, version, caption), **stored}
        self._answers[entry["key"]] = entry
        self._file.add(entry)


def key(model: str, version: str, caption: str) -> str:
    """The name of an answer: sha256 of all that it depends on."""
    return hashlib.sha256(json.dumps([model, version, caption]).encode()).hexdigest()
