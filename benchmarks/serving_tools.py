"""What the benchmarks of the served app share: a fresh server, its memory, a browser."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

_START_SECONDS = 60


@dataclass(frozen=True)
class Server:
    """A running app: its address and its process."""

    url: str
    process: subprocess.Popen[bytes]

    def memory(self) -> dict[str, float]:
        """Megabytes resident now (``VmRSS``) and at most so far (``VmHWM``), and its parts
        ``RssAnon`` and ``RssFile`` (pages of libraries, which the system can drop). Linux only."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        lines = dict(line.split(":", 1) for line in status.splitlines())
        names = ("VmRSS", "VmHWM", "RssAnon", "RssFile")
        return {name: int(lines[name].split()[0]) * 1024 / 1e6 for name in names}


@contextmanager
def serve(
    app: Path, *, folder: Path = ROOT, before: tuple[str, ...] = (), **environment: str
) -> Iterator[Server]:
    """Serve ``app`` from ``folder`` on a free port; ``before`` is put before the command."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*before, sys.executable, "-m", "streamlit", "run", str(app)]
    options = ["--server.headless=true", "--server.address=127.0.0.1", f"--server.port={port}"]
    process = subprocess.Popen(
        command + options,
        cwd=folder,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"} | environment,
        stdout=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url)
        yield Server(url, process)
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=1):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@contextmanager
def chromium() -> "Iterator[Browser]":
    """Headless Chromium."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        sys.exit("Needs Chromium: install the package chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


def load_average() -> str:
    """The machine's load over one minute and its cores: what else was going on."""
    return f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
