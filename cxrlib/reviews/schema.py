"""The tables of the reading room: readers, their sessions, the readings of each."""

from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import DateTime, ForeignKey, TypeDecorator, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from cxrlib.metrics import OperatingPoint

# What may be answered, and whether it says pneumonia; None says neither.
ANSWERS: dict[str, bool | None] = {
    "normal": False,
    "pneumonia": True,
    "bacterial": True,
    "viral": True,
    "cannot tell": None,
}
RATINGS = ("yes", "partly", "no")
CONFIDENCES = range(1, 6)

Stage = Literal["first", "second", "done"]


# Raised by whoever changes a table below.
SCHEMA = 1


class _Utc(TypeDecorator[datetime]):
    """Times with their zone, which SQLite would lose."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value and (value.replace(tzinfo=UTC) if value.tzinfo is None else value)


class Base(DeclarativeBase):
    type_annotation_map = {datetime: _Utc}  # noqa: RUF012 - SQLAlchemy's own way


class Schema(Base):
    """One row: the `SCHEMA` that the tables were made with."""

    __tablename__ = "schema"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class Reader(Base):
    """A person who reads, by name or initials."""

    __tablename__ = "readers"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    sessions: Mapped[list["Session"]] = relationship(
        back_populates="reader", passive_deletes=True, order_by="Session.started"
    )


class Session(Base):
    """A list of cases that one reader goes through.

    ``run``, ``model`` (digest of the network's file) and the operating point ``point``,
    ``threshold``, ``low``, ``high`` are those of the moment it was begun.
    """

    __tablename__ = "sessions"

    id: Mapped[int] = mapped_column(primary_key=True)
    uid: Mapped[str] = mapped_column(unique=True)
    reader_id: Mapped[int] = mapped_column(ForeignKey("readers.id", ondelete="CASCADE"), index=True)
    source: Mapped[str]
    strategy: Mapped[str]
    split: Mapped[str]
    seed: Mapped[int]
    run: Mapped[str]
    model: Mapped[str]
    point: Mapped[str]
    threshold: Mapped[float]
    low: Mapped[float]
    high: Mapped[float]
    started: Mapped[datetime]
    ended: Mapped[datetime | None]
    reader: Mapped[Reader] = relationship(back_populates="sessions")
    readings: Mapped[list["Reading"]] = relationship(
        back_populates="session", passive_deletes=True, order_by="Reading.position"
    )

    @property
    def operating_point(self) -> OperatingPoint:
        """The pinned operating point."""
        return OperatingPoint(self.point, self.threshold, self.low, self.high)

    @property
    def current(self) -> "Reading | None":
        """The reading to go on with, or None where the session is over.

        Skipped ones come last.
        """
        if self.ended:
            return None
        undone = [reading for reading in self.readings if reading.stage != "done"]
        return min(undone, key=lambda reading: reading.skipped, default=None)


class Reading(Base):
    """One case of a session, and what its reader said.

    Answers are those of `ANSWERS`, confidences 1 to 5, ratings those of `RATINGS`. An answer
    counts once its time (``first_at``, ``second_at``) is set; before, it is a draft. ``label``
    is ``NORMAL``, ``PNEUMONIA`` or empty where nobody knows; ``probability`` is the model's. One
    that was ``skipped`` comes back after the others, and is no longer skipped once it is read.
    """

    __tablename__ = "readings"
    __table_args__ = (UniqueConstraint("session_id", "position"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[int] = mapped_column(
        ForeignKey("sessions.id", ondelete="CASCADE"), index=True
    )
    position: Mapped[int]
    path: Mapped[str]
    case_key: Mapped[str] = mapped_column(index=True)
    label: Mapped[str]
    subtype: Mapped[str]
    probability: Mapped[float | None]
    first_answer: Mapped[str | None]
    first_confidence: Mapped[int | None]
    first_seconds: Mapped[float | None]
    first_at: Mapped[datetime | None]
    second_answer: Mapped[str | None]
    second_confidence: Mapped[int | None]
    second_seconds: Mapped[float | None]
    second_at: Mapped[datetime | None]
    rating: Mapped[str | None]
    comment: Mapped[str] = mapped_column(default="")
    flagged: Mapped[bool] = mapped_column(default=False)
    skipped: Mapped[bool] = mapped_column(default=False)
    session: Mapped[Session] = relationship(back_populates="readings")

    @property
    def stage(self) -> Stage:
        """``first`` while it is read blind, ``second`` once the model is shown, then ``done``."""
        if self.second_at:
            return "done"
        return "second" if self.first_at else "first"
