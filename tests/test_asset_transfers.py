"""Downloads of assets: bounds, patience, versions, answers that break off."""

import gzip
import hashlib
import threading
import types
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import asset_files
import pytest
from asset_files import CHECKSUM, CONTENT, Scripted, body, checkpoint, declared

from workflow_scripts.assets.fetch import fetch
from workflow_scripts.errors import UserError
from workflow_scripts.settings.download import Patience

site = asset_files.site  # a fixture


def test_an_answer_packed_although_nobody_asked(site: str, tmp_path: Path) -> None:
    table = b"a,b\n" + b"1,2\n" * 50_000
    Scripted.answers = {"/t": body(gzip.compress(table), Content_Encoding="gzip")}
    fetch("t", declared(f"{site}/t", kind="csv"), tmp_path / "t", tmp_path / "lock.yaml")
    assert (tmp_path / "t").read_bytes() == table
    assert Scripted.asked[0][1]["Accept-Encoding"] == "identity"
    twice = gzip.compress(table)  # a packed file that the server calls packed is left so
    Scripted.answers = {"/t": body(twice, Content_Encoding="gzip")}
    fetch("gz", declared(f"{site}/t", kind="gz"), tmp_path / "gz", tmp_path / "lock.yaml")
    assert (tmp_path / "gz").read_bytes() == twice
    (tmp_path / ".u.part").write_bytes(table[:1000])  # bytes of the file cannot be continued with packed ones

    def rest(server: BaseHTTPRequestHandler) -> None:
        body(twice, 206 if server.headers["Range"] else 200, Content_Encoding="gzip")(server)

    Scripted.answers = {"/t": rest}
    fetch("u", declared(f"{site}/t", kind="csv"), tmp_path / "u", tmp_path / "lock.yaml", wait=0.01)
    assert (tmp_path / "u").read_bytes() == table


def test_a_body_without_end_is_left(site: str, tmp_path: Path) -> None:
    def endless(server: BaseHTTPRequestHandler) -> None:
        server.send_response(200)
        server.end_headers()
        while True:
            server.wfile.write(b"a,b\n" * 25_000)

    Scripted.answers = {"/t": endless, "/u": body(b"", Content_Length="99999999999")}
    for place in "tu":
        with pytest.raises(UserError, match=r"gives .* bytes or more, far over what the catalogue says"):
            fetch("t", declared(f"{site}/{place}", kind="csv", bytes=[5, 100]), tmp_path / "t", tmp_path / "lock.yaml")
    assert len(Scripted.asked) == 2  # not again
    assert list(tmp_path.iterdir()) == []


def test_a_dripping_source_is_given_up(site: str, tmp_path: Path) -> None:
    over = threading.Event()

    def drip(server: BaseHTTPRequestHandler) -> None:
        server.send_response(200)
        server.send_header("Content-Length", "1000000")
        server.end_headers()
        while not over.wait(0.02):
            server.wfile.write(b"a")

    Scripted.answers = {"/slow": drip, "/fast": body(checkpoint())}
    hasty = Patience(speed_window=0.3)
    asset = declared(f"{site}/slow", f"{site}/fast")
    fetch("dat", asset, tmp_path / "w", tmp_path / "lock.yaml", attempts=2, wait=0.01, patience=hasty)
    assert [path for path, _ in Scripted.asked] == ["/slow", "/slow", "/fast"]
    with pytest.raises(UserError, match=r"bytes came in \d+ seconds, which is too slow"):
        fetch("dat2", declared(f"{site}/slow"), tmp_path / "w2", tmp_path / "lock.yaml", attempts=1, patience=hasty)
    over.set()


def test_a_server_is_asked_again_when_it_says(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("tenacity.nap.time", types.SimpleNamespace(sleep=slept.append))
    busy = [body(b"", 429, Retry_After="17"), body(b"", 503, Retry_After="Fri, 01 Jan 2021 00:00:00 GMT")]
    busy += [body(checkpoint())]

    def first_busy(server: BaseHTTPRequestHandler) -> None:
        busy.pop(0)(server)

    Scripted.answers = {"/w": first_busy, "/long": body(b"", 503, Retry_After="86400")}
    fetch("dat", declared(f"{site}/w"), tmp_path / "w", tmp_path / "lock.yaml", wait=0.01)
    assert slept[0] == 17 and slept[1] < 17
    with pytest.raises(UserError, match=r"503 .*, come again in 86400 seconds"):
        fetch("dat", declared(f"{site}/long"), tmp_path / "w2", tmp_path / "lock.yaml")
    assert len(slept) == 2


class Versions:
    """A file that changes between two tries: the first breaks off, the second is another one."""

    def __init__(self, first: bytes, second: bytes, **headers: str) -> None:
        self.contents, self.headers, self.asked = [first, second], headers, list[dict[str, str]]()

    def __call__(self, server: BaseHTTPRequestHandler) -> None:
        version = min(len(self.asked), 1)
        self.asked.append(dict(server.headers))
        content = self.contents[version]
        told = {key: value.format(version) for key, value in self.headers.items()}
        start = int(server.headers.get("Range", "bytes=0-")[6:-1])
        own = told.get("ETag") or told.get("Last_Modified")
        if start and server.headers.get("If-Range", own) == own:
            told["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            body(content[start:], 206, **told)(server)
        elif version == 0:
            body(content[: len(content) // 2], Content_Length=str(len(content)), **told)(server)
        else:
            body(content, **told)(server)


VERSIONS = [{"ETag": '"v{}"'}, {"Last_Modified": "Wed, 1{} Jan 2025 00:00:00 GMT"}, {"ETag": 'W/"weak"'}, {}]


@pytest.mark.parametrize("headers", VERSIONS)
def test_two_versions_of_a_file_are_never_glued_together(site: str, tmp_path: Path, headers: dict[str, str]) -> None:
    """Of a file without a known checksum too, whose first copy is taken for the true one."""
    old, new = b"a,b\n" + b"1,1\n" * 5000, b"a,b\n" + b"2,2\n" * 5000
    answer = Versions(old, new, **headers)
    Scripted.answers = {"/t": answer}
    fetch("t", declared(f"{site}/t", kind="csv"), tmp_path / "t", tmp_path / "lock.yaml", wait=0.01)
    assert (tmp_path / "t").read_bytes() == new
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock.yaml.lock", "lock.yaml", "t"]


@pytest.mark.parametrize("header", ["ETag", "Last_Modified"])
def test_the_same_version_is_continued(site: str, tmp_path: Path, header: str) -> None:
    table = b"a,b\n" + b"1,1\n" * 5000
    answer = Versions(table, table, **{header: '"v"' if header == "ETag" else "Wed, 01 Jan 2025 00:00:00 GMT"})
    Scripted.answers = {"/t": answer}
    fetch("t", declared(f"{site}/t", kind="csv"), tmp_path / "t", tmp_path / "lock.yaml", wait=0.01)
    assert (tmp_path / "t").read_bytes() == table
    (first, second) = answer.asked
    assert ("Range" in first, second["Range"]) == (False, f"bytes={len(table) // 2}-")
    assert second["If-Range"] in {'"v"', "Wed, 01 Jan 2025 00:00:00 GMT"}


def test_a_part_that_is_damaged_is_thrown_away_at_once(site: str, tmp_path: Path) -> None:
    def ranged(server: BaseHTTPRequestHandler) -> None:
        start = int(server.headers.get("Range", "bytes=0-")[6:-1])
        body(CONTENT[start:], 206 if start else 200)(server)

    Scripted.answers = {"/w": ranged}
    (tmp_path / ".w.part").write_bytes(b"damaged")
    fetch("weights", declared(f"{site}/w", kind="binary", sha256=CHECKSUM), tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == CONTENT
    assert len(Scripted.asked) == 2


@pytest.mark.parametrize("kind", ["csv", "gz"])
def test_a_packed_answer_that_breaks_off_is_healed(site: str, tmp_path: Path, kind: str) -> None:
    table = b"a,b\n" + b"1,2\n" * 50_000
    wire = gzip.compress(table)
    broken = [True]

    def answer(server: BaseHTTPRequestHandler) -> None:
        asked = server.headers.get("Range")
        content = wire[int(asked[6:-1]) :] if asked and kind == "gz" else wire
        kept = content[: len(content) // 2] if broken and broken.pop() else content
        headers = {"Content_Length": str(len(content)), "ETag": '"one"', "Content_Encoding": "gzip"}
        body(kept, 206 if asked else 200, **headers)(server)

    Scripted.answers = {"/t": answer}
    content = table if kind == "csv" else wire
    checksum = hashlib.sha256(content).hexdigest()
    fetch("t", declared(f"{site}/t", kind=kind, sha256=checksum), tmp_path / "t", wait=0.01)
    assert (tmp_path / "t").read_bytes() == content


def test_an_asset_leads_to_web_addresses_only(site: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(checkpoint())
    Scripted.answers = {"/w": body(b"", 302, Location=f"file://{tmp_path}/secret")}
    with pytest.raises(UserError, match=r"/w leads to file:, and only http: and https: are followed"):
        fetch("dat", declared(f"{site}/w"), tmp_path / "w", tmp_path / "lock.yaml")
    assert len(Scripted.asked) == 1, "it would be the same again"
