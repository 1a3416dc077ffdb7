"""Doors by kinds of badness: whatever a file holds, a command ends with one sentence that names it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import reader_files

from workflow_scripts import errors, files, parquet
from workflow_scripts.captions.backends import precomputed
from workflow_scripts.corpora import annotate
from workflow_scripts.corpora.readers import kinetics
from workflow_scripts.media.local import checksums
from workflow_scripts.scores import captions, sed, youtube8m
from workflow_scripts.settings.base import from_argument, read_yaml
from workflow_scripts.settings.plugins import READERS, plugin

Door = Callable[[Path], object]


def corpus(reader: str) -> Door:
    """The way of a reader's annotation files to a manifest; the first of them is the spoilt one."""

    def read(path: Path) -> None:
        folder = path.parent / "annotations"
        folder.mkdir(exist_ok=True)
        getattr(reader_files, reader)(folder)
        roles = plugin(READERS, reader, "").files
        there = {role: folder / name for role, name in roles.items() if (folder / name).exists()}
        there[next(iter(there))] = path
        given = [f"{role}={file}" for role, file in there.items()]
        annotate.main(reader, '{"link": "{video_id}"}', path.parent / "manifest.parquet", given)

    return read


def scored(command: Callable[[Path, Path], object], good: str) -> Door:
    def read(path: Path) -> None:
        (path.parent / "good").write_text(good)
        command(path, path.parent / "good")

    return read


TABLES: dict[str, Door] = {
    **{name: corpus(name) for name in ("audiocaps", "clotho", "dcase2018", "epic_kitchens", "kinetics", "vggsound")},
    "scores captions": scored(captions.main, "clip_id,caption\na,a dog\n"),
    "scores sed": scored(sed.main, "filename\tonset\toffset\tevent_label\na.wav\t0\t1\tDog\n"),
}
TEXTS: dict[str, Door] = {
    **TABLES,
    "YAML": read_yaml,
    "JSON": files.read_json,
    "definition": lambda path: from_argument(f"@{path}"),
    "temporal captions": lambda path: list(precomputed.rows(path)),
    "checksums": checksums,
}
PARQUET: dict[str, Door] = {
    "table": parquet.read_parquet,
    "rows": lambda path: list(parquet.read_parquet(path, ["clip_id"])),
    "scores youtube8m": lambda path: youtube8m.main(path, path, 20, None),
}
BINARY = {
    "UTF-16": "a,b\n".encode("utf-16"),
    "UTF-16 without mark": "a,b\n1,2\n".encode("utf-16-le"),
    "Latin-1": "caf\u00e9: 1\n".encode("iso-8859-1"),
    "control character": b"a: \x01\n",
    "NUL": b"a\0b",
    "picture": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
}


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[Callable[[], object]], str]]:
    """What a command line says that refuses its input: exit code 1, one line, no traceback."""

    def ask(call: Callable[[], object]) -> str:
        with pytest.raises(SystemExit) as ended:
            errors.run(call)
        said = capsys.readouterr().err
        assert ended.value.code == 1
        assert said.startswith("error: ")
        assert said.count("\n") == 1
        return said

    yield ask


Refused = Callable[[Callable[[], object]], str]


@pytest.mark.parametrize("kind", [*BINARY, "folder", "missing"])
@pytest.mark.parametrize("door", TEXTS)
def test_no_text(door: str, kind: str, tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "spoilt"
    if kind == "folder":
        path.mkdir()
    elif kind in BINARY:
        path.write_bytes(BINARY[kind])
    assert str(path) in refused(lambda: TEXTS[door](path))


@pytest.mark.parametrize("door", ["YAML", "JSON", "definition", "temporal captions"])
def test_nested_too_deeply(door: str, tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "spoilt"
    path.write_text("[" * 100_000)
    assert "nested" in refused(lambda: TEXTS[door](path))


ALIASES = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
YAML = {
    "aliases": (f"a0: &a0 [1]\n{ALIASES}", r"line \d+: more than 1,000,000 values"),
    "holds itself": ("a: &x {b: *x}\n", r"line 1: '\*x' holds itself"),
    "no day": ("a: 2020-13-45\n", "month must be in 1..12"),
    "no number": ("a: !!int x\n", "cannot be read as YAML"),
    "digits": (f"a: {'9' * 5000}\n", "cannot be read as YAML"),
    "object": ("a: !!python/object:os.system x\n", "could not determine a constructor"),
    "list": ("- a\n", "expected keys and values"),
}


@pytest.mark.parametrize("kind", YAML)
def test_yaml(kind: str, tmp_path: Path) -> None:
    text, sentence = YAML[kind]
    (tmp_path / "spoilt.yaml").write_text(text)
    with pytest.raises(errors.UserError, match=rf"spoilt\.yaml.*{sentence}"):
        read_yaml(tmp_path / "spoilt.yaml")


def test_a_mark_of_the_byte_order_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("\ufeffa: 1", encoding="utf-8")
    (tmp_path / "b").write_text('\ufeff{"a": 1}', encoding="utf-8")
    assert read_yaml(tmp_path / "a") == files.read_json(tmp_path / "b") == from_argument(f"@{tmp_path / 'b'}")


SPOILING: dict[str, Callable[[bytes], bytes]] = {
    "unclosed quote": lambda text: text.rstrip(b"\n") + b'\n"a,b\nc\n',
    "huge cell": lambda text: text + b"x" * 200_000,
    "no column": lambda text: text.replace(text.splitlines()[0], b"one,two", 1),
    "nothing": lambda text: b"",
    "endless line": lambda text: text + b"x" * (1 << 24),
}


@pytest.mark.parametrize("kind", SPOILING)
@pytest.mark.parametrize("door", TABLES)
def test_no_table(door: str, kind: str, tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "spoilt"
    if door.startswith("scores"):
        good = b"clip_id,caption\na,a dog\n" if "captions" in door else b"filename\tonset\toffset\tevent_label\n"
    else:
        getattr(reader_files, door)(tmp_path)
        reading = plugin(READERS, door, "")
        good = next((tmp_path / name) for name in reading.files.values() if (tmp_path / name).exists()).read_bytes()
    path.write_bytes(SPOILING[kind](good))
    assert str(path) in refused(lambda: TABLES[door](path))


IDS = {"1.2E+05": "spreadsheet", "12-Jan": "spreadsheet", "#NAME?": "spreadsheet", "x" * 999: "999 characters long",
       "2020-10-12": "spreadsheet", '"a\nb"': "spans lines", "../../x": "cannot be the name of a file"}  # fmt: skip
ROWS: dict[str, str] = {
    "audiocaps": "audiocap_id,youtube_id,start_time,caption\n1,{},3,a dog barks\n",
    "vggsound": "{},30,dog,train\n",
    "kinetics": f"{','.join(kinetics.COLUMNS)}\n{kinetics.Reader().chosen()[0]},{{}},0,10,train\n",
    "epic_kitchens": "narration_id,video_id,start_timestamp,stop_timestamp,verb_class,noun_class\n"
    "{},P01_01,00:00:01.5,00:00:21.5,3,5\n",
}


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("reader", ROWS)
def test_ids(reader: str, name: str, tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "spoilt.csv"
    path.write_text(ROWS[reader].format(name))
    said = refused(lambda: TABLES[reader](path))
    assert f"{path}, line " in said
    assert IDS[name] in said


def test_a_blank_beside_an_id_is_none_of_it(tmp_path: Path) -> None:
    path = tmp_path / "spoilt.csv"
    path.write_text(" \u00a0-UGmleOV42Y\u200b, 30,dog,train\n", encoding="utf-8")
    TABLES["vggsound"](path)
    assert pq.read_table(tmp_path / "manifest.parquet")["clip_id"].to_pylist() == ["-UGmleOV42Y_000030"]


@pytest.mark.parametrize("reader", ["audiocaps", "vggsound", "kinetics", "epic_kitchens"])
def test_a_clip_that_stands_twice_is_told_with_both_lines(reader: str, tmp_path: Path, refused: Refused) -> None:
    folder = tmp_path / "annotations"
    folder.mkdir()
    getattr(reader_files, reader)(folder)
    roles = plugin(READERS, reader, "").files
    first, second = [folder / name for name in roles.values() if (folder / name).exists()][:2] * (
        reader != "vggsound"
    ) or [folder / "vggsound.csv"] * 2
    lines = first.read_text().splitlines()
    if reader == "kinetics":
        lines = [lines[0], *(line.replace(",train", ",val") for line in lines[1:])]
        second.write_text("\n".join(lines))
    elif first == second:
        first.write_text("\n".join([*lines, lines[0]]))
    else:
        second.write_text("\n".join([*second.read_text().splitlines(), lines[1]]))
    given = [f"{role}={folder / name}" for role, name in roles.items() if (folder / name).exists()]
    said = refused(lambda: annotate.main(reader, '{"link": "{video_id}"}', tmp_path / "manifest.parquet", given))
    assert said.count(", line ") == 2
    assert str(first) in said and str(second) in said
    assert not (tmp_path / "manifest.parquet").exists()


@pytest.mark.parametrize("time", ["nan", "inf", "-1", "1e99", "x", "9" * 5000])
def test_times(time: str, tmp_path: Path, refused: Refused) -> None:
    for reader, text in {
        "vggsound": f"-_ID0000001,{time},dog,train\n",
        "audiocaps": f"audiocap_id,youtube_id,start_time,caption\n1,-_ID0000001,{time},a dog barks\n",
        "kinetics": f"{','.join(kinetics.COLUMNS)}\ndog,-_ID0000001,0,{time},train\n",
    }.items():
        (tmp_path / "spoilt.csv").write_text(text)
        definition = '{"link": "{video_id}", "reading": {"classes": "all"}}' if reader == "kinetics" else "{}"
        reading = plugin(READERS, reader, "")
        given = [f"{role}={tmp_path / 'spoilt.csv'}" for role in reading.files.keys() - reading.optional]
        assert f"{tmp_path / 'spoilt.csv'}, line " in refused(
            lambda: annotate.main(reader, definition, tmp_path / "m.parquet", given)  # noqa: B023 - asked at once
        )


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "text": lambda _: b"clip_id,caption\n",
    "empty": lambda _: b"",
    "cut": lambda whole: whole[: len(whole) // 2],
    "inside": lambda whole: (
        whole[:8] + bytes(byte ^ 1 for byte in whole[8 : len(whole) // 2]) + whole[len(whole) // 2 :]
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("door", PARQUET)
def test_no_parquet(door: str, kind: str, tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "spoilt.parquet"
    numbers = list(range(1000))
    pq.write_table(pa.table({"clip_id": map(str, numbers), "video_id": map(str, numbers), "labels": [[1]] * 1000,
                             "classes": [[1]] * 1000, "scores": [[1.0]] * 1000}), path)  # fmt: skip
    path.write_bytes(DAMAGE[kind](path.read_bytes()))
    said = refused(lambda: PARQUET[door](path))
    assert f"{path}: not a readable Parquet file" in said
    assert "delete it and run the same command again" in said


@pytest.mark.parametrize(
    "ids", [pa.array(["a", None]), pa.array([1, 2]), pa.array([1.5, 2e5]), pa.array([b"a", b"b"], pa.binary())]
)
def test_ids_of_parquet_are_text(ids: pa.Array, tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "spoilt.parquet"
    lists = {"labels": [[1], [2]], "classes": [[1], [2]], "scores": [[1.0], [1.0]]}
    pq.write_table(pa.table({"video_id": ids, **lists}), path)
    assert f"{path}: " in refused(lambda: PARQUET["scores youtube8m"](path))


def test_parquet_of_temporal_captions_without_them(tmp_path: Path) -> None:
    pq.write_table(pa.table({"captions": ["a"], "temporal": ["a"]}), tmp_path / "t.parquet")
    with pytest.raises(errors.UserError, match=r"t\.parquet: the column 'caption' is missing; did you mean 'captions'"):
        list(precomputed.rows(tmp_path / "t.parquet"))


def test_json_lines_that_are_none_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text("[" * 100_000 + "\n" + json.dumps({"a": 1}) + "\n")
    assert list(files.read_json_lines(path, {"a"})) == [{"a": 1}]
