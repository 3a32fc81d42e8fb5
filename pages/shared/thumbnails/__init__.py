"""Thumbnails to press, in a strip or a grid."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import streamlit as st

_HERE = Path(__file__).parent

_mount = st.components.v2.component(
    "cxrlib_thumbnails",
    html='<div class="thumbnails" role="group" data-arrows></div>',
    css=(_HERE / "thumbnails.css").read_text("utf-8"),
    js=(_HERE / "thumbnails.js").read_text("utf-8"),
)


@dataclass(frozen=True)
class Thumbnail:
    """One image to press.

    Attributes:
        id: what `show` reports when it is pressed.
        label: what it is, for those who cannot see it, and under the mouse.
        image: a small JPEG, or None.
        instead: what stands there where there is no image.
        caption: the line below it.
        badge: a few letters on its left, such as the class.
        mark: a few letters on its right, such as the verdict.
        current: whether it is the chosen one.
    """

    id: str
    label: str
    image: bytes | None
    instead: str = ""
    caption: str = ""
    badge: str = ""
    mark: str = ""
    current: bool = False


def show(
    thumbnails: Sequence[Thumbnail],
    on_choose: Callable[[str], None],
    *,
    key: str,
    label: str,
    layout: Literal["strip", "grid"] = "strip",
) -> None:
    """Show thumbnails, and call ``on_choose`` with the ``id`` of one that is pressed."""
    _mount(
        key=key,
        on_chosen_change=lambda: on_choose(st.session_state[key].chosen),
        data={
            "label": label,
            "layout": layout,
            # For a list, which could be a data frame, Streamlit would load pandas first.
            "items": tuple(_item(thumbnail) for thumbnail in thumbnails),
        },
    )


def _item(thumbnail: Thumbnail) -> dict[str, object]:
    item = asdict(thumbnail)
    image = item.pop("image")
    url = f"data:image/jpeg;base64,{base64.b64encode(image).decode()}" if image else ""
    return item | {"url": url, "title": thumbnail.label}
