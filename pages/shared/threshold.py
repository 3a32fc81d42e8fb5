"""The threshold of the operating point in use, below its name in the sidebar."""

import streamlit as st

from cxrlib import runs
from cxrlib.formatting import rate
from cxrlib.runs.operating_points import POINT_TITLES


def show_threshold(run_name: str, point: str) -> None:
    """Say which threshold a run has at an operating point, and which others are the same."""
    try:
        points = runs.find(run_name).metrics["operating_points"]
    except runs.RunError:
        return  # the page says what is wrong with the run
    threshold = points[point]["threshold"]
    same = [
        f"*{title}*"
        for name, title in POINT_TITLES.items()
        if name != point and points[name]["threshold"] == threshold
    ]
    also = f", the same as for {' and '.join(same)}" if same else ""
    st.caption(f"Threshold {rate(threshold)}{also}")
