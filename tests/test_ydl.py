"""How yt-dlp is set up: what solves YouTube's challenges, and the manners that reach it."""

from pathlib import Path

import pytest
from yt_dlp import YoutubeDL
from yt_dlp.extractor.youtube import YoutubeIE
from yt_dlp.extractor.youtube.jsc.provider import (
    JsChallengeProviderError,
    JsChallengeRequest,
    JsChallengeType,
    NChallengeInput,
)

from workflow_scripts.errors import UserError
from workflow_scripts.media.plan import fetch_records, fetch_text
from workflow_scripts.media.ydl import options
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.download import Download
from workflow_scripts.settings.scale import Scale

ROOT = Path(__file__).parent.parent
CHALLENGE = NChallengeInput("https://www.youtube.com/s/player/x/base.js", ["abc"])


def youtube(folder: Path, **settings: object) -> YoutubeIE:
    """yt-dlp's extractor for YouTube, as the downloads set it up."""
    extractor = YoutubeDL(options(Download(**settings), "", folder)).get_info_extractor("Youtube")
    extractor.initialize()
    return extractor


def test_youtube_s_challenges_are_solved_by_what_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    providers = youtube(tmp_path)._jsc_director.providers.values()
    (available,) = (provider for provider in providers if provider.is_available())
    monkeypatch.setattr(available, "_get_player", lambda *_: "var nothing = 1;")
    with pytest.raises(JsChallengeProviderError, match="unexpected structure"):  # so says the solver, run by deno
        list(available.bulk_solve([JsChallengeRequest(JsChallengeType.N, CHALLENGE, "x")]))


def test_runtime_clients_cookies_and_proxy_can_be_chosen(tmp_path: Path) -> None:
    cookies = tmp_path / "cookies.txt"
    cookies.write_text("# Netscape HTTP Cookie File\n.youtube.com\tTRUE\t/\tFALSE\t0\tme\t1\n")
    clients = {"youtube": {"player_client": ["web", "tv"]}}
    chosen = {"extractor_args": clients, "cookies": cookies, "proxy": "http://p:1"}
    extractor = youtube(tmp_path, js_runtime="node", js_runtime_path="/opt/node", **chosen)
    assert extractor._configuration_arg("player_client") == ["web", "tv"]
    assert extractor._downloader.params["js_runtimes"] == {"node": {"path": "/opt/node"}}
    assert "me" in {cookie.name for cookie in extractor.cookiejar}
    assert extractor._downloader.proxies == {"all": "http://p:1"}
    with pytest.raises(UserError, match="'js_runtime'"):
        Download.check({"js_runtime": "java"}, "config.yaml")


def test_texts_and_records_are_asked_for_as_config_yaml_says() -> None:
    said = {"min_share": 0.9, "cookies": "c.txt", "machines": 2, "videos_per_hour": 10, "js_runtime": "bun"}
    plain, chosen = (Scale(ROOT, Config.check(values, "x"), "full") for values in ({}, {"download": said}))
    texts, records = fetch_text(chosen, "youtube8m_2018", "0"), fetch_records(chosen, "youtube8m_2018", "video", "0")
    manners = texts.text.downloading
    assert (manners.cookies, manners.js_runtime, manners.machines) == (Path("c.txt"), "bun", 2)
    assert (texts.text.min_share, records.records.min_share, texts.text.asks_per_hour) == (0.9, 0.9, 300)
    assert texts.text.ids == fetch_text(plain, "youtube8m_2018", "0").text.ids
    assert texts.digest() == fetch_text(plain, "youtube8m_2018", "0").digest(), "manners define nothing"
    assert records.digest() == fetch_records(plain, "youtube8m_2018", "video", "0").digest()
