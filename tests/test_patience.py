"""What may pass is told so, and servers that ask for patience get it."""

import signal
import ssl
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import bounds_files
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bounds_files import HASTY, MANIFEST, Site, clips, records, state, texts

from workflow_scripts.media import pace, server
from workflow_scripts.media.plan import FetchText

movies, site, plans = bounds_files.movies, bounds_files.site, bounds_files.plans  # fixtures


@pytest.fixture(scope="module")
def unknown_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server whose certificate nobody has signed."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    content = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = tmp_path_factory.mktemp("certificate") / "both.pem"
    file.write_bytes(content + key.private_bytes(*form))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with server.Server(("127.0.0.1", 0), server.Handler) as listening:
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        listening.handle_error = lambda *_: None
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()


NOWHERE, NOBODY = "to/http/nowhere.invalid/x.mp4", "to/http/127.0.0.1:9/x.mp4"


PASSING = {  # of a whole download, of a cut that breaks at its last ask
    "400/good.mp4": ("forbidden", "forbidden"),
    "418/good.mp4": ("forbidden", "forbidden"),
    "403/good.mp4": ("forbidden", "forbidden"),
    "429/good.mp4": ("rate_limited", "rate_limited"),
    "503/good.mp4": ("server_error", "server_error"),
    "loop/good.mp4": ("server_error", "network_error"),
    "empty/good.mp4": ("network_error", "server_error"),
    "hangup/good.mp4": ("network_error", "network_error"),
    "short/good.mp4": ("network_error", "network_error"),
    "short/fast.mp4": ("network_error", "network_error"),
    NOWHERE: ("network_error", "network_error"),
    NOBODY: ("network_error", "network_error"),
    "to/https/unknown/x.mp4": ("network_error", "network_error"),
}


def test_what_may_pass_is_told_so_and_asked_again(
    site: tuple[str, type[Site]], tmp_path: Path, unknown_authority: str, caplog: pytest.LogCaptureFixture
) -> None:
    base, handler = site
    paths = [path.replace("unknown", unknown_authority) for path in PASSING]
    links = [(base + path, None, None) for path in paths] + [(f"{base}cut-{path}", 3, 5) for path in paths]
    rows = clips(tmp_path, *links, concurrent=8)
    found = [(path, *state(row)) for path, row in zip([*PASSING] * 2, rows, strict=True)]
    expected = [(path, whole) for path, (whole, _) in PASSING.items()] + [
        (path, cut) for path, (_, cut) in PASSING.items()
    ]
    assert found == [(path, "unavailable", reason) for path, reason in expected]
    assert all(row["attempts"] == 2 for row in rows), "asked again in the same run"
    assert "not known yet" not in caplog.text
    handler.asked.clear()
    clips(tmp_path, *links, concurrent=8, retries=0)
    assert {f"cut-{path}" for path in paths} | set(paths) <= set(handler.asked), "and by the next"


@pytest.mark.usefixtures("plans")
def test_what_may_pass_is_told_so_of_texts_and_records(
    site: tuple[str, type[Site]], tmp_path: Path, unknown_authority: str
) -> None:
    base, handler = site
    for path, (reason, _) in PASSING.items():
        if path.startswith("short"):
            continue
        place = path.replace("unknown", unknown_authority).removesuffix("/good.mp4").removesuffix("/x.mp4")
        (row,) = texts(tmp_path, "v", source="release", ids=f"{base}{place}/{{id}}")
        if path.startswith("empty"):
            assert state(row) == ("failed", "unexpected_error"), "no ids"
        else:
            assert (path, *state(row)) == (path, "unavailable", reason)
        handler.asked.clear()
        texts(tmp_path, "v", source="release", ids=f"{base}{place}/{{id}}")
        assert handler.asked, path
        if not path.startswith("empty"):
            row, *_ = records(tmp_path, base, file=f"{base}{place}/{{part}}/{{name}}")
            assert (path, *state(row)) == (path, "unavailable", reason)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds for which downloads slept; nobody waits."""
    waited: list[float] = []
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        waited.append(round(seconds))
        now += seconds

    stopped = types.SimpleNamespace(sleep=sleep, monotonic=lambda: now, time=time.time)
    monkeypatch.setattr("tenacity.nap.time", stopped)
    monkeypatch.setattr(pace, "time", stopped)
    return waited


def in_a_minute() -> str:
    return formatdate(time.time() + 60, usegmt=True)


WAITS = [(429, "17", 17), (503, "17", 17), (429, "date", 60)]


@pytest.mark.parametrize(("status", "header", "seconds"), WAITS)
@pytest.mark.parametrize("kind", ["clips", "texts", "records"])
@pytest.mark.usefixtures("plans")
def test_who_asks_for_patience_gets_it(
    site: tuple[str, type[Site]],
    tmp_path: Path,
    slept: list[float],
    kind: str,
    status: int,
    header: str,
    seconds: int,
) -> None:
    base, handler = site
    handler.later[:] = [(status, in_a_minute() if header == "date" else header)]
    if kind == "clips":
        (row,) = clips(tmp_path, (base + "busy/good.mp4", None, None))
        assert state(row) == ("ok", None)
    elif kind == "texts":
        (row,) = texts(tmp_path, "good.mp4", source="yt_dlp", link=base + "busy/{video_id}")
        assert row["title"] == "good"
    else:
        records(tmp_path, base, file=base + "busy/{part}/{name}")
    assert not handler.later
    assert any(abs(waited - seconds) <= 2 for waited in slept), slept


@pytest.mark.parametrize("kind", ["clips", "texts"])
def test_who_asks_for_more_than_patience_is_left_alone(
    site: tuple[str, type[Site]], tmp_path: Path, slept: list[float], kind: str
) -> None:
    base, handler = site
    handler.later[:] = [(429, "86400")]
    if kind == "clips":
        rows = clips(tmp_path, *[(base + f"busy/good.mp4?{n}", None, None) for n in range(4)], concurrent=1)
    else:
        rows = texts(tmp_path, *"abcd", source="yt_dlp", link=base + "busy/{video_id}")
    assert {state(row) for row in rows} == {("unavailable", "rate_limited")}
    assert handler.asked.total() == 1, "neither this one again nor the others in this run"
    assert not slept


def test_others_wait_too(site: tuple[str, type[Site]], tmp_path: Path, slept: list[float]) -> None:
    base, handler = site
    handler.later[:] = [(429, "17")]
    rows = clips(tmp_path, *[(base + f"busy/good.mp4?{n}", None, None) for n in range(2)], concurrent=1, retries=0)
    assert [state(row)[0] for row in rows] == ["unavailable", "ok"]
    assert 17 in slept


STOPPED = """
import sys
from pathlib import Path
from workflow_scripts.media.plan import FetchText
FetchText.model_validate_json(sys.argv[1]).run(Path(sys.argv[2]))
"""


def test_an_answer_that_was_given_is_never_asked_for_again(site: tuple[str, type[Site]], tmp_path: Path) -> None:
    """Not even one that was under way when the job was terminated."""
    base, handler = site
    names = [f"id{number:02}" for number in range(30)]
    rows = [{"clip_id": name, "link": "train/a", "status": "ok", "split": "train", "labels": []} for name in names]
    pq.write_table(pa.Table.from_pylist(rows, schema=MANIFEST), tmp_path / "manifest.parquet")
    pq.write_table(pa.table({"part": ["train"], "name": ["a"]}), tmp_path / "records.parquet")
    (tmp_path / "titles.json").write_text("{}")
    text = HASTY | {"source": "release", "ids": base + "ids/{id}", "ids_per_hour": None, "concurrent": 4}
    files = {"manifest": tmp_path / "manifest.parquet", "records": tmp_path / "records.parquet"}
    job = FetchText(**files, text=text, files={"titles": tmp_path / "titles.json"}, store=tmp_path / "texts")
    command = [sys.executable, "-c", STOPPED, job.model_dump_json(), str(tmp_path / "0.parquet")]
    with subprocess.Popen(command) as process:
        while handler.asked.total() < 9:
            time.sleep(0.01)
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
    assert 9 <= handler.asked.total() < len(names)
    subprocess.run(command, check=True, timeout=60)
    assert handler.asked == {f"ids/{name}": 1 for name in names}
    assert {row["video_id"] for row in pq.read_table(tmp_path / "0.parquet").to_pylist()} == {f"yt-{n}" for n in names}
