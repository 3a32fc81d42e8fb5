"""How much of a heatmap lies inside the lungs, said in a sentence."""

import streamlit as st

from cxrlib import plots

# A heatmap spread evenly over a radiograph has about a third of its heat inside the lungs.
LOW_SHARE = 0.3


def share_warning(share: float, heat: str = "the heat") -> str:
    """What to be warned of; empty where enough of the heat lies inside the lungs."""
    if share >= LOW_SHARE:
        return ""
    return (
        f"Only {_words(share, heat)} The answer may rest on something else in the picture: do not "
        "rely on it before you have looked there yourself."
    )


def show_share(share: float, heat: str = "the heat") -> None:
    if warning := share_warning(share, heat):
        st.warning(warning)
    else:
        st.caption(_words(share, heat))


def _words(share: float, heat: str) -> str:
    return f"{plots.percent(share)} of {heat} lies inside the lungs."
