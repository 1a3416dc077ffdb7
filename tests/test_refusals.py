"""What sites and yt-dlp say, as reasons of the ledger."""

import sys
from collections.abc import Callable
from functools import partial

import pytest
from yt_dlp.networking.exceptions import TransportError
from yt_dlp.utils import DownloadError, ExtractorError, GeoRestrictedError, UnsupportedError

from workflow_scripts.errors import UserError
from workflow_scripts.media.ydl import classify
from workflow_scripts.shards import Reason, Status

SAID = [  # as YouTube words them
    ("Private video. Sign in if you've been granted access to this video. Use --cookies", Reason.PRIVATE),
    ("Video unavailable. This video is private", Reason.PRIVATE),
    ("Video unavailable. This video has been removed by the uploader", Reason.REMOVED),
    ("This video has been removed for violating YouTube's Terms of Service", Reason.REMOVED),
    ("Video unavailable", Reason.REMOVED),
    ("This video is unavailable", Reason.REMOVED),
    ("This video isn't available anymore", Reason.REMOVED),
    ("Video unavailable. This video is no longer available due to a copyright claim by X", Reason.REMOVED),
    (
        "Video unavailable. This video is no longer available because the YouTube account associated with this video "
        "has been terminated.",
        Reason.TERMINATED,
    ),
    (
        "This video is no longer available because the uploader has closed their YouTube account.",
        Reason.TERMINATED,
    ),
    ("Video unavailable. The uploader has not made this video available in your country", Reason.GEO),
    ("This video contains content from X, who has blocked it in your country on copyright grounds", Reason.GEO),
    ("Sign in to confirm your age. This video may be inappropriate for some users.", Reason.AGE),
    ("Sign in to confirm you’re not a bot. Use --cookies-from-browser or --cookies", Reason.BOT_CHECK),
    ("Sign in to confirm you're not a bot.", Reason.BOT_CHECK),
    ("Join this channel to get access to members-only content like this video", Reason.LOGIN),
    ("Login details are needed to download this content", Reason.LOGIN),
    ("This video requires payment to watch", Reason.LOGIN),
    ("This content isn't available, try again later. The current session has been rate-limited", Reason.RATE_LIMITED),
    ("Video unavailable. This content isn’t available.", Reason.RATE_LIMITED),
    ("Requested format is not available. Use --list-formats", Reason.NO_FORMAT),
    ("[generic] Something never seen", Reason.UNEXPECTED),
]


def raised(error: Callable[[], Exception]) -> DownloadError:
    """The error as yt-dlp's own machinery hands it on: a DownloadError with the original in exc_info."""
    try:
        raise error()
    except Exception as original:  # noqa: BLE001 - whichever it is, it is looked at
        return DownloadError(f"\x1b[0;31mERROR:\x1b[0m {original}", sys.exc_info())


@pytest.mark.parametrize(("words", "reason"), SAID)
def test_what_a_site_says_is_understood(words: str, reason: Reason) -> None:
    error = classify(raised(lambda: ExtractorError(words, expected=True, video_id="abc", ie="youtube")))
    assert error.reason is reason
    assert error.detail.startswith(words[:20])
    assert error.status == (Status.FAILED if reason is Reason.UNEXPECTED else Status.UNAVAILABLE)


def test_yt_dlps_own_exceptions_are_understood() -> None:
    cases: list[tuple[Exception, Reason]] = [
        (GeoRestrictedError("not here", countries=["DE"]), Reason.GEO),
        (UnsupportedError("http://x/y"), Reason.UNSUPPORTED),
        (ExtractorError("no page", cause=TransportError("refused")), Reason.NETWORK),
        (ExtractorError("no page", cause=TransportError(cause=TimeoutError())), Reason.NETWORK),
        (ExtractorError("ffmpeg exited with code 183"), Reason.CUT_FAILED),
        (ExtractorError("ffmpeg exited with code 8"), Reason.SERVER),
        (ExtractorError("ffmpeg exited with code 146"), Reason.NETWORK),
    ]
    for error, reason in cases:
        assert classify(raised(partial(lambda raising: raising, error))).reason is reason


def test_details_are_one_line_without_colours_and_secrets() -> None:
    words = "\x1b[31mERROR:\x1b[0m no page https://user:word@host.org/path/key?token=secret#x here\nsecond line"
    found = classify(raised(lambda: ExtractorError(words, expected=True))).detail
    assert found == "no page host.org here"


def test_a_full_disk_is_not_the_clips_fault() -> None:
    with pytest.raises(UserError, match="No space left"):
        classify(raised(lambda: OSError(28, "No space left on device")))
