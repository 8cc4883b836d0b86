"""A headless Chromium, driven by the WebDriver protocol: https://www.w3.org/TR/webdriver2/.

It needs Debian's chromium and chromium-driver on the path.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of a web element, section 12.1
_ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
    "--no-first-run", "--disable-background-networking",
)  # fmt: skip


class Browser:
    """One window."""

    def __init__(self, driver: str, arguments: tuple[str, ...], home: Path):
        options = {"args": [*_ARGUMENTS, *arguments, f"--user-data-dir={home}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self._session = f"{driver}/session"
        made = self._call("POST", "", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"{driver}/session/{made['sessionId']}"

    def open(self, url: str) -> None:
        self._call("POST", "/url", {"url": url})

    def click(self, css: str) -> None:
        self._call("POST", f"/element/{self._find(css)}/click", {})

    def type(self, css: str, text: str) -> None:
        """Type into a field; into one for files, a path."""
        self._call("POST", f"/element/{self._find(css)}/value", {"text": text})

    def press(self, key: str) -> None:
        """Press and release a key, wherever the focus is."""
        actions = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        keys = {"type": "key", "id": "keyboard", "actions": actions}
        self._call("POST", "/actions", {"actions": [keys]})

    def run(self, script: str) -> Any:
        """Give the value of a JavaScript expression."""
        return self._call("POST", "/execute/sync", {"script": f"return {script}", "args": []})

    def text(self, css: str) -> str:
        return str(self._call("GET", f"/element/{self._find(css)}/text"))

    def wait(self, condition: str, seconds: float = 60) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        while not self.run(condition):
            if time.monotonic() > end:
                raise TimeoutError(f"{condition}; the page says {self.text('body')}")
            time.sleep(0.05)

    def look(self, width: int, scheme: str) -> None:
        """Set the width in pixels, and "light" or "dark"."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.develop("Emulation.setDeviceMetricsOverride", size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.develop("Emulation.setEmulatedMedia", {"features": [feature]})

    def screenshot(self, path: Path) -> None:
        """Take a picture of the whole page, as PNG."""
        taken = self.develop("Page.captureScreenshot", {"captureBeyondViewport": True})
        path.write_bytes(base64.b64decode(taken["data"]))

    def develop(self, command: str, parameters: dict[str, Any]) -> Any:
        """Give a command of Chromium's developer tools."""
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def complaints(self) -> list[str]:
        """List what the console says since the last call: errors of scripts, what was blocked."""
        return [
            str(entry["message"]) for entry in self._call("POST", "/se/log", {"type": "browser"})
        ]

    def close(self) -> None:
        self._call("DELETE", "")

    def _find(self, css: str) -> str:
        found = self._call("POST", "/element", {"using": "css selector", "value": css})
        return str(found[_ELEMENT])

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._session + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None


@contextlib.contextmanager
def browser(home: Path, *arguments: str) -> Iterator[Browser]:
    """Open a browser with an empty profile in `home`, and close it."""
    driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    try:
        found = (re.search(r"successfully on port (\d+)", line) for line in driver.stdout)
        port = next(match[1] for match in found if match)
        opened = Browser(f"http://127.0.0.1:{port}", arguments, home)
        try:
            yield opened
        finally:
            opened.close()
    finally:
        driver.terminate()
        driver.wait()
