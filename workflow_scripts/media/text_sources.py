"""Who is asked about a video: the site that tells its YouTube id, its page (by yt-dlp), or the YouTube Data API."""

import os
import re
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import requests

from workflow_scripts.errors import UserError
from workflow_scripts.media.ydl import classify, options
from workflow_scripts.settings.text import Text
from workflow_scripts.shards import ClipError, Reason, Status
from workflow_scripts.transfer import PAGE, Session, failure, json_of, reason_of_http, retry_after

Answer = dict[str, Any]
JSONP = re.compile(r"""\s*\w+\(\s*["']([^"']+)["']\s*,\s*["']([\w-]+)["']\s*\)\s*;?\s*""")
SPENT = {"quotaExceeded", "dailyLimitExceeded"}
TOO_FAST = {"rateLimitExceeded", "userRateLimitExceeded"}


class ExhaustedError(ClipError):
    """The source gives nothing more today: asking on, or again, is of no use."""


class Source(ABC):
    """Answers about videos, `batch` at a time; threads may share it."""

    batch: ClassVar[int] = 1

    @abstractmethod
    def ask(self, names: list[str]) -> list[Answer | ClipError]:
        """Of each name its answer or what befell it; raises `ClipError` for what befell the ask as a whole."""


class Ids(Source):
    """Tells YouTube ids: a small script for each record's id, which calls a function with both ids."""

    def __init__(self, settings: Text) -> None:
        self._settings, self._session = settings, Session(settings.proxy)

    def ask(self, names: list[str]) -> list[Answer | ClipError]:
        return [self._one(name) for name in names]

    def _one(self, name: str) -> Answer:
        """The YouTube id of a record's. A video that is gone has no file: the store answers 404, or 403 in XML."""
        url = (self._settings.ids or "").format(id=name, prefix=name[:2])
        answer = get(self._session, url, self._settings)
        in_xml = answer.text.lstrip().startswith("<?xml")
        if answer.status_code == 404 or (answer.status_code == 403 and in_xml):
            raise ClipError(Status.UNAVAILABLE, Reason.REMOVED, "its YouTube id is not given out any more")
        if not answer.ok:
            raise refusal(answer)
        match = JSONP.fullmatch(answer.text)
        if match is None or match[1] != name:
            raise ClipError(Status.FAILED, Reason.UNEXPECTED, f"not the ids of '{name}': {answer.text[:80]!r}")
        return {"video_id": match[2]}


class Pages(Source):
    """Reads a video's page with yt-dlp; nothing is downloaded, and no format chosen."""

    def __init__(self, settings: Text, cache: Path) -> None:
        self._settings, self._cache = settings, cache
        self._thread = threading.local()

    def ask(self, names: list[str]) -> list[Answer | ClipError]:
        return [self._one(name) for name in names]

    def _one(self, name: str) -> Answer:
        from workflow_scripts.media.bounded import Bounded

        if not hasattr(self._thread, "ydl"):
            self._thread.ydl = Bounded(self._settings, options(self._settings.downloading, "", self._cache), PAGE)
        self._thread.ydl.allow(PAGE)
        link = self._settings.link.format(video_id=name)
        try:
            info = self._thread.ydl.extract_info(link, download=False, process=False) or {}
        except Exception as error:  # noqa: BLE001 - extractors raise anything
            raise classify(error) from None
        if info.get("_type", "video") not in {"video", "url_transparent"}:  # the latter: its film lies elsewhere
            raise ClipError(Status.UNAVAILABLE, Reason.UNSUPPORTED, "the link does not lead to one video")
        return answer_of(info.get("title"), info.get("tags"), info.get("playable_in_embed"), self._settings)


class DataApi(Source):
    """Asks the YouTube Data API, version 3, `videos.list`; the key goes in a header, so no URL holds it."""

    batch = 50

    def __init__(self, settings: Text) -> None:
        key = os.environ.get(settings.key_variable)
        if not key:
            raise UserError(
                f"text.source data_api needs a key of the YouTube Data API in the environment variable "
                f"{settings.key_variable}; set it, or take text.source yt_dlp"
            )
        self._settings, self._session = settings, Session(settings.proxy)
        self._session.headers["X-Goog-Api-Key"] = key

    def ask(self, names: list[str]) -> list[Answer | ClipError]:
        part = "snippet,status" if self._settings.embeddable_only else "snippet"
        query = {"part": part, "id": ",".join(names)}
        answer = get(self._session, self._settings.api, self._settings, query)
        if not answer.ok:
            raise self._refusal(answer)
        try:
            items = {item["id"]: item for item in json_of(answer)["items"]}
        except (ValueError, KeyError, TypeError):
            raise ClipError(Status.FAILED, Reason.UNEXPECTED, "the API answers no list of videos") from None
        return [self._of_item(items.get(name)) for name in names]

    def _of_item(self, item: dict[str, Any] | None) -> Answer | ClipError:
        if item is None:
            return ClipError(Status.UNAVAILABLE, Reason.REMOVED, "the API does not know it")
        snippet, embeddable = item.get("snippet", {}), item.get("status", {}).get("embeddable")
        try:
            return answer_of(snippet.get("title"), snippet.get("tags"), embeddable, self._settings)
        except ClipError as error:
            return error

    def _refusal(self, answer: requests.Response) -> ClipError:
        """Why the API refuses; a key that it does not take is a `UserError`."""
        try:
            said = json_of(answer)["error"]["errors"][0]["reason"]
        except (ValueError, KeyError, IndexError, TypeError):
            said = None
        status = answer.status_code
        if said in SPENT:
            return ExhaustedError(Status.UNAVAILABLE, Reason.RATE_LIMITED, f"the key's quota is spent ({said})")
        if said in TOO_FAST or status not in {400, 401, 403}:
            return refusal(answer, Reason.RATE_LIMITED if said in TOO_FAST else None, said or "")
        raise UserError(
            f"the YouTube Data API refuses the key in {self._settings.key_variable} (HTTP {status}, "
            f"{said or 'no reason given'}); check the key and that the API is enabled for it"
        )


def answer_of(title: Any, tags: Any, embeddable: bool | None, settings: Text) -> Answer:
    """Title and keywords as an answer; raises `ClipError` for a video left out because it may not be embedded."""
    if settings.embeddable_only and embeddable is False:
        raise ClipError(Status.UNAVAILABLE, Reason.EMBEDDING_DISABLED, "its owner does not let it be embedded")
    return {"title": title or None, "keywords": list(tags or []) or None}


def get(session: Session, url: str, settings: Text, query: dict[str, str] | None = None) -> requests.Response:
    """What a URL answers; without an answer, `ClipError` (the error's words may hold a proxy's password: left out)."""
    try:
        return session.page(url, settings, query)
    except requests.RequestException as error:
        raise failure(error) from None


def refusal(answer: requests.Response, reason: Reason | None = None, said: str = "") -> ClipError:
    """What an answer that is none means."""
    told = f"HTTP {answer.status_code} {said}".strip()
    pause = retry_after(answer.status_code, answer.headers)
    return ClipError(Status.UNAVAILABLE, reason or reason_of_http(answer.status_code), told, pause)
