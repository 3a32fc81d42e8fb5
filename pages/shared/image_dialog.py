"""One image of a list, large in a dialog, with the way to its neighbours."""

from collections.abc import Callable, Sequence

import streamlit as st

# What stands above and below the radiograph.
_STYLE = "<style>[role=dialog] { --above: 15rem; }</style>"


def show(
    title: str,
    *,
    parameter: str,
    shown: str,
    neighbours: Sequence[str],
    image: Callable[[Callable[[int], None]], None],
    facts: Callable[[], None],
) -> None:
    """Show the image that the address asks for.

    Args:
        title: of the dialog.
        parameter: of the address, which names the image; gone when the dialog is closed.
        shown: its name.
        neighbours: the names in the list's order, ``shown`` among them or not.
        image: shows the image, and is given what goes on by some: 1 to the next, -1 back.
        facts: shows what is known of it.
    """
    place = neighbours.index(shown) if shown in neighbours else None

    def has(by: int) -> bool:
        return place is not None and 0 <= place + by < len(neighbours)

    def step(by: int) -> None:
        if place is not None and has(by):
            st.query_params[parameter] = neighbours[place + by]

    def close() -> None:
        st.query_params.pop(parameter, None)

    @st.dialog(title, width="large", on_dismiss=close)
    def dialog() -> None:
        if st.query_params.get(parameter) != shown:
            st.rerun()  # on to another
        st.html(_STYLE)
        large, beside = st.columns([5, 2], gap="medium")
        with large:
            image(step)
        with beside:
            facts()
            back, on = st.columns(2, wrap=False)
            for column, by, words, icon in (
                (back, -1, "Previous", ":material/arrow_back:"),
                (on, 1, "Next", ":material/arrow_forward:"),
            ):
                column.button(
                    words,
                    icon=icon,
                    width="stretch",
                    disabled=not has(by),
                    on_click=step,
                    args=(by,),
                )

    dialog()
