"""A headless Chromium spoken to over its debugging pipe; nothing but the standard library."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-background-networking", "--remote-debugging-pipe"),
)
PATIENCE = 60.0  # seconds for an answer


class Browser:
    """One page of a running Chromium."""

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive, self._rest = send, receive, b""
        self._number = itertools.count(1)
        self.errors: list[str] = []
        self._session: str | None = None
        target = self.do("Target.createTarget", url="about:blank")["targetId"]
        attached = self.do("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.do(f"{domain}.enable")

    def do(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the DevTools protocol, and its result."""
        number = next(self._number)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while (found := self._message()).get("id") != number:
            kind, params = found.get("method"), found.get("params", {})
            if kind == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(params["exceptionDetails"]))
            if kind == "Log.entryAdded" and params["entry"]["level"] == "error":
                self.errors.append(params["entry"]["text"])
        if "error" in found:
            raise RuntimeError(f"{method}: {found['error']}")
        return found["result"]

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._receive], [], [], PATIENCE)[0]:
                raise TimeoutError(f"no answer from Chromium in {PATIENCE:.0f} s")
            part = os.read(self._receive, 1 << 16)
            if not part:
                raise RuntimeError("Chromium has ended")
            self._rest += part
        text, self._rest = self._rest.split(b"\0", 1)
        return json.loads(text)

    def look(self, dark: bool = False, width: int = 1100, height: int = 900, still: bool = True):
        """Colours, size, and whether the reader asked for less motion."""
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        self.do("Emulation.setEmulatedMedia", features=features)
        self.do("Emulation.setDeviceMetricsOverride", width=width, height=height,
                deviceScaleFactor=1, mobile=False)  # fmt: skip

    def open(self, path: Path, fragment: str = "") -> None:
        """Load a file, and wait until its scripts have run."""
        self.do("Page.navigate", url="about:blank")
        self.do("Page.navigate", url=path.resolve().as_uri() + fragment)
        wait = "new Promise(r => document.readyState === 'complete' ? r(1) : onload = () => r(1))"
        here = json.dumps(path.name)
        while not self.js(f"location.href.split('#')[0].endsWith({here}) && ({wait}, true)"):
            pass
        self.js(wait)

    def visit(self, address: str, until: str) -> None:
        """Load an address, and wait until an expression is true."""
        self.do("Page.navigate", url="about:blank")
        self.do("Page.navigate", url=address)
        self.wait(until)

    def wait(self, until: str, patience: float = PATIENCE) -> None:
        """Wait until an expression is true in the page."""
        end = time.monotonic() + patience
        while not self.js(f"Boolean({until})"):
            if time.monotonic() > end:
                raise TimeoutError(f"not true in {patience:.0f} s: {until}")
            time.sleep(0.02)

    def js(self, code: str) -> Any:
        """The value of an expression in the page."""
        found = self.do("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(json.dumps(found["exceptionDetails"]))
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """A key goes down and up."""
        text = {"text": key} if len(key) == 1 else {}
        self.do("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, **text)
        self.do("Input.dispatchKeyEvent", type="keyUp", key=key, code=key)

    def picture(self, path: Path, whole: bool = True) -> None:
        """A PNG of the page."""
        found = self.do("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A fresh Chromium that ends with the context."""
    assert CHROMIUM is not None
    to_read, send = os.pipe()
    receive, to_write = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # Chromium reads commands from descriptor 3 and answers on 4.
        shell = 'exec 3<&"$0" 4>&"$1"; shift; exec "$@"'
        process = subprocess.Popen(
            ["bash", "-c", shell, str(to_read), str(to_write), CHROMIUM, *FLAGS,
             f"--user-data-dir={profile}"],
            pass_fds=(to_read, to_write), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        try:
            yield Browser(send, receive)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            os.close(send)
            os.close(receive)
