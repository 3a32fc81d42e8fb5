"""Diagnose: drop X-rays or press an example, and see what the model says and where it looks."""

import streamlit as st

from pages.diagnose_parts import intake, stored
from pages.diagnose_parts.layout import Layout
from pages.shared import front_door


def example_layout() -> Layout:
    """The layout below the drop area and the strip of examples."""
    return Layout(above="19.5rem", above_on_phone="35rem")


front_door.enter()
intake.follow_address()
top = st.empty()  # what stood here goes at once, not after all files are read
if intake.has_files():
    # The radiograph comes first; more files join from beside it.
    # Of several the strip stays in sight.
    several = len(st.session_state.get("cases", {})) > 1
    layout = Layout(above="19.5rem" if several else "10rem", above_on_phone="16rem")
    with layout.details:
        below = st.container()
        intake.ask_for_files("Add X-rays")
    layout.details = below
    if not st.session_state.get("cases"):
        st.rerun()  # the last of them was removed
    # What reading takes is imported now, so that the first page stands there at once.
    from pages.diagnose_parts import cases, reading

    reading.show_files(list(cases.uploaded().values()), layout)
else:
    with top.container(key="top"):
        drop, strip = st.columns([2, 3], gap="medium")
        with drop:
            st.title("Diagnose", anchor=False)
            intake.ask_for_files("Drop frontal chest X-rays here")
        with strip:
            st.markdown("Or look at an example")
            example = intake.choose_example()
    if "example" not in st.query_params and stored.serves():
        stored.show(example_layout())
    elif example:
        from pages.diagnose_parts import cases, reading

        layout = example_layout()
        last = st.session_state.get("example_case")
        if last is None or last.name != example.title or not cases.is_read(last):
            layout.hide_verdict()
        reading.show_case(cases.of_example(example), layout)
