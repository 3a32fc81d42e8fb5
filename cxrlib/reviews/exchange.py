"""All readings as one table: exported as CSV or JSON, and imported again."""

import io
import json
from typing import Any

import pandas as pd
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import selectinload

from cxrlib import tables
from cxrlib.labels import NORMAL, PNEUMONIA
from cxrlib.reviews.schema import ANSWERS, CONFIDENCES, RATINGS, Reading, Session
from cxrlib.reviews.store import ReviewError, Store

_SESSION = (
    "uid", "source", "strategy", "split", "seed", "run", "model", "point", "threshold", "low",
    "high", "started", "ended",
)  # fmt: skip
_READING = (
    "position", "path", "case_key", "label", "subtype", "probability", "first_answer",
    "first_confidence", "first_seconds", "first_at", "second_answer", "second_confidence",
    "second_seconds", "second_at", "rating", "comment", "flagged", "skipped",
)  # fmt: skip
COLUMNS = ("reader", "role", *_SESSION, *_READING)
_TIMES = ("started", "ended", "first_at", "second_at")
_NUMBERS = ("threshold", "low", "high", "probability", "first_seconds", "second_seconds")
_WHOLE_NUMBERS = ("first_confidence", "second_confidence")
_TEXTS = (
    "reader", "role", "uid", "source", "strategy", "split", "run", "model", "point", "path",
    "case_key", "label", "subtype", "comment",
)  # fmt: skip
_NOT_READINGS = (
    "This file does not hold readings as they are exported here. Choose the CSV or JSON file that "
    "was downloaded on this page."
)


def export(store: Store, *, uid: str | None = None) -> pd.DataFrame:
    """Every reading, or those of one session, with its session and reader: `COLUMNS`."""
    whole = (selectinload(Session.reader), selectinload(Session.readings))
    wanted = select(Session).options(*whole).order_by(Session.started, Session.id)
    if uid is not None:
        wanted = wanted.where(Session.uid == uid)
    with store.connect() as connection:
        rows = [
            (
                session.reader.name,
                session.reader.role,
                *(getattr(session, name) for name in _SESSION),
                *(getattr(reading, name) for name in _READING),
            )
            for session in connection.scalars(wanted)
            for reading in session.readings
        ]
    return _typed(pd.DataFrame(rows, columns=list(COLUMNS)))


def write_json(table: pd.DataFrame) -> str:
    """The table as JSON: a list with one object a reading."""
    return table.to_json(orient="records", date_format="iso", date_unit="us", double_precision=15)


def read_csv(data: bytes) -> pd.DataFrame:
    """The table from a CSV file that `tables.to_csv` made of `export`.

    Raises:
        ReviewError: it is something else.
    """
    file = io.BytesIO(data)
    try:
        # A reader may be called NA, which is no missing value.
        table = pd.read_csv(file, dtype=object, keep_default_na=False, na_values=[""])
        return _checked(tables.from_csv(table))
    except (ValueError, pd.errors.ParserError) as error:
        raise ReviewError(_NOT_READINGS) from error


def read_json(data: bytes) -> pd.DataFrame:
    """The table from a JSON file of `write_json`.

    Raises:
        ReviewError: it is something else.
    """
    try:
        return _checked(pd.DataFrame(json.loads(data)))
    except (ValueError, TypeError) as error:
        raise ReviewError(_NOT_READINGS) from error


def restore(store: Store, table: pd.DataFrame) -> int:
    """Bring back the sessions that are not here already; returns how many were."""
    restored = 0
    for _, rows in table.groupby("uid", sort=False):
        records = [
            {name: _plain(value) for name, value in row.items()} for row in rows.to_dict("records")
        ]
        session = Session(
            **{name: records[0][name] for name in _SESSION},
            readings=[Reading(**{name: row[name] for name in _READING}) for row in records],
        )
        try:
            store.add(records[0]["reader"], records[0]["role"], session)
        except IntegrityError:
            continue  # It is here.
        restored += 1
    return restored


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    if list(table.columns) != list(COLUMNS):
        raise ValueError("other columns")
    table = _typed(table)
    allowed: dict[str, set[str | None]] = {
        "source": {"run", "folder", "practice"},
        "label": {"", NORMAL, PNEUMONIA},
        "first_answer": {None, *ANSWERS},
        "second_answer": {None, *ANSWERS},
        "rating": {None, *RATINGS},
    }
    for name, values in allowed.items():
        if not table[name].map(_plain).isin(list(values)).all():
            raise ValueError(f"{name} has other values")
    for name in _WHOLE_NUMBERS:
        if not table[name].dropna().isin(list(CONFIDENCES)).all():
            raise ValueError(f"{name} has other values")
    if table[["uid", "reader", "case_key"]].eq("").any(axis=None):
        raise ValueError("a row without its session, reader or case")
    if table.duplicated(["uid", "position"]).any():
        raise ValueError("two readings in one place")
    return table


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    table = table.copy()
    for name in _TEXTS:
        table[name] = table[name].fillna("").astype(str)
    for name in _NUMBERS:
        table[name] = pd.to_numeric(table[name])
    for name in _WHOLE_NUMBERS:
        table[name] = pd.to_numeric(table[name]).astype("Int64")
    for name in ("seed", "position"):
        table[name] = pd.to_numeric(table[name]).astype("int64")
    for name in _TIMES:
        table[name] = pd.to_datetime(table[name], utc=True, format="ISO8601")
    for name in ("flagged", "skipped"):
        parsed = table[name].astype(str).map({"True": True, "False": False})
        if parsed.isna().any():
            raise ValueError(f"{name} is neither true nor false")
        table[name] = parsed.astype(bool)
    for name in ("first_answer", "second_answer", "rating"):
        table[name] = table[name].astype(object)
    return table


def _plain(value: Any) -> Any:
    """A value as the database takes it."""
    if pd.isna(value):
        return None
    return value.to_pydatetime() if isinstance(value, pd.Timestamp) else value
