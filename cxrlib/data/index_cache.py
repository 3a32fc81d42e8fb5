"""The index of a data set, from a copy kept for as long as its files stay the same."""

import hashlib
import io
import json
import os
import threading
from pathlib import Path

import pandas as pd

from cxrlib.data import dataset
from cxrlib.images.preprocess import cache_folder

_INDEX_VERSION = 2  # raise when `dataset.index` changes what it returns


def cached_index(folder: Path, *, cache: Path | None = None) -> pd.DataFrame:
    """`dataset.index`, from a copy kept under `dataset.fingerprint` where there is one.

    Args:
        folder: as for `dataset.index`.
        cache: where copies are kept; by default `preprocess.cache_folder`.

    Raises:
        DatasetError: as `dataset.index`.
    """
    cache = cache or cache_folder()
    file = cache / f"index-{_INDEX_VERSION}-{dataset.fingerprint(folder)}.csv"
    try:
        table = _kept_index(file)
    except (FileNotFoundError, ValueError):  # there is none, or half of one
        table = dataset.index(folder)
        rows = table.to_csv(index=False)
        facts = {"digest": _digest(rows), "left_out": table.attrs["left_out"]}
        cache.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}.partial")
        partial.write_text(f"{json.dumps(facts)}\n{rows}", encoding="utf-8")
        partial.replace(file)
        # Read back, so that the first answer is no other than the next.
        table = _kept_index(file)
    table.attrs["root"] = str(dataset.find_root(folder))
    return table


def _kept_index(file: Path) -> pd.DataFrame:
    text = dict.fromkeys(("path", "split", "label", "subtype", "patient", "digest"), str)
    head, _, rows = file.read_text(encoding="utf-8").partition("\n")
    facts = json.loads(head)
    if facts["digest"] != _digest(rows):
        raise ValueError(f"{file} is cut off")
    table = pd.read_csv(io.StringIO(rows), dtype=text, keep_default_na=False)
    table.attrs["left_out"] = facts["left_out"]
    return table


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
