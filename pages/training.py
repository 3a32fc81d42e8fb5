"""Train networks: start, watch, stop and resume runs."""

import streamlit as st

from pages.shared import front_door
from pages.shared.permissions import why_not
from pages.training_parts import actions, finished, in_progress, new_run, sweeps_tab

front_door.enter()
st.title("Train", anchor=False)
if reason := why_not("train"):
    st.info(f"{reason} The finished runs are shown here.", icon=":material/lock:")
    finished.show(may_change=False)
    st.stop()
tabs = st.tabs(
    ["New run", actions.IN_PROGRESS, "Finished", "Sweeps"],
    key="training_tab",
    bind="query-params",
)
with tabs[0]:
    if tabs[0].open:
        actions.show_problem()
        new_run.show()
with tabs[1]:
    if tabs[1].open:
        in_progress.show()
with tabs[2]:
    if tabs[2].open:
        actions.show_problem()
        finished.show(may_change=True)
with tabs[3]:
    if tabs[3].open:
        sweeps_tab.show()
