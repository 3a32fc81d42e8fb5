"""What the classes of a data set mean: normal, pneumonia, a subtype of it, or nothing here.

Names that leave no doubt are known. What another one means is asked for once and kept in the cache,
under the folder's path.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from cxrlib.labels import NORMAL, PNEUMONIA

LEAVE_OUT = "leave-out"
# Of each meaning the label and the subtype, as of `dataset.index`.
MEANINGS: dict[str, tuple[str, str]] = {
    "normal": (NORMAL, ""),
    "pneumonia": (PNEUMONIA, ""),
    "bacterial": (PNEUMONIA, "bacterial"),
    "viral": (PNEUMONIA, "viral"),
    LEAVE_OUT: ("", ""),
}
_KNOWN = {
    "normal": ("normal", "normals", "healthy", "nofinding", "nofindings"),
    "pneumonia": ("pneumonia", "pneumonias"),
    "bacterial": ("bacterial", "bacteria"),
    "viral": ("viral", "virus"),
}
_MEANING_OF = {name: meaning for meaning, names in _KNOWN.items() for name in names}
_SUBTYPES = ("bacterial", "viral")


def plain(name: str) -> str:
    """A name without case, spaces and marks.

    >>> plain("Viral Pneumonia")
    'viralpneumonia'
    """
    return re.sub(r"[\W_]", "", name.lower())


def known_meaning(name: str) -> str:
    """A key of `MEANINGS` where a class's name leaves no doubt; empty elsewhere.

    >>> known_meaning("Pneumonia_Bacteria"), known_meaning("COVID")
    ('bacterial', '')
    """
    whole = plain(name)
    subtype = _MEANING_OF.get(whole.removeprefix("pneumonia").removesuffix("pneumonia"), "")
    return subtype if subtype in _SUBTYPES else _MEANING_OF.get(whole, "")


def given(root: Path) -> dict[str, str]:
    """The meanings that somebody gave the classes of a data set, by name."""
    file = _file(root)
    if not file.exists():
        return {}
    found: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return {name: meaning for name, meaning in found.items() if meaning in MEANINGS}


def give(root: Path, meanings: Mapping[str, str]) -> None:
    """Keep what classes of a data set mean, beside what was given before.

    Args:
        root: its folder.
        meanings: keys of `MEANINGS` by the class's name.
    """
    file = _file(root)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(given(root) | dict(meanings), indent=1), encoding="utf-8")


def _file(root: Path) -> Path:
    from cxrlib.images.preprocess import cache_folder  # takes OpenCV along

    key = hashlib.blake2b(str(root.resolve()).encode(), digest_size=12).hexdigest()
    return cache_folder() / "classes" / f"{key}.json"
