"""A headless Chromium for tests, driven over the WebDriver protocol by chromedriver."""

import base64
import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

KEYS = {"space": " ", "tab": "\ue004", "enter": "\ue007", "left": "\ue012", "up": "\ue013", "right": "\ue014",
        "down": "\ue015"}  # fmt: skip


class Browser:
    """One window of the browser."""

    def __init__(self, address: str) -> None:
        self.address = address

    def ask(self, method: str, path: str, **values: Any) -> Any:
        answer = requests.request(
            method, f"{self.address}/{path}", json=values if method == "POST" else None, timeout=60
        )
        value = answer.json()["value"]
        assert answer.ok, value
        return value

    def open(self, page: Path) -> None:
        self.ask("POST", "url", url=page.as_uri())

    def reload(self) -> None:
        self.ask("POST", "refresh")

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script that says `return` gives; its arguments are in `arguments`."""
        return self.ask("POST", "execute/sync", script=script, args=list(arguments))

    def press(self, *keys: str) -> None:
        """Presses keys one after the other: a name of `KEYS`, or the sign that the key has."""
        for key in keys:
            sign = KEYS.get(key, key)
            strokes = [{"type": "keyDown", "value": sign}, {"type": "keyUp", "value": sign}]
            self.ask("POST", "actions", actions=[{"type": "key", "id": "keyboard", "actions": strokes}])

    def click(self, selector: str) -> None:
        element = self.ask("POST", "element", using="css selector", value=selector)
        self.ask("POST", f"element/{next(iter(element.values()))}/click")

    def text(self, selector: str) -> str:
        return str(self.run("return document.querySelector(arguments[0]).innerText", selector))

    def visible(self, selector: str) -> bool:
        return bool(self.run("return document.querySelector(arguments[0]).checkVisibility()", selector))

    def messages(self) -> list[str]:
        """What the page has written to the console since last asked, errors of its policy among it."""
        return [entry["message"] for entry in self.ask("POST", "se/log", type="browser")]

    def resize(self, width: int, height: int, dark: bool = False) -> None:
        """The size of the page in CSS pixels, smaller than windows can be too."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.command("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])

    def command(self, name: str, **values: Any) -> Any:
        return self.ask("POST", "goog/cdp/execute", cmd=name, params=values)

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.ask("GET", "screenshot")))


@contextlib.contextmanager
def chromium(downloads: Path) -> Iterator[Browser]:
    """A new browser, which saves files in a folder; the test is skipped where there is none."""
    program, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("needs Chromium and chromedriver")
    with subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        found = next(filter(None, (re.search(r"successfully on port (\d+)", line.strip()) for line in server.stdout)))
        address = f"http://127.0.0.1:{found[1]}/session"
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio"]
        options = {
            "binary": program,
            "args": [*arguments, "--autoplay-policy=no-user-gesture-required"],
            "prefs": {"download.default_directory": str(downloads)},
        }
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        try:
            started = requests.post(address, json={"capabilities": {"alwaysMatch": wanted}}, timeout=60)
            assert started.ok, started.text
            session = f"{address}/{started.json()['value']['sessionId']}"
            yield Browser(session)
            requests.delete(session, timeout=60)
        finally:
            server.terminate()
