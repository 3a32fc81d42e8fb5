"""The verdict on one image in words. Without NumPy: a server's first page shows a stored one."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from pages.shared.text import plain


@dataclass(frozen=True)
class Panel:
    """What stands beside an image.

    Attributes:
        heading: mark, verdict and probability.
        bar: the probability on a bar, as HTML.
        caption: what the bar shows.
        reference: the reference label, and whether the model was right; empty where nobody knows.
        trust: three lines on how far to trust the verdict.
        run: name of the run that read the image.
    """

    heading: str
    bar: str
    caption: str
    reference: str
    trust: Sequence[str]
    run: str

    def show_headline(self, name: str, note: str = "") -> None:
        """The verdict with the name of its image, and what is to be said of that image."""
        st.markdown(f"**{plain(name)}**{note}")
        st.header(self.heading, anchor=False)
        st.html(self.bar)
        if self.reference:
            st.markdown(self.reference)

    def show_trust(self) -> None:
        """What the bar shows, and how far to trust the verdict."""
        st.caption(self.caption)
        st.markdown("**How far to trust this**")
        st.markdown("\n".join(f"- {line}" for line in self.trust))
        st.caption(
            f"Read by the run {plain(self.run)}. For education and research, not for diagnosis."
        )
