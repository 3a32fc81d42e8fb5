"""Readers, sessions and readings in SQLite or PostgreSQL.

The database is the whole state: what a page shows is read from it, so that a session can be left
at any moment and gone on with after a restart or in a second tab. Every change names the stage
it was meant for and is one ``UPDATE`` that applies only while the reading is in that stage: a
tab that lags behind changes nothing.
"""

import os
import uuid
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, delete, event, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Connection
from sqlalchemy.orm import selectinload, sessionmaker

from cxrlib.metrics import OperatingPoint
from cxrlib.reviews.cases import Case
from cxrlib.reviews.schema import SCHEMA, Base, Reader, Reading, Schema, Session, Stage


class ReviewError(ValueError):
    """A session or file of readings that is missing or wrong; says what to do."""


def default_url() -> str:
    """The SQLite file that ``CXR_REVIEWS`` names, by default in ``~/.local/share/cxrlib``.

    Raises:
        ReviewError: there can be no such file.
    """
    named = os.environ.get("CXR_REVIEWS")
    file = Path(named) if named else Path.home() / ".local" / "share" / "cxrlib" / "reviews.db"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReviewError(
            f"The folder {file.parent} for the readings cannot be made ({error.strerror}). Set "
            "CXR_REVIEWS to a file in a folder that can be written."
        ) from error
    return f"sqlite:///{file.resolve()}"


class Store:
    """The database of readings; tables are made where they are missing.

    What it returns is detached from the database: it does not change, and can be kept.

    Args:
        engine: of SQLAlchemy, for SQLite or PostgreSQL.

    Raises:
        ReviewError: its tables were made by another version of this module.
    """

    def __init__(self, engine: Engine) -> None:
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _configure_sqlite)
        Base.metadata.create_all(engine)
        self.connect = sessionmaker(engine, expire_on_commit=False)
        # Somebody else may open a new database at this moment.
        with suppress(IntegrityError), self.connect.begin() as connection:
            version = connection.scalar(select(Schema.version))
            if version is None:
                connection.add(Schema(version=SCHEMA))
        if version not in (None, SCHEMA):
            raise ReviewError(
                f"The database of readings has the layout {version}, and this version of cxrlib "
                f"knows the layout {SCHEMA}. Nothing was changed. Open it with the version that "
                "wrote it and export the readings as JSON (Data); then name a new "
                "database here and import them."
            )

    def readers(self) -> list[Reader]:
        """Everybody who has begun a session, by name, with their sessions and readings."""
        with self.connect() as connection:
            sessions = selectinload(Reader.sessions)
            whole = (sessions.selectinload(Session.readings), sessions.joinedload(Session.reader))
            return list(connection.scalars(select(Reader).options(*whole).order_by(Reader.name)))

    def has_reader(self, name: str) -> bool:
        """Whether somebody of that name has begun a session."""
        with self.connect() as connection:
            return connection.scalar(select(Reader.id).where(Reader.name == name)) is not None

    def session(self, uid: str) -> Session:
        """A session with its reader and readings.

        Raises:
            ReviewError: there is none of that number.
        """
        with self.connect() as connection:
            whole = (selectinload(Session.reader), selectinload(Session.readings))
            found = connection.scalar(select(Session).where(Session.uid == uid).options(*whole))
        if found is None:
            raise ReviewError(
                "There is no such session here: it was deleted, or belongs to another "
                "installation. Begin a new one."
            )
        return found

    def start(
        self,
        *,
        name: str,
        role: str,
        source: str,
        strategy: str,
        split: str,
        seed: int,
        run: str,
        model: str,
        point: OperatingPoint,
        cases: Iterable[Case],
    ) -> str:
        """Begin a session with ``cases`` in the order given; returns its ``uid``."""
        session = Session(
            uid=uuid.uuid4().hex,
            source=source,
            strategy=strategy,
            split=split,
            seed=seed,
            run=run,
            model=model,
            point=point.name,
            threshold=point.threshold,
            low=point.low,
            high=point.high,
            started=now(),
            readings=[
                Reading(position=number, **vars(case)) for number, case in enumerate(cases, start=1)
            ],
        )
        self.add(name, role, session)
        return session.uid

    def add(self, name: str, role: str, session: Session) -> None:
        """Keep a new session of the reader of that name, who is made where there is none.

        The role of one who is known stays: whatever was read before was read in it.
        """
        # Somebody else may make the same reader at this moment.
        with suppress(IntegrityError), self.connect.begin() as connection:
            connection.add(Reader(name=name, role=role))
        with self.connect.begin() as connection:
            reader = connection.scalars(select(Reader).where(Reader.name == name)).one()
            session.reader_id = reader.id
            connection.add(session)

    def answer(
        self,
        reading: int,
        stage: Stage,
        *,
        answer: str | None = None,
        confidence: int | None = None,
    ) -> bool:
        """Draft the answer of a stage, or its confidence.

        Returns whether the reading was in that stage; otherwise nothing was changed. So do all
        methods below that take a reading.
        """
        values: dict[str, Any] = {}
        if answer is not None:
            values[f"{stage}_answer"] = answer
        if confidence is not None:
            values[f"{stage}_confidence"] = confidence
        return self._update(reading, stage, values)

    def note(self, reading: int, comment: str) -> bool:
        """Keep a comment, in either stage."""
        return self._update(reading, None, {"comment": comment})

    def flag(self, reading: int, stage: Stage, flagged: bool) -> bool:
        """Ask for a second opinion, or no longer."""
        return self._update(reading, stage, {"flagged": flagged})

    def rate(self, reading: int, rating: str) -> bool:
        """Say whether the heatmap points at the finding."""
        return self._update(reading, "second", {"rating": rating})

    def keep_probability(self, reading: int, probability: float) -> bool:
        """Keep what the model said, the first time it was asked."""
        return self._update(
            reading,
            "second",
            {"probability": func.coalesce(Reading.probability, probability)},
        )

    def skip(self, reading: int) -> bool:
        """Pass over a case that is read blind, until the others are done."""
        return self._update(reading, "first", {"skipped": True})

    def undo_skip(self, reading: int) -> bool:
        """Go back to a case that was skipped."""
        return self._update(reading, "first", {"skipped": False})

    def commit_first(self, reading: int, seconds: float) -> bool:
        """Make the blind answer final; the second starts out as the same."""
        return self._update(
            reading,
            "first",
            {
                "skipped": False,
                "first_at": now(),
                "first_seconds": seconds,
                "second_answer": Reading.first_answer,
                "second_confidence": Reading.first_confidence,
            },
            Reading.first_answer.is_not(None),
            Reading.first_confidence.is_not(None),
        )

    def commit_second(self, reading: int, seconds: float) -> bool:
        """Make the second answer final; the session is over where it was the last."""
        return self._update(reading, "second", {"second_at": now(), "second_seconds": seconds})

    def end(self, uid: str) -> None:
        """End a session before its last case. From now on nothing of it can be changed."""
        with self.connect.begin() as connection:
            connection.execute(
                update(Session)
                .where(Session.uid == uid, Session.ended.is_(None))
                .values(ended=now())
            )

    def delete_session(self, uid: str) -> None:
        """Delete a session with its readings, and its reader where that was the only one."""
        with self.connect.begin() as connection:
            reader = select(Session.reader_id).where(Session.uid == uid)
            number = connection.scalar(reader)
            connection.execute(delete(Session).where(Session.uid == uid))
            others = select(Session.id).where(Session.reader_id == number)
            connection.execute(delete(Reader).where(Reader.id == number, ~others.exists()))

    def delete_reader(self, reader: int) -> None:
        """Delete a reader with all sessions and readings. In SQLite their bytes are overwritten."""
        with self.connect.begin() as connection:
            connection.execute(delete(Reader).where(Reader.id == reader))

    def _update(
        self, reading: int, stage: Stage | None, values: dict[str, Any], *conditions: Any
    ) -> bool:
        running = select(Session.id).where(Session.ended.is_(None))
        revealed = Reading.first_at.is_not(None)
        if stage:
            conditions = (revealed if stage == "second" else ~revealed, *conditions)
        with self.connect.begin() as connection:
            changed = connection.execute(  # type: ignore[attr-defined]  # an update has rows
                update(Reading)
                .where(
                    Reading.id == reading,
                    Reading.session_id.in_(running),
                    Reading.second_at.is_(None),
                    *conditions,
                )
                .values(values)
                .execution_options(synchronize_session=False)
            ).rowcount
            if changed and "second_at" in values:
                _end_where_done(connection, reading)
        return bool(changed)


def _end_where_done(connection: Connection, reading: int) -> None:
    session = select(Reading.session_id).where(Reading.id == reading).scalar_subquery()
    undone = select(Reading.id).where(Reading.session_id == session, Reading.second_at.is_(None))
    connection.execute(
        update(Session)
        .where(Session.id == session, ~undone.exists())
        .values(ended=now())
        .execution_options(synchronize_session=False)
    )


def _configure_sqlite(connection: Any, _record: object) -> None:
    # Deletion reaches a reader's sessions and readings, and leaves none of their bytes in the
    # file; a second writer waits for the first.
    for pragma in ("foreign_keys = ON", "secure_delete = ON", "busy_timeout = 30000"):
        connection.execute(f"PRAGMA {pragma}")


def now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)
