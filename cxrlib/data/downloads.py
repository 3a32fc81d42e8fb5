"""The Kaggle set, fetched in the background while pages come and go."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from cxrlib.data.dataset import KAGGLE_HANDLE

_PERCENT = re.compile(r"(\d+)%\|")
_FAILURE = "kagglehub could not fetch"


class Download:
    """``python -m cxrlib download`` as a process of its own, so that nobody waits for it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="cxrlib-download-")
        self._log = Path(self._folder.name) / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cxrlib", "download"],
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=Path(__file__).resolve().parents[2],
            )

    @property
    def running(self) -> bool:
        """Whether it is still at work."""
        return self._process.poll() is None

    @property
    def succeeded(self) -> bool:
        """Whether it came to a good end; `dataset.downloaded_folder` then says where."""
        return self._process.poll() == 0

    @property
    def share(self) -> float | None:
        """How much is fetched, 0..1; None before it has begun. Unpacking comes after that."""
        found = _PERCENT.findall(self._said())
        return int(found[-1]) / 100 if found else None

    @property
    def problem(self) -> str:
        """Why it failed, and what to do; empty while it runs and where it succeeded."""
        if self.running or self.succeeded:
            return ""
        before, failure, after = self._said().partition(_FAILURE)
        if failure:
            return failure + after.rstrip()
        last = before.strip().splitlines()[-1:] or ["no reason was given"]
        return f"The download of {KAGGLE_HANDLE} broke off: {last[0]}. Start it again."

    def stop(self) -> None:
        """End it. What was fetched stays, and the next download goes on from there."""
        self._process.terminate()
        self._process.wait()

    def _said(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")
