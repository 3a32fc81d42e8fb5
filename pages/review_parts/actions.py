"""What a reader's keys and buttons do, kept until the database has it."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from threading import RLock

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from cxrlib.reviews import ANSWERS, CONFIDENCES, RATINGS, Reading, Stage
from pages.review_parts.parts import store

ANSWER_KEYS = dict(zip(ANSWERS, "NPBVU", strict=True))
RATING_KEYS = dict(zip(RATINGS, "YQX", strict=True))
UNDO = "Backspace"
_ELSEWHERE = "This case was changed in another tab. This is its current state."


@dataclass(frozen=True)
class Action:
    """What a key does.

    Attributes:
        title: what it does, in words.
        run: does it, given the moment of the press.
    """

    title: str
    run: Callable[[float], None]


Actions = dict[str, Action]  # by key


@dataclass
class _Outbox:
    """What a reader did, and when, until the database has it.

    Attributes:
        last: the number of the last key that was taken in; numbers rise with each.
    """

    last: int = 0
    unsent: list[tuple[float, Callable[[float], None]]] = field(default_factory=list)
    lock: RLock = field(default_factory=RLock)

    def add(self, run: Callable[[float], None]) -> None:
        self.unsent.append((time.monotonic(), run))

    def send(self) -> None:
        """Do in order what is not done yet.

        Raises:
            SQLAlchemyError: the database is gone; what it does not have is kept.
        """
        with self.lock:
            while self.unsent:
                moment, run = self.unsent[0]
                run(moment)
                del self.unsent[0]


def outbox() -> _Outbox:
    """What this browser's reader did that the database may not have yet."""
    return st.session_state.setdefault("review_outbox", _Outbox())


def do(run: Callable[[float], None]) -> None:
    """Do something now, or as soon as the database is back: the page says where it is gone."""
    box = outbox()
    box.add(run)
    with suppress(SQLAlchemyError):
        box.send()


def actions_of(uid: str, reading: Reading) -> Actions:
    """What each key does in the stage that a reading is in."""
    number, stage = reading.id, reading.stage
    if stage == "done":
        return {"Enter": Action("Go on reading", _back)}
    actions: Actions = {}
    for name, key in ANSWER_KEYS.items():
        actions[key] = Action(name.capitalize(), partial(_answer, number, stage, name, None))
    for confidence in CONFIDENCES:
        actions[str(confidence)] = Action(
            f"Confidence {confidence} of {CONFIDENCES[-1]}",
            partial(_answer, number, stage, None, confidence),
        )
    if stage == "first":
        actions["Enter"] = Action("Done: show the model", partial(_commit, uid, number))
        if not reading.skipped:
            actions["S"] = Action("Skip this case", partial(_skip, uid, reading))
        if skipped_before(uid):
            actions[UNDO] = Action("Undo the skip", _undo_skip)
    else:
        if reading.second_answer != "normal":
            for rating, key in RATING_KEYS.items():
                actions[key] = Action(
                    f"The heatmap points at the finding: {rating}", partial(_rate, number, rating)
                )
        actions["Enter"] = Action("Next case", partial(_go_on, number))
    actions["F"] = Action(
        "Flag for a second opinion", partial(_flag, number, stage, not reading.flagged)
    )
    return actions


def handle_keys(uid: str, reading: int, pressed: Iterable[tuple[int, Stage, str]]) -> None:
    """Do what the keys say that were not heard yet, in the order they were pressed.

    A key belongs to what its reader saw: pressed before the model was shown, it changes nothing
    afterwards.
    """
    box = outbox()
    # For the next key Streamlit starts another thread, and lets this one run on until it looks at
    # the session state: what is done must be noted without a look, or it would be done twice.
    with box.lock:
        for number, stage, key in pressed:
            if number > box.last:
                box.add(partial(_press, uid, reading, stage, key))
                box.last = number
        with suppress(SQLAlchemyError):
            box.send()


def keep_comment(reading: int, key: str) -> None:
    """Keep what was written into the text field of that key."""
    comment = st.session_state[key]
    do(lambda _moment: _notify_once(store().note(reading, comment)))


def skipped_before(uid: str) -> tuple[int, int] | None:
    """The case that was just skipped, whose skip can be undone: its number and position."""
    session, *skipped = st.session_state.get("review_skipped", ("",))
    return tuple(skipped) if session == uid else None


def _press(uid: str, reading: int, stage: Stage, key: str, moment: float) -> None:
    (now,) = (one for one in store().session(uid).readings if one.id == reading)
    actions = actions_of(uid, now)
    if now.stage == stage and key in actions:
        actions[key].run(moment)


def _notify_once(changed: bool) -> None:
    if not changed:
        st.toast(_ELSEWHERE, icon=":material/sync_problem:")


def _answer(
    reading: int, stage: Stage, answer: str | None, confidence: int | None, _moment: float
) -> None:
    _notify_once(store().answer(reading, stage, answer=answer, confidence=confidence))


def _flag(reading: int, stage: Stage, flagged: bool, _moment: float) -> None:
    _notify_once(store().flag(reading, stage, flagged))


def _rate(reading: int, rating: str, _moment: float) -> None:
    _notify_once(store().rate(reading, rating))


# What may end the script, a look at the session state or the address, comes before what must not be
# done twice.


def _skip(uid: str, reading: Reading, _moment: float) -> None:
    _back()
    st.session_state.review_skipped = uid, reading.id, reading.position
    _notify_once(store().skip(reading.id))


def _undo_skip(_moment: float) -> None:
    _back()
    _, reading, _ = st.session_state.review_skipped
    store().undo_skip(reading)
    del st.session_state.review_skipped


def _commit(uid: str, reading: int, moment: float) -> None:
    seconds = _seconds(moment)
    st.session_state.pop("review_skipped", None)
    if store().commit_first(reading, seconds):
        return
    (now,) = (one for one in store().session(uid).readings if one.id == reading)
    # Otherwise it was pressed twice.
    if now.stage == "first":
        st.toast("Choose an answer and how sure you are first.", icon=":material/touch_app:")


def _go_on(reading: int, moment: float) -> None:
    seconds = _seconds(moment)
    _back()
    _notify_once(store().commit_second(reading, seconds))


def _back(_moment: float = 0.0) -> None:
    """To the case that is to be read."""
    st.query_params.pop("case", None)


def _seconds(moment: float) -> float:
    return moment - st.session_state.review_since
