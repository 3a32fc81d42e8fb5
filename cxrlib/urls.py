"""Files at a URL, through fsspec: ``s3://``, ``gs://``, ``https://`` and all else that it knows.

fsspec is an optional extra: it is loaded when a URL is given.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


class UrlError(ValueError):
    """A URL cannot be read; says what to do."""


def is_url(place: str) -> bool:
    """Whether a place is named by a URL, not by a path.

    >>> is_url("s3://bucket/chest_xray"), is_url("/data/chest_xray")
    (True, False)
    """
    return _URL.match(place) is not None


def absolute(place: str) -> str:
    """A place whatever the working folder is: a path from the root, or a URL as it is."""
    return place if is_url(place) else str(Path(place).absolute())


def public(place: str) -> str:
    """A place to be shown and kept: of a URL without passwords and signatures.

    >>> public("https://me:secret@host/chest_xray?signature=1")
    'https://host/chest_xray'
    """
    if not is_url(place):
        return place
    scheme, host, path, _, _ = urlsplit(place)
    before, _, after = host.rpartition("@")
    return urlunsplit((scheme, after if ":" in before else host, path, "", ""))


def file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system for a URL, and the path of the URL in it.

    Raises:
        UrlError: fsspec, or the package for this kind of URL, is not installed.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise UrlError(f"{public(url)} takes fsspec to be read: pip install fsspec") from error
    try:
        # Listings that were remembered would hide what has changed, and fill the memory.
        return url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise UrlError(f"{public(url)} cannot be read here: {error}.") from error


def problem(url: str) -> str:
    """Why there is nothing to be read at a URL, in a sentence; empty where there is."""
    try:
        files, path = file_system(url)
        return "" if files.exists(path) else f"There is nothing at {public(url)}."
    except UrlError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  # each kind has errors of its own
        return unreachable(url, error)


def unreachable(url: str, error: Exception) -> str:
    """What to say of a URL that raised an error."""
    return (
        f"{public(url)} cannot be reached ({type(error).__name__}: {error}). Check the address, "
        "the connection and the permissions."
    )


def walk(url: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The files below a URL, folder by folder; the one that it names where it is a file.

    Hidden ones are passed over.

    Yields:
        The URL of a file, and what its file system says of it: its path as ``name``, most of them
        also its ``size`` in bytes, and when or with what it was written.

    Raises:
        UrlError: it cannot be reached, or there is nothing.
    """
    files, path = file_system(url)
    try:
        if not files.isdir(path):
            if not files.exists(path):
                raise UrlError(f"There is nothing at {public(url)}.")
            yield url, files.info(path)
            return
        # An error that is left out would pass for an empty folder.
        for _, _, found in files.walk(path, detail=True, on_error="raise"):
            for name, facts in found.items():
                if name and not name.startswith("."):
                    yield files.unstrip_protocol(facts["name"]), facts
    except UrlError:
        raise
    except Exception as error:
        raise UrlError(unreachable(url, error)) from error


def read(url: str, most: int) -> bytes:
    """What a file at a URL holds; of a larger one the first ``most`` bytes.

    Raises:
        UrlError: it cannot be read.
    """
    files, path = file_system(url)
    try:
        return files.cat_file(path, 0, most)
    except Exception as error:
        raise UrlError(unreachable(url, error)) from error
