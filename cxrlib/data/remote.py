"""Data sets at a URL: a copy in the cache, brought up to date when it is used.

Everything else works with that folder, so index, decoded images and meanings of classes need not
know. A file of the copy has a time of modification that says which version of the original it is:
there is no list that could disagree with the files, an interrupted copy resumes, and all machines
that copied the same data set have the same `dataset.fingerprint`.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock
from tqdm import tqdm

from cxrlib import urls
from cxrlib.data.entries import DatasetError
from cxrlib.images.limits import MAX_BYTES

# What says that a file is another version: the first that its file system knows.
_VERSION = (
    "ETag",
    "etag",
    "md5Hash",
    "LastModified",
    "last_modified",
    "Last-Modified",
    "mtime",
    "created",
)
_AT_A_TIME = 16  # files: most of the time of a small one is waiting for its first byte
_PARTIAL = ".partial-"


def folder(place: str) -> Path:
    """The folder that has a data set on this machine, or will have it once it is fetched.

    Args:
        place: a path, which is that folder itself, or a URL.
    """
    if not urls.is_url(place):
        return Path(place)
    from cxrlib.images.preprocess import cache_folder  # takes OpenCV along

    key = hashlib.blake2b(place.rstrip("/").encode(), digest_size=6).hexdigest()
    name = PurePosixPath(urls.public(place)).name
    return cache_folder() / "remote" / key / name


def fetch(place: str, on_progress: Callable[[int, int], None] | None = None) -> Path:
    """The folder that has a data set on this machine; of one at a URL it copies what is new.

    Hidden files, and those of more than `MAX_BYTES`, are passed over.

    Args:
        place: a path or a URL.
        on_progress: told how many files are here, and how many there are. What it raises ends the
            copying, which resumes at the next call.

    Raises:
        DatasetError: the URL cannot be reached, has no files, or there is no room for them.
    """
    target = folder(place)
    if not urls.is_url(place):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    # Several runs on one machine share the copy.
    with FileLock(target.parent / "lock"):
        try:
            _copy(place, target, on_progress or (lambda done, of: None))
        except urls.UrlError as error:
            raise DatasetError(str(error)) from error
    return target


@dataclass(frozen=True)
class _File:
    """A file below a URL: its path in the file system, its path below the URL, how large it is,
    and the time of modification that says which version it is, seconds since 1970."""

    source: str
    name: str
    size: int
    stamp: int

    def is_in(self, folder: Path) -> bool:
        try:
            status = (folder / self.name).stat()
        except FileNotFoundError:
            return False
        return (status.st_size, int(status.st_mtime)) == (self.size, self.stamp)


def _listed(url: str) -> list[_File]:
    files, root = urls.file_system(url)

    def known(facts: dict[str, Any]) -> _File:
        source = facts["name"]
        if facts.get("size") is None:  # of a web page's links nothing is known
            facts = files.info(source)
        name = PurePosixPath(source.removeprefix(root).lstrip("/"))
        if ".." in name.parts:
            raise DatasetError(f"{urls.public(url)} has a file called {name}: rename it.")
        version = next((facts[key] for key in _VERSION if key in facts), "")
        digest = hashlib.blake2b(f"{version}".encode(), digest_size=4).digest()
        return _File(source, str(name), facts.get("size") or 0, int.from_bytes(digest) >> 1)

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        found = list(pool.map(known, (facts for _, facts in urls.walk(url))))
    if [file.source for file in found] == [root]:
        raise DatasetError(f"{urls.public(url)} is a file: name the folder of a data set.")
    return [file for file in found if file.size <= MAX_BYTES]


def _copy(url: str, target: Path, on_progress: Callable[[int, int], None]) -> None:
    files, _ = urls.file_system(url)
    there = {file.name: file for file in _listed(url)}
    if not there:
        raise DatasetError(f"There are no files at {urls.public(url)}.")
    # What is gone at the URL, or was half written.
    for file in [file for file in target.rglob("*") if file.is_file()]:
        if file.relative_to(target).as_posix() not in there:
            file.unlink()
    missing = [file for file in there.values() if not file.is_in(target)]
    target.mkdir(exist_ok=True)
    needed, free = sum(file.size for file in missing), shutil.disk_usage(target).free
    if needed > free:
        raise DatasetError(
            f"The data set at {urls.public(url)} takes {needed / 1e9:.1f} GB more in {target}, and "
            f"only {free / 1e9:.1f} GB are free there. Free some space, or set CXR_CACHE_DIR to a "
            "folder on another disk."
        )

    def copy(file: _File) -> None:
        place = target / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f"{_PARTIAL}{place.name}")
        try:
            files.get_file(file.source, str(partial))
        except Exception as error:
            raise urls.UrlError(urls.unreachable(url, error)) from error
        os.utime(partial, (file.stamp, file.stamp))
        partial.replace(place)

    done = len(there) - len(missing)
    with (
        ThreadPoolExecutor(_AT_A_TIME) as pool,
        tqdm(total=len(there), initial=done, desc="fetching", unit=" files") as bar,
    ):
        rest = iter(missing)
        while some := list(islice(rest, _AT_A_TIME)):
            on_progress(bar.n, len(there))
            for _ in pool.map(copy, some):
                bar.update()
