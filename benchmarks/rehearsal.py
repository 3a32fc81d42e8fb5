"""Streamlit Community Cloud, rehearsed on this machine: python benchmarks/rehearsal.py

Serves a read-only copy of what Git knows of this folder, without data set and without network, and
with an empty home, as a visitor would find it there; drops a picture on it in Chromium;
watches the memory of the serving process, which may not pass 1 GB. Says what held, and fails where
something did not.

Without network: in a network namespace that has only its loopback device, where this user may make
one (``unshare``); elsewhere the rehearsal says that it left this out.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from serving_tools import ROOT, serve
from visitors import Picture, arrive, browser, drop, shown

MEMORY = 1000  # MB
INSIDE = "--inside"
NAMESPACE = ("unshare", "--map-root-user", "--net")


def checkout(folder: Path) -> Path:
    """A copy of this folder's files as Git knows them, committed or not; nobody may write to it."""
    found = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    copy = folder / "checkout"
    for name in filter(None, found.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    for place in (copy, *copy.rglob("*")):
        place.chmod(0o555 if place.is_dir() else 0o444)
    return copy


def written(copy: Path) -> list[str]:
    """What appeared in the checkout all the same: permissions do not stop root."""
    return [str(file.relative_to(copy)) for file in copy.rglob("*") if file.stat().st_mode & 0o222]


async def visit(url: str) -> str:
    async with browser() as chromium:
        page = await arrive(chromium, url)
        await drop(page, [(Picture(1).name, Picture(1).data())])
        return (await shown(page))[0]


def rehearse(offline: bool) -> bool:
    """Whether all of it held."""
    with tempfile.TemporaryDirectory() as folder:
        copy = checkout(Path(folder))
        home = Path(folder) / "home"
        home.mkdir()
        surroundings = {"HOME": str(home), "CXR_DATA_DIR": "", "PYTHONDONTWRITEBYTECODE": "1"}
        with serve(copy / "app.py", folder=copy, **surroundings) as server:
            answer = asyncio.run(visit(server.url))
            peak = server.memory()["VmHWM"]
        left = written(copy)
        for place in (copy, *copy.rglob("*")):
            place.chmod(0o755)
    print(f"answer: {answer}")
    print("network: none but loopback" if offline else "network: not cut off (unshare not allowed)")
    print(f"written into the checkout: {', '.join(left) or 'nothing'}")
    print(f"memory: at most {peak:.0f} MB (≤ {MEMORY})")
    held = peak <= MEMORY and not left
    print("All of it held." if held else "It did not hold.")
    return held


if __name__ == "__main__":
    if INSIDE in sys.argv:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        sys.exit(not rehearse(offline=True))
    may = subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode == 0
    if may and shutil.which("ip"):
        os.execvp(NAMESPACE[0], [*NAMESPACE, sys.executable, __file__, INSIDE])
    sys.exit(not rehearse(offline=False))
