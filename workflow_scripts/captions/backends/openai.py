"""A language model behind a server that speaks OpenAI's chat completions."""

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import requests
from pydantic import Field
from tenacity import Retrying, before_sleep_log, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from workflow_scripts.captions.asking import LanguageModel
from workflow_scripts.captions.prompt import Message, schema
from workflow_scripts.errors import UserError
from workflow_scripts.settings.base import MANNER
from workflow_scripts.settings.download import Patience
from workflow_scripts.settings.temporal import Ties
from workflow_scripts.transfer import Session, failure, json_of, passing, retry_after

log = logging.getLogger(__name__)

TRANSIENT = {408, 409, 425, 429}
MOST = 1_000_000  # bytes of an answer


class PassingError(Exception):
    """An ask failed in a way that may pass by itself; `pause` are the seconds that the server asks us to wait."""

    def __init__(self, said: str, pause: float = 0.0) -> None:
        super().__init__(said)
        self.pause = pause


class Backend(LanguageModel):
    """A language model behind a server, vLLM for instance. Its answers are stored by the model's name."""

    url: Annotated[str, MANNER] = Field(
        pattern=r"^https?://", description="where the server answers, up to and with its version: …/v1"
    )
    model: str = Field(min_length=1, description="the model's name at the server")
    key_variable: Annotated[str, MANNER] = Field(
        "OPENAI_API_KEY",
        min_length=1,
        description="environment variable with the key, if the server wants one; never logged",
    )
    constrain: bool = Field(
        True, description="ask for an answer by JSON schema; false for servers that do not know `response_format`"
    )
    retries: Annotated[int, MANNER] = Field(
        5, ge=0, description="how often an ask that failed is repeated within a run"
    )
    retry_wait: Annotated[float, MANNER] = Field(
        2, ge=0, description="seconds before the first repetition; doubled at each next"
    )
    timeout: Annotated[float, MANNER] = Field(
        120,
        gt=0,
        description="seconds without an answer, or of waiting for one that trickles, after which an ask fails",
    )

    def load(self, ties: Ties, assets: dict[str, Path], device: str) -> "Server":
        return Server(self)


class Server:
    """Asks a batch of chats at the same time, each patiently."""

    def __init__(self, settings: Backend) -> None:
        self.name = settings.model
        self._settings = settings
        self._url = settings.url.rstrip("/") + "/chat/completions"
        key = os.environ.get(settings.key_variable)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._patience = Patience(timeout=settings.timeout, speed_window=settings.timeout)
        usual = wait_exponential_jitter(
            multiplier=settings.retry_wait, max=60 * settings.retry_wait, jitter=settings.retry_wait
        )
        self._retry = Retrying(
            stop=stop_after_attempt(settings.retries + 1),
            wait=lambda state: max(getattr(state.outcome and state.outcome.exception(), "pause", 0.0), usual(state)),
            retry=retry_if_exception_type(PassingError),
            before_sleep=before_sleep_log(log, logging.WARNING),
            reraise=True,
        )

    def ask(self, chats: Sequence[list[Message]]) -> list[str | None]:
        """The answers; None for a chat that the server does not accept."""
        try:
            with ThreadPoolExecutor(self._settings.batch) as pool:
                return list(pool.map(lambda chat: self._retry.copy()(self._one, chat), chats))
        except PassingError as error:
            raise UserError(
                f"{self._url} does not answer ({error}); the answers so far are stored: see to the server and run again"
            ) from None

    def _one(self, chat: list[Message]) -> str | None:
        """One ask. Raises `PassingError`, or `UserError` for what no repetition mends."""
        settings = self._settings
        body: dict[str, Any] = {
            "model": settings.model,
            "messages": chat,
            "temperature": 0,
            "max_tokens": settings.max_tokens,
        }
        if settings.constrain:
            body["response_format"] = response_format(settings.max_events)
        try:
            with Session() as session:
                session.headers.update(self._headers)
                answer = session.page(self._url, self._patience, body=body, most=MOST)
        except requests.RequestException as error:
            if not passing(error):
                said = failure(error).detail
                raise UserError(f"{self._url}: no answer of a language model ({said}); check url and model") from None
            raise PassingError(type(error).__name__) from None
        status = answer.status_code
        if status in {401, 403}:
            raise UserError(
                f"{self._url} refuses the key in {settings.key_variable} (HTTP {status}); set the right one"
            )
        if status in {404, 405}:
            raise UserError(
                f"{self._url}: no chat completions by '{settings.model}' (HTTP {status}); check url and model"
            )
        if status in TRANSIENT or status >= 500:
            pause = retry_after(status, answer.headers)
            if pause > self._patience.longest_pause:
                raise UserError(
                    f"{self._url} says to come again in {pause:.0f} seconds (HTTP {status}); run again then"
                )
            raise PassingError(f"HTTP {status}", pause)
        if not answer.ok:
            log.warning("%s does not accept a caption (HTTP %d): %s", self._url, status, answer.text[:200])
            return None
        try:
            content = json_of(answer)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError):
            raise PassingError("its answer is no chat completion") from None
        return content if isinstance(content, str) else ""


def response_format(max_events: int) -> dict[str, object]:
    """The schema of an answer; servers want an object at its root, so the array stands under a key."""
    root = {
        "type": "object",
        "properties": {"events": schema(max_events)},
        "required": ["events"],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": "events", "strict": True, "schema": root}}
