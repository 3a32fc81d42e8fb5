"""The numbered cases of a session in a row, to see how far one is and to go back."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from cxrlib.reviews import Reading, Session

_HERE = Path(__file__).parent

_mount = st.components.v2.component(
    "cxrlib_case_strip",
    html='<div class="cases" role="group" aria-label="Cases" data-arrows></div>',
    css=(_HERE / "case_strip.css").read_text("utf-8"),
    js=(_HERE / "case_strip.js").read_text("utf-8"),
)


def show(session: Session, shown: Reading, on_choose: Callable[[int], None]) -> None:
    """Show the cases of a session, and call ``on_choose`` with the position of one pressed."""
    open_to_reader = {reading.position for reading in reachable(session)}
    _mount(
        key="case_strip",
        on_chosen_change=lambda: on_choose(st.session_state.case_strip.chosen),
        data={
            "items": [
                {
                    "position": reading.position,
                    "state": _state(reading),
                    "flagged": reading.flagged,
                    "open": reading.position in open_to_reader,
                    "current": reading is shown,
                }
                for reading in session.readings
            ]
        },
    )


def reachable(session: Session) -> list[Reading]:
    """The cases that a reader may open: the next one, those skipped, and to look at, those done."""
    return [
        reading
        for reading in session.readings
        if reading.stage == "done" or reading.skipped or reading is session.current
    ]


def _state(reading: Reading) -> str:
    return "skipped" if reading.skipped else "done" if reading.stage == "done" else ""
