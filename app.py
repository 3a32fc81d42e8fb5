"""The front door: the server, and on every page its setup, navigation and the run in use.

``streamlit run`` imports this file when the server starts, and runs it as a script for each page.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from streamlit import net_util

from cxrlib import runs
from cxrlib.runs.operating_points import DEFAULT_POINT, POINT_TITLES
from pages.shared import memory, uploads
from pages.shared.permissions import show_account
from pages.shared.runs_at_hand import is_synthetic
from pages.shared.threshold import show_threshold

# Before the first visitor: set up by a page, this would come too late for who connects without one.
uploads.set_up()
memory.set_up()
# A connection that another site's page opens would make the server ask elsewhere for its address.
net_util.get_external_ip = lambda: None

# Where the menu covers the page, Streamlit leaves it open over the page that was chosen in it.
_CLOSE_MENU = """<script>
document.onclick = ({ target }) => {
  if (innerWidth < 768 && target.closest("[data-testid=stSidebarNavLink]")) {
    document.querySelector("[data-testid=stSidebarCollapseButton] button").click();
  }
};
</script>"""


def show_page() -> None:
    # Without an icon the browser would fetch the page's symbol from elsewhere; a character it
    # draws.
    st.set_page_config(
        page_title="cxrlib · pneumonia X-ray explorer",
        page_icon="🩻",
        layout="wide",
        # A reader of cases needs the room.
        initial_sidebar_state="collapsed" if "session" in st.query_params else "auto",
    )
    # The X-ray shall be the largest thing on the page: Streamlit leaves much room around it.
    st.html(
        "<style>.stMainBlockContainer{padding:2.5rem clamp(1rem,3vw,3rem)}"
        # Tables of the model card fit a phone: what scrolls by itself, no key reaches.
        "@media(max-width:640px){[data-testid=stMarkdownContainer] :is(td,th){padding:.2rem;"
        "font-size:.7rem;overflow-wrap:anywhere}}"
        # Where nothing can hover, a table's toolbar would always stand over the words above it, and
        # there are no keys.
        "@media(hover:none){[data-testid=stFullScreenFrame]:has([data-testid=stDataFrame]) "
        "[data-testid=stElementToolbar],button kbd{display:none!important}}"
        "h1{font-size:1.9rem!important}h2{font-size:1.4rem!important}"
        "h3{font-size:1.2rem!important}h4{font-size:1rem!important}"
        # White words need a darker ground than the dark theme's accent colour, which has to be
        # bright enough to be read itself.
        "button[kind^=primary]:enabled{background:#0b7285;border-color:#0b7285}"
        "button[kind^=primary]:enabled:hover{background:#095c6b}"
        "button[kind^=primary] kbd{color:#fff!important;opacity:1!important}</style>"
    )
    page = st.navigation(
        [
            st.Page(
                "pages/diagnose.py", title="Diagnose", icon=":material/radiology:", default=True
            ),
            st.Page("pages/dataset.py", title="Data set", icon=":material/photo_library:"),
            st.Page("pages/training.py", title="Train", icon=":material/model_training:"),
            st.Page("pages/metrics.py", title="Metrics", icon=":material/monitoring:"),
            st.Page("pages/review.py", title="Reading room", icon=":material/rate_review:"),
            st.Page("pages/about.py", title="About", icon=":material/info:"),
        ]
    )
    finished = runs.finished()
    damaged = {run.name for run in finished if run.problem}
    with st.sidebar:
        if finished:
            run_in_use = st.selectbox(
                "Run in use",
                [run.name for run in finished],
                format_func=lambda name: f"{name} (damaged)" if name in damaged else name,
                key="run",
                bind="query-params",
                persist_state="session",
                help="The trained network that reads the images.",
            )
            if is_synthetic(run_in_use):
                st.caption(":material/science: Trained on synthetic radiographs, not on patients.")
            point = st.selectbox(
                "Operating point",
                list(POINT_TITLES),
                index=list(POINT_TITLES).index(DEFAULT_POINT),
                format_func=POINT_TITLES.__getitem__,
                key="point",
                bind="query-params",
                persist_state="session",
                help="The threshold that the probability is compared with, chosen on validation "
                "images: balanced (Youden's index), or low enough to miss almost no pneumonia.",
            )
            show_threshold(run_in_use, point)
        show_account()
        st.caption("For education and research. Not for diagnosis.")
        st.html(_CLOSE_MENU, unsafe_allow_javascript=True)
    if "numpy" in sys.modules:
        # Streamlit takes NumPy along to hand out an image, for which the first page of a fresh
        # server does not wait: it gets its own icon at the next click.
        st.set_page_config(page_icon="assets/icon.png")
    st.session_state.entered = True
    page.run()


if __name__ == "__main__":
    show_page()
else:

    @asynccontextmanager
    async def _import_first_page(_: st.App) -> AsyncIterator[None]:
        """Import what the first page needs before anybody asks for it.

        Not sooner: `st.cache_data` looks for the server's runtime, which is there by now.
        """
        from streamlit import emojis, material_icon_names  # noqa: F401

        from pages.diagnose_parts import intake, stored  # noqa: F401

        yield

    # What `streamlit run` looks for, and serves.
    app = st.App(__file__, lifespan=_import_first_page)
