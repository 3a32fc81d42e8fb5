"""How much of a heatmap lies inside the lungs, said in a sentence."""

import streamlit as st

from cxrlib import plots

# A heatmap spread evenly over a radiograph has about a third of its heat inside the lungs.
LOW_SHARE = 0.3


def show_share(share: float, heat: str = "the heat") -> None:
    words = f"{plots.percent(share)} of {heat} lies inside the lungs."
    if share < LOW_SHARE:
        st.warning(
            f"Only {words} The answer may rest on something else in the picture: do not rely on "
            "it before you have looked there yourself."
        )
    else:
        st.caption(words)
