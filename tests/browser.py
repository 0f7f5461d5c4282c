"""A real browser for tests of the report page: Chromium without a window, driven by its own protocol over a pair of pipes.

`--remote-debugging-pipe` makes Chromium read commands from file descriptor 3 and write answers to 4, as JSON with a zero byte after each.
That needs neither a socket nor a library. Used by tests/test_report_browser.py.
"""
from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe")
PATIENCE = 60.0  # seconds for any one answer, on a busy machine


def installed() -> str | None:
    """The path of a browser, None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page of a browser: `with Browser() as page: page.open(path, "view=graph")`. problems: what its console said of errors.

    RuntimeError where no browser is installed or it does not answer.
    """

    def __init__(self, width: int = 1360, height: int = 860, dark: bool = False) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._size = width, height
        self._scheme = "dark" if dark else "light"
        self._serial = 0
        self._received = b""

    def __enter__(self) -> Browser:
        path = installed()
        if path is None:
            raise RuntimeError(f"no browser: none of {', '.join(NAMES)} is installed")
        self._folder = tempfile.mkdtemp(prefix="graphc-browser-")
        self._pid, self._write, self._read = _started([path, *FLAGS, f"--user-data-dir={self._folder}", "about:blank"])
        try:
            targets = self._call("Target.getTargets")["targetInfos"]
            page = next(target["targetId"] for target in targets if target["type"] == "page")
            self._session = self._call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
            width, height = self._size
            self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
            self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": self._scheme}])
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def open(self, path: Path, hash: str = "") -> None:
        """Opens a report anew at a view, and waits until that is drawn."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=path.resolve().as_uri() + (f"#{hash}" if hash else ""))
        self.wait("document.documentElement?.dataset.ready")

    def go(self, hash: str) -> None:
        """Another view of the page that is open, as a click on a link to it would."""
        self.evaluate("""(hash) => {
            const link = document.createElement('a');
            link.href = '#' + hash;
            document.body.append(link);
            link.click();
            link.remove();
        }""", hash)
        self.wait("document.documentElement?.dataset.ready")

    def evaluate(self, function: str, *arguments: Any) -> Any:
        """What a function written in JavaScript gives for `arguments`; AssertionError where it throws."""
        text = f"({function})({', '.join(json.dumps(a) for a in arguments)})"
        answer = self.call("Runtime.evaluate", expression=text, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"].get("exception", answer["exceptionDetails"])
        return answer["result"].get("value")

    def wait(self, expression: str) -> None:
        """Until a JavaScript expression is true; AssertionError after a minute."""
        end = time.monotonic() + PATIENCE
        while not self.evaluate(f"() => Boolean({expression})"):
            assert time.monotonic() < end, f"never true: {expression}; the console said {self.problems}"
            time.sleep(0.01)

    def texts(self, selector: str) -> list[str]:
        """The visible text of every element that a CSS selector finds."""
        found: list[str] = self.evaluate("(s) => [...document.querySelectorAll(s)].map((e) => e.innerText ?? e.textContent)", selector)
        return found

    def count(self, selector: str) -> int:
        number: int = self.evaluate("(s) => document.querySelectorAll(s).length", selector)
        return number

    def click(self, selector: str, nth: int = 0) -> None:
        """A click of the mouse on the middle of the nth element that a selector finds."""
        box = self.evaluate("""(selector, nth) => {
            const element = document.querySelectorAll(selector)[nth];
            element.scrollIntoView({block: 'center'});
            const box = element.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }""", selector, nth)
        self.click_at(*box)

    def click_at(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        time.sleep(0.05)
        self.wait("document.documentElement?.dataset.ready")

    def press(self, key: str) -> None:
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=key if len(key) == 1 else "")
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)
        time.sleep(0.05)
        self.wait("document.documentElement?.dataset.ready")

    def screenshot(self, path: Path) -> None:
        """What the window shows, as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol to the page."""
        return self._call(method, self._session, **parameters)

    def _call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        self._serial += 1
        message = {"id": self._serial, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._serial:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            more = os.read(self._read, 1 << 20) if ready else b""
            if not more:
                raise RuntimeError("the browser does not answer")
            self._received += more
        text, self._received = self._received.split(b"\0", 1)
        answer: dict[str, Any] = json.loads(text)
        return answer

    def _note(self, event: dict[str, Any]) -> None:
        method, parameters = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning"):
            self.problems.append(" ".join(str(a.get("description", a.get("value"))) for a in parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.problems.append(parameters["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])

    def _stop(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._write)
        os.close(self._read)
        shutil.rmtree(self._folder, ignore_errors=True)


def _started(command: Sequence[str]) -> tuple[int, int, int]:
    """Starts a browser. Its process, where to write commands, where to read answers."""
    commands, write = os.pipe()
    read, answers = os.pipe()
    quiet = os.open(os.devnull, os.O_RDWR)
    # Copies above 4 first: a pipe may itself be 3 or 4, and one must not be overwritten before it is copied.
    copies = ((commands, 90), (answers, 91), (90, 3), (91, 4), (quiet, 1), (quiet, 2))
    moved = [(os.POSIX_SPAWN_DUP2, old, new) for old, new in copies]
    try:
        return os.posix_spawn(command[0], command, dict(os.environ), file_actions=moved), write, read
    finally:
        for end in (commands, answers, quiet):
            os.close(end)
