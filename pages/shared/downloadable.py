"""What the tabs share: figures and tables with downloads, and the image folder."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import streamlit as st

from cxrlib import plots, tables
from cxrlib.data import dataset
from pages.shared.data_folder import folder_in_use, show_problem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WHOLE_ROWS = 15
_DOTS = 115  # an inch, at most: words in figures are then as large as those beside them


def show_figure(figure: "Figure", name: str, alt: str) -> None:
    """A figure in the theme's ink, with downloads as PNG and SVG."""
    svg = plots.svg(figure, st.context.theme.type or "dark")
    st.image(svg, width=round(_DOTS * figure.get_figwidth()), alt=alt)
    offer_downloads(lambda: figure, name)


def show_chart(chart: plots.Spec, draw: Callable[[], "Figure"], name: str, alt: str) -> None:
    """A chart that answers the mouse, with downloads of the figure that ``draw`` makes of it."""
    st.vega_lite_chart(chart, width="stretch", alt=alt)
    offer_downloads(draw, name)


def offer_downloads(draw: Callable[[], "Figure"], name: str) -> None:
    """Downloads as PNG and SVG, drawn when their button is pressed."""
    with st.container(horizontal=True, gap="small"):
        for kind, mime in (("PNG", "image/png"), ("SVG", "image/svg+xml")):
            st.download_button(
                kind,
                # What draws is loaded when somebody wants it.
                partial(_drawn, draw, kind),
                f"{name}.{kind.lower()}",
                mime,
                key=f"{name}.{kind}",
                icon=":material/download:",
                type="tertiary",
                on_click="ignore",
            )


def _drawn(draw: Callable[[], "Figure"], kind: str) -> bytes | str:
    return plots.png(draw()) if kind == "PNG" else plots.svg(draw())


def show_table(
    table: pd.DataFrame,
    name: str,
    alt: str,
    *,
    csv: pd.DataFrame | None = None,
    columns: Mapping[str, Any] | None = None,
    formats: Mapping[str, Callable[[float], str]] | None = None,
) -> None:
    """A table with a download as CSV, of ``csv`` where that has more digits.

    Columns of ``formats`` stay numbers, by which they are sorted, and show what those make of them.
    """
    height: Literal["content", "auto"] = "content" if len(table) <= _WHOLE_ROWS else "auto"
    shown = table.style.format(dict(formats), na_rep="") if formats else table
    st.dataframe(
        shown, hide_index=True, alt=alt, column_config=columns, height=height, placeholder=""
    )
    st.download_button(
        "CSV",
        tables.to_csv(table if csv is None else csv),
        f"{name}.csv",
        "text/csv",
        key=f"{name}.csv",
        icon=":material/download:",
        type="tertiary",
        on_click="ignore",
    )


def image_folder() -> Path | None:
    """The data set's folder; without one the page says how to have images here, and goes on."""
    folder = folder_in_use()
    if folder is None:
        st.caption("Open the data set's folder under *Data set* to see the images here.")
        return None
    try:
        return dataset.find_root(folder)
    except dataset.DatasetError as error:
        show_problem(str(error))
        return None
