"""Every download has an end: sources that drip, that never end, that ask for patience, or that lead elsewhere."""

import os
import subprocess
import sys
from pathlib import Path

import bounds_files
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bounds_files import MANIFEST, Site, clips, records, state, texts

from workflow_scripts.assets.fetch import fetch as fetch_asset
from workflow_scripts.errors import UserError
from workflow_scripts.rehearsal.plan import of_assets, rough_sizes
from workflow_scripts.settings.assets import Asset
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.download import Patience
from workflow_scripts.settings.records import Records
from workflow_scripts.settings.scale import Scale

movies, site, plans = bounds_files.movies, bounds_files.site, bounds_files.plans  # fixtures


ROOT = Path(__file__).parent.parent


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
