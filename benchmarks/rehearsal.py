"""Streamlit Community Cloud, rehearsed on this machine: python benchmarks/rehearsal.py

Serves a read-only copy of what Git knows of this folder, without data set and without network,
with an empty home and 690 MB of memory, as a visitor would find it there; drops a picture on it in
Chromium. Says what held, and fails where something did not.

Without network: in a network namespace that has only its loopback device, where this user may make
one (``unshare``). With 690 MB: in a Linux control group of that size, cached files included, which
ends a server that needs more; root may make one. What is not allowed is left out, and said so.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving_tools import ROOT, Server, serve
from visitors import Picture, arrive, browser, drop, shown

MEMORY = 690  # MB, what Community Cloud guarantees
INSIDE = "--inside"
NAMESPACE = ("unshare", "--map-root-user", "--net")
# Where control groups are, and how each version calls the most memory of one.
GROUPS = {"/sys/fs/cgroup/memory": "memory.limit_in_bytes", "/sys/fs/cgroup": "memory.max"}


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


def made_group() -> Path | None:
    """A new control group of `MEMORY`; None where this user may not make one."""
    for place, most in GROUPS.items():
        group = Path(place) / f"cxrlib-rehearsal-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / most).write_text(str(MEMORY * 10**6), encoding="ascii")
        except OSError:  # groups are counted here, but not their memory
            group.rmdir()
        else:
            return group
    return None


@contextmanager
def control_group() -> Iterator[Path | None]:
    """Such a group, until what runs in it has ended."""
    group = made_group()
    try:
        yield group
    finally:
        if group:
            group.rmdir()


async def visit(server: Server) -> str:
    """What the page answers; nothing when the server ends before it does."""

    async def one() -> str:
        async with browser() as chromium:
            page = await arrive(chromium, server.url)
            await drop(page, [(Picture(1).name, Picture(1).data())])
            return (await shown(page))[0]

    visitor = asyncio.create_task(one())
    while not visitor.done():
        await asyncio.wait([visitor], timeout=1)
        if server.process.poll() is not None:
            visitor.cancel()
            return ""
    return visitor.result()


def rehearse(offline: bool) -> bool:
    """Whether all of it held."""
    with tempfile.TemporaryDirectory() as folder, control_group() as group:
        copy = checkout(Path(folder))
        home = Path(folder) / "home"
        home.mkdir()
        surroundings = {"HOME": str(home), "CXR_DATA_DIR": "", "PYTHONDONTWRITEBYTECODE": "1"}
        # A shell joins the group and becomes the server: all that this takes is counted.
        join = ("sh", "-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"', str(group)) if group else ()
        with serve(copy / "app.py", folder=copy, before=join, **surroundings) as server:
            answer = asyncio.run(visit(server))
            peak = server.memory()["VmHWM"] if answer else float("inf")
        left = written(copy)
        for place in (copy, *copy.rglob("*")):
            place.chmod(0o755)
    print(f"answer: {answer or 'none: the server was ended'}")
    print("network: none but loopback" if offline else "network: not cut off (unshare not allowed)")
    print(f"written into the checkout: {', '.join(left) or 'nothing'}")
    print(f"memory: {f'capped at {MEMORY} MB' if group else 'not capped (only root may)'}", end="")
    print(f", resident at most {peak:.0f} MB" if answer else "")
    held = bool(answer) and peak <= MEMORY and not left
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
