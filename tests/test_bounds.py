"""Every download has an end: sources that drip, that never end, that ask for patience, or that lead elsewhere."""

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import types
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scripted_site  # noqa: F401 - yt-dlp knows it from then on
from media_files import write_movie

from workflow_scripts.assets.fetch import fetch as fetch_asset
from workflow_scripts.errors import UserError
from workflow_scripts.media import pace, server
from workflow_scripts.media.plan import FetchClips, FetchRecords, FetchText
from workflow_scripts.rehearsal.plan import of_assets, rough_sizes
from workflow_scripts.settings.assets import Asset
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.download import Patience
from workflow_scripts.settings.records import Records
from workflow_scripts.settings.scale import Scale
from workflow_scripts.shards import Row

ROOT = Path(__file__).parent.parent
HASTY = {"min_share": 0, "retry_wait": 0.01, "retries": 1, "give_up_after": 50, "timeout": 5, "speed_window": 0.5}
CLIPS = HASTY | {"videos_per_hour": None, "cut_timeout": 3}
MANIFEST = pa.schema(
    [(name, pa.string()) for name in ("clip_id", "link", "status", "reason", "detail", "split")]
    + [("start", pa.float64()), ("end", pa.float64()), ("labels", pa.list_(pa.string()))]
)
BEGINNING = bytes.fromhex("00000018667479706d70343200000000") + b"mp42isom" + bytes.fromhex("00000000") + b"mdat"


class Site(server.Handler):
    """The first part of a path says how it is answered; behind `cut-`, ffmpeg only, which comes last."""

    asked: Counter[str]
    headers_of: list[dict[str, str]]
    over: threading.Event
    later: list[tuple[int, str]]
    playlist = b""

    def answer(self, body: bool) -> None:
        self.asked[self.path.lstrip("/")] += 1
        self.headers_of.append(dict(self.headers))
        fault, _, name = self.path.lstrip("/").partition("/")
        by_ffmpeg = "Icy-MetaData" in self.headers
        if fault.startswith("cut-") and not by_ffmpeg:
            self.path, fault, name = "/good.mp4", "", "good.mp4"
        fault = fault.removeprefix("cut-")
        answer = getattr(self, f"answer_{fault}", None)
        if fault.isdigit():
            self.send_error(int(fault))
        elif answer is None:
            self.path = name or fault
            super().answer(body)
        else:
            self.close_connection = True
            with suppress(ConnectionError):
                answer(name)

    def begin(self, status: int = 200, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for key, value in {"Content_Type": "video/mp4", **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Connection", "close")  # else the next ask may meet a connection that is closing
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def answer_busy(self, name: str) -> None:
        """Refuses all but what is asked for again, and says when to come: `later` holds status and header."""
        if self.later:
            status, header = self.later.pop(0)
            self.begin(status, 0, Retry_After=header)
        else:
            self.path = name
            super().answer(body=True)

    def answer_drip(self, _: str) -> None:
        self.begin(length=1_000_000)
        self.wfile.write(BEGINNING)
        while not self.over.wait(0.02):
            self.wfile.write(b"a")

    def answer_list(self, _: str) -> None:
        self.begin(length=len(self.playlist), Content_Type="application/vnd.apple.mpegurl")
        self.wfile.write(self.playlist)

    def answer_ids(self, name: str) -> None:
        time.sleep(0.3)
        content = f'i("{name}","yt-{name}");'.encode()
        self.begin(length=len(content))
        self.wfile.write(content)

    def answer_loop(self, _: str) -> None:
        self.begin(302, 0, Location="/loop/again")

    def answer_to(self, name: str) -> None:
        """/to/SCHEME/REST leads to SCHEME://REST."""
        self.begin(302, 0, Location=name.replace("/", "://", 1))

    def answer_empty(self, _: str) -> None:
        self.begin(length=0)

    def answer_hangup(self, _: str) -> None:
        pass

    def answer_short(self, name: str) -> None:
        """Promises all of a file, and gives its first half."""
        content = (self.folder / name).read_bytes()
        start = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
        told = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        self.begin(206, len(content) - start, **told)
        self.wfile.write(content[start : len(content) // 2])

    def answer_slowpage(self, _: str) -> None:
        self.begin(Content_Type="text/html")
        self.wfile.write(b"<html><body>" + b"<p>more</p>" * 100)
        while not self.over.wait(0.02):
            self.wfile.write(b"a")

    def answer_endless(self, _: str) -> None:
        self.begin()
        self.wfile.write(BEGINNING)
        while True:
            self.wfile.write(bytes(1 << 16))

    def answer_page(self, _: str) -> None:
        self.begin(Content_Type="text/html")
        self.wfile.write(b"<html><body>")
        while True:
            self.wfile.write(b"<p>more</p>" * 1000)


@pytest.fixture(scope="module")
def movies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    good = write_movie(folder / "good.mp4")
    faststart = ["-c", "copy", "-movflags", "faststart", str(folder / "fast.mp4")]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", str(good), *faststart], check=True)
    return folder


@pytest.fixture
def site(movies: Path) -> Iterator[tuple[str, type[Site]]]:
    handler = type(
        "BoundedSite", (Site,), {"asked": Counter(), "headers_of": [], "later": [], "over": threading.Event()}
    )
    with server.serve(movies, handler) as base:
        yield base, handler
    handler.over.set()


def clips(folder: Path, *links: tuple[str, float | None, float | None], **settings: Any) -> list[Row]:
    """The rows of the ledger of some clips (link, start, end)."""
    rows = [
        {"clip_id": f"c{number}", "link": link, "start": start, "end": end, "status": "ok", "split": "train"}
        for number, (link, start, end) in enumerate(links)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=MANIFEST), folder / "manifest.parquet")
    job = FetchClips(manifest=folder / "manifest.parquet", download=CLIPS | settings, store=folder / "store")
    job.run(folder / "0.parquet")
    return list(pq.read_table(folder / "0.parquet").to_pylist())


def state(row: Row) -> tuple[str, str | None]:
    return row["status"], row["reason"]


def test_a_dripping_source_is_given_up(site: tuple[str, type[Site]], tmp_path: Path) -> None:
    base, _ = site
    rows = clips(tmp_path, (base + "drip/good.mp4", None, None), (base + "cut-drip/good.mp4", 1, 2), retries=0)
    assert [state(row) for row in rows] == [("unavailable", "network_error")] * 2
    assert "too slow" in rows[0]["detail"]
    assert rows[1]["detail"] == "not cut after 3 seconds"


def test_a_body_without_end_is_left(site: tuple[str, type[Site]], tmp_path: Path) -> None:
    base, handler = site
    links = [(base + "endless/good.mp4", None, None), (base + "cut-endless/good.mp4", 1, 2)]
    rows = clips(tmp_path, *links, largest_file=200_000, retries=0)
    assert [state(row) for row in rows] == [("failed", "too_large"), ("unavailable", "network_error")]
    handler.asked.clear()
    clips(tmp_path, links[0], largest_file=200_000)
    assert not handler.asked, "it would be the same again"
    clips(tmp_path, links[0], largest_file=300_000)
    assert handler.asked, "another bound"


def test_a_cut_has_no_more_bytes_than_its_seconds_can(
    site: tuple[str, type[Site]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflow_scripts.media.ydl.SLACK", 0)
    base, _ = site
    (row,) = clips(tmp_path, (base + "good.mp4", 1, 5), largest_rate=1000)
    assert state(row) == ("failed", "too_large")


def records(folder: Path, base: str, **settings: Any) -> list[Row]:
    """The rows of the ledger of one record file of each part, whose plan and file lie where `base` says."""
    addresses = {"plan": base + "{part}.json", "file": base + "{part}/{name}"} | settings
    job = FetchRecords(level="video", records=HASTY | addresses, store=folder / "records")
    job.run(folder / "records.parquet")
    return list(pq.read_table(folder / "records.parquet").to_pylist())


@pytest.fixture
def plans(movies: Path) -> None:
    for part in ("train", "validate", "test"):
        (movies / f"{part}.json").write_text(json.dumps({"files": {f"{part}00.tfrecord": "0" * 32}}))


@pytest.mark.usefixtures("plans")
@pytest.mark.parametrize(
    ("fault", "expected", "said"),
    [("drip", ("unavailable", "network_error"), "Timeout"), ("endless", ("failed", "too_large"), "bytes or more")],
)
def test_record_files_have_bounds(
    site: tuple[str, type[Site]], tmp_path: Path, fault: str, expected: tuple[str, str], said: str
) -> None:
    row, *_ = records(tmp_path, site[0], file=f"{site[0]}{fault}/{{part}}/{{name}}", largest_file=2_000_000)
    assert (*state(row), said in row["detail"]) == (*expected, True)


def texts(folder: Path, *names: str, **settings: Any) -> list[Row]:
    """The rows of the ledger of texts of some videos."""
    rows = [{"clip_id": name, "link": "train/a", "status": "ok", "split": "train", "labels": []} for name in names]
    pq.write_table(pa.Table.from_pylist(rows, schema=MANIFEST), folder / "manifest.parquet")
    pq.write_table(pa.table({"part": ["train"], "name": ["a"]}), folder / "records.parquet")
    chosen = HASTY | {"asks_per_hour": None, "ids_per_hour": None, "concurrent": 1} | settings
    files = {"manifest": folder / "manifest.parquet", "records": folder / "records.parquet"}
    (folder / "titles.json").write_text("{}")
    released = {"titles": folder / "titles.json"} if chosen["source"] == "release" else {}
    FetchText(**files, text=chosen, files=released, store=folder / "texts").run(folder / "text.parquet")
    return list(pq.read_table(folder / "text.parquet").to_pylist())


@pytest.mark.parametrize(
    ("fault", "expected"), [("slowpage", ("unavailable", "network_error")), ("page", ("failed", "too_large"))]
)
@pytest.mark.parametrize("source", ["yt_dlp", "ids"])
def test_texts_have_bounds(
    site: tuple[str, type[Site]], tmp_path: Path, source: str, fault: str, expected: tuple[str, str]
) -> None:
    link = f"{site[0]}{fault}/{{{'id' if source == 'ids' else 'video_id'}}}"
    where = {"source": "release", "ids": link} if source == "ids" else {"source": "yt_dlp", "link": link}
    (row,) = texts(tmp_path, "v", **where)
    assert state(row) == expected


def test_pip_has_a_bound(site: tuple[str, type[Site]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", site[0] + "drip/")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    about = {"kind": "binary", "sha256": "0" * 64, "licence": "MIT", "used_by": ["a test"]}
    asset = Asset.check({"location": "pypi:six==1.17.0#six.py", **about}, "test")
    with pytest.raises(UserError, match=r"asset 'six': .* which is too slow"):
        fetch_asset("six", asset, tmp_path / "six.py", attempts=1, patience=Patience(speed_window=3))
    assert list(tmp_path.iterdir()) == []


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
        listening.handle_error = lambda *_: None  # type: ignore[method-assign]
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


def test_links_lead_to_web_addresses_only(
    site: tuple[str, type[Site]], tmp_path: Path, movies: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a site that redirects to files of this machine, at the look and at the cut, that names one, or a playlist."""
    base, handler = site
    handler.playlist = f"#EXTM3U\n#EXTINF:6\nfile://{movies}/good.mp4\n#EXT-X-ENDLIST\n".encode()
    there = f"file{movies}/good.mp4"
    paths = [
        f"to/{there}",
        f"cut-to/{there}",
        f"scripted/file{movies}/good.mp4",
        "list/a.m3u8",
        "to/ftp/127.0.0.1/x.mp4",
    ]
    rows = clips(
        tmp_path, *[(base + path, 3, 5) for path in paths], *[(base + path, None, None) for path in paths[::2]]
    )
    found = [state(row) for row in rows]
    assert found == [("unavailable", "unsupported_link")] * len(rows), rows
    assert "not known yet" not in caplog.text
    assert all("followed" in row["detail"] or "ffmpeg" in row["detail"] for row in rows)
    assert not list((tmp_path / "store" / "files").iterdir())


PLUGIN = """
from yt_dlp.extractor.common import InfoExtractor
open({told!r}, "w").close()
class SpyIE(InfoExtractor):
    _VALID_URL = r"http://127.0.0.1.*"
    def _real_extract(self, url):
        return dict(id="spy", title="spy", url="http://127.0.0.1:9/x.mp4", ext="mp4")
"""


def test_nothing_of_the_home_or_the_working_folder_runs_in_yt_dlp(site: tuple[str, type[Site]], tmp_path: Path) -> None:
    """Neither plug-ins nor configuration files."""
    told = tmp_path / "told"
    places = ["work", "home/.config/yt-dlp/plugins/spy", "home/.yt-dlp/plugins/spy", "home/.config/yt-dlp-plugins/spy"]
    for place in places:
        folder = tmp_path / place / "yt_dlp_plugins" / "extractor"
        folder.mkdir(parents=True)
        (folder / "spy.py").write_text(PLUGIN.format(told=str(told)))
    for place in ("work/yt-dlp.conf", "home/.config/yt-dlp/config", "home/.config/yt-dlp.conf"):
        (tmp_path / place).write_text("--simulate\n--proxy http://127.0.0.1:9\n")
    row = {"clip_id": "a", "link": site[0] + "good.mp4", "start": 1, "end": 2, "status": "ok", "split": "train"}
    pq.write_table(pa.Table.from_pylist([row], schema=MANIFEST), tmp_path / "manifest.parquet")
    command = [sys.executable, "-m", "workflow_scripts.media.fetch", "--manifest", str(tmp_path / "manifest.parquet")]
    command += ["--store", str(tmp_path / "store"), "--output", str(tmp_path / "0.parquet")]
    home = {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "home" / ".config")}
    subprocess.run(command, cwd=tmp_path / "work", env=os.environ | home, check=True, timeout=120)
    assert not told.exists()
    assert pq.read_table(tmp_path / "0.parquet")["status"].to_pylist() == ["ok"]


def test_declared_numbers_of_records_are_checked() -> None:
    links = {"plan": "http://x/{part}", "file": "http://x/{part}/{name}"}
    wrong = {"tset": {"tset": {"files": 1, "examples": 1}}, "hold 1": {"train": {"files": 2, "examples": 1}}}
    for said, sizes in wrong.items():
        with pytest.raises(UserError, match=rf"corpora\.yaml: .*{said}"):
            Records.check(links | {"sizes": sizes}, "corpora.yaml")


def test_sizes_that_are_ranges_are_told_as_estimates() -> None:
    about = {"kind": "binary", "sha256": None, "licence": "MIT", "used_by": ["a test"], "location": "https://x/y"}
    known, rough = (Asset.check(about | {"bytes": size}, "test") for size in (10**9, [10**9, 5 * 10**9]))
    assert rough_sizes([known, rough]) == "the sizes of 1 of 2 files are estimates: 2.00 to 6.00 GB in all"
    assert rough_sizes([known]) == ""
    full = Scale(ROOT, Config.check({}, "test"), "full")
    assert "are estimates: " in next(iter(of_assets(full, "boes_avsed"))).note


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
