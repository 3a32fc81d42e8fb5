"""Tables as Markdown, and as CSV that a spreadsheet can open without running what strangers typed.

Spreadsheets take a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a return for a
formula, and a file may be called ``=HYPERLINK(…)``. Such text gets an apostrophe in front, which
spreadsheets read as: this is text (OWASP, CSV injection).
"""

import csv
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the app's first page, which offers a table, does not wait for pandas
    import pandas as pd

# With apostrophes before it, so that what begins with one itself comes back as it was.
_FORMULA = r"^('*[=+\-@\t\r])"


def to_csv(table: "pd.DataFrame") -> bytes:
    """The table without its index as CSV; text that would be a formula is marked as text."""
    # Quoted throughout, because pandas alone leaves a return bare, and it would begin a row.
    marked = _replaced(table, _FORMULA, r"'\1")
    return marked.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC).encode()


def from_csv(table: "pd.DataFrame") -> "pd.DataFrame":
    """A table as it was before `to_csv`, from the text that was in the file."""
    return _replaced(table, f"^'(?={_FORMULA[1:]})", "")


def markdown(table: "pd.DataFrame") -> list[str]:
    """The lines of a table in Markdown, its cells as they print."""
    rows = [table.columns, *table.itertuples(index=False)]
    head, *body = ("| " + " | ".join(map(str, row)) + " |" for row in rows)
    return [head, "|" + "---|" * table.shape[1], *body]


def _replaced(table: "pd.DataFrame", pattern: str, replacement: str) -> "pd.DataFrame":
    texts = table.select_dtypes(include=["object", "string"])
    return table.assign(**texts.replace(pattern, replacement, regex=True))
