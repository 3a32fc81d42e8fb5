"""Diagnose: drop X-rays or press an example, and see what the model says and where it looks."""

import streamlit as st

from pages.diagnose_parts import cases, intake, reading
from pages.shared import front_door

front_door.enter()
if intake.has_files():
    # The radiograph comes first; more files join from the panel beside it.
    layout = reading.Layout()
    with layout.intake:
        intake.ask_for_files("Add X-rays")
    shown = list(cases.uploaded().values())
    if shown:
        reading.show_files(shown, layout)
    else:
        st.rerun()
else:
    st.title("Diagnose", anchor=False)
    drop, examples = st.columns([2, 3], gap="medium")
    with drop:
        intake.ask_for_files("Drop frontal chest X-rays here")
    with examples:
        st.markdown("Or look at an example", width="content")
        example = intake.choose_example()
    if example:
        reading.show_case(cases.of_example(example), reading.Layout())
