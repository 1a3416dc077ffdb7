"""A site for the tests: the last part of a link /scripted/<case> says how its video is offered, or why it is not."""

from typing import Any

import yt_dlp.globals
from yt_dlp.extractor import import_extractors
from yt_dlp.extractor.common import InfoExtractor
from yt_dlp.utils import ExtractorError

SAYINGS = {
    "private": "Private video. Sign in if you've been granted access to this video",
    "removed": "Video unavailable. This video has been removed by the uploader",
    "terminated": "No longer available because the YouTube account associated with this video has been terminated.",
    "age": "Sign in to confirm your age. This video may be inappropriate for some users.",
    "login": "Join this channel to get access to members-only content like this video",
    "bot": "Sign in to confirm you’re not a bot. Use --cookies-from-browser or --cookies",
    "limited": "This content isn't available, try again later. The current session has been rate-limited",
}


class ScriptedIE(InfoExtractor):
    """Offers videos like YouTube does: sound and picture apart, or with a sentence instead."""

    _VALID_URL = r"(?P<base>http://127\.0\.0\.1:\d+/)scripted/(?P<id>\w+)(?P<rest>/.*)?"

    def _real_extract(self, url: str) -> dict[str, Any]:
        base, case = self._match_valid_url(url).group("base", "id")
        if case in SAYINGS:
            raise ExtractorError(SAYINGS[case], expected=True)
        if case == "geo":
            self.raise_geo_restricted(countries=["BE"])
        if case == "list":
            return self.playlist_result([self.url_result(base + "good.mp4")], case, case)
        if case == "drm":
            self.report_drm(case)
        if case == "bug":
            raise KeyError("playerResponse")
        if case == "file":
            return {"id": case, "title": case, "url": f"file://{self._match_valid_url(url)['rest']}", "ext": "mp4"}
        picture = {"acodec": "none", "vcodec": "avc1", "ext": "mp4"}
        sound = {"acodec": "mp4a", "vcodec": "none", "ext": "m4a"}
        formats = [
            {"format_id": "sound", "url": base + "blind.mp4", **sound},
            {"format_id": "fair", "url": base + "mute.mp4", "height": 360, **picture},
            {"format_id": "best", "url": base + "404/mute.mp4", "height": 720, **picture},
        ]
        return {"id": case, "title": case, "formats": formats if case == "split" else formats[:1]}


import_extractors()
yt_dlp.globals.extractors.value = {"ScriptedIE": ScriptedIE, **yt_dlp.globals.extractors.value}  # the first that fits
