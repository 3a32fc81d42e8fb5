"""Words and numbers for people."""

import re
from pathlib import Path


def plain(text: object) -> str:
    """Text of others as it is, with nothing in it taken for Markdown."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|<>~$:&])", r"\\\1", str(text))


def file_stem(name: str) -> str:
    """The name of somebody's file without its ending, fit to be part of another file's name."""
    stem = re.sub(r"[^\w .-]+", "_", Path(name).stem)[:80].strip(" ._-")
    return stem or "xray"


def number(value: float) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,.0f}"
