"""What a reader presses on a case, on its way to the database, with nothing lost.

Streamlit breaks off a running script, its callbacks too, as soon as the next event has come and
the script touches anything of Streamlit's; a press that was on its way is then gone. Therefore:
the viewer keeps a numbered list of the keys pressed, which comes along whole with every event, in
order; a click's callback only appends to a list; and both are obeyed before anything is drawn.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import streamlit as st

from cxrlib.reviews import ANSWERS, CONFIDENCES, RATINGS, Reading, Session, Stage, Store
from pages.review_tabs import viewer
from pages.review_tabs.parts import store

ANSWER_KEYS = dict(zip(ANSWERS, "NPBVU", strict=True))
RATING_KEYS = dict(zip(RATINGS, "YQX", strict=True))
DONE, SKIP, FLAG = "Enter", "S", "F"
_ELSEWHERE = "This case was changed in another tab. Here is how it stands."
_NOT_YET = "First choose an answer and how sure you are."


@dataclass
class Visit:
    """A case on this reader's screen, from when it is drawn until it is gone on with.

    Attributes:
        case: the reading's id, and its stage.
        viewer: key of the viewer, whose state holds the keys pressed.
        comment: what the comment was when it was last looked at.
        obeyed: number of the last key that was obeyed.
        clicks: keys of the buttons that were clicked and not obeyed yet.
        since: when all of it was drawn, on the monotonic clock.
    """

    case: tuple[int, Stage]
    viewer: str
    comment: str
    obeyed: int
    clicks: list[str] = field(default_factory=list)
    since: float | None = None

    def drawn(self) -> None:
        """Begin to count the reading time, if it is not counted yet."""
        if self.since is None:
            self.since = time.monotonic()

    @property
    def seconds(self) -> float:
        """Reading time so far."""
        return time.monotonic() - self.since if self.since else 0.0


def picture_id(session: Session, reading: Reading) -> str:
    """A case's name on the page, which tells nothing of it."""
    return f"{session.uid[:8]}-{reading.position}"


def comment_key(reading_id: int) -> str:
    return f"comment-{reading_id}"


def keys(stage: Stage) -> list[str]:
    """The keys that mean something for the reading; the viewer has others of its own."""
    own = [SKIP] if stage == "first" else [*RATING_KEYS.values()]
    return [*ANSWER_KEYS.values(), *map(str, CONFIDENCES), FLAG, DONE, *own]


def enter(session: Session, reading: Reading) -> Visit:
    """The visit of a case that is about to be drawn."""
    visit: Visit | None = st.session_state.get("review_visit")
    case = (reading.id, reading.stage)
    if visit is None or visit.case != case:
        key = viewer.state_key(picture_id(session, reading))
        comment = st.session_state.get(comment_key(reading.id), reading.comment)
        visit = Visit(case, key, comment, obeyed=max((n for n, *_ in _pressed(key)), default=0))
        st.session_state.review_visit = visit
    return visit


def obey(session: Session) -> bool:
    """Do what was pressed since the last look; returns whether there was anything to do."""
    visit: Visit | None = st.session_state.get("review_visit")
    if visit is None:
        return False
    number, stage = visit.case
    comment = st.session_state.get(comment_key(number), visit.comment)
    pressed = _pressed(visit.viewer)
    kept = store()
    # From here to the last write nothing touches Streamlit.
    wanted = [key for at, where, key in pressed if at > visit.obeyed and where == stage]
    wanted += visit.clicks
    commented = comment != visit.comment
    visit.obeyed = max((at for at, *_ in pressed), default=visit.obeyed)
    visit.clicks.clear()
    visit.comment = comment
    if not wanted and not commented:
        return False
    said = None
    if commented and not kept.note(number, comment):
        said = _ELSEWHERE
    for place, key in enumerate(wanted):
        current = kept.session(session.uid).current
        if current is None or (current.id, current.stage) != visit.case:
            # What was pressed after the key that ended the stage was meant for nothing.
            said = said if place else _ELSEWHERE
            break
        if not _action(kept, current, key, visit.seconds)():
            said = _NOT_YET
    if said:
        st.toast(said, icon=":material/info:")
    return True


def _pressed(key: str) -> list[tuple[int, Stage, str]]:
    """The keys pressed in a viewer: number, stage that was on the screen, key."""
    return st.session_state.get(key, {}).get("pressed") or []


def _action(kept: Store, reading: Reading, key: str, seconds: float) -> Callable[[], bool]:
    number, stage = reading.id, reading.stage
    actions = {
        letter: partial(kept.answer, number, stage, answer=answer)
        for answer, letter in ANSWER_KEYS.items()
    }
    actions |= {
        str(confidence): partial(kept.answer, number, stage, confidence=confidence)
        for confidence in CONFIDENCES
    }
    actions[FLAG] = partial(kept.flag, number, stage, not reading.flagged)
    if stage == "first":
        actions[DONE] = partial(kept.commit_first, number, seconds)
        actions[SKIP] = partial(kept.skip, number)
    else:
        actions[DONE] = partial(kept.commit_second, number, seconds)
        actions |= {
            letter: partial(kept.rate, number, rating) for rating, letter in RATING_KEYS.items()
        }
    return actions[key]
