"""Words and numbers for people."""

import re


def plain(text: object) -> str:
    """Text of others as it is, with nothing in it taken for Markdown."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|<>~$:&])", r"\\\1", str(text))


def number(value: float) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,.0f}"
