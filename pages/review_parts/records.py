"""Export, import and delete readings."""

import streamlit as st

from cxrlib import reviews, tables
from cxrlib.reviews import ReviewError
from pages.review_parts.parts import attempt, store
from pages.shared.permissions import allowed
from pages.shared.text import plain


def show() -> None:
    """Export, import, deletion."""
    keep, remove = st.columns(2, gap="large")
    with keep:
        _export()
        _import()
    with remove:
        _delete()


def _export() -> None:
    st.header("Export", anchor=False)
    st.markdown("Every reading of every reader, one row each, including open sessions.")
    st.caption(
        "The file holds the reference labels: readers should not open it before they finish."
    )
    with st.container(horizontal=True):
        st.download_button(
            "CSV",
            lambda: tables.to_csv(reviews.export(store())),
            "readings.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
        st.download_button(
            "JSON",
            lambda: reviews.write_json(reviews.export(store())).encode(),
            "readings.json",
            "application/json",
            icon=":material/download:",
            on_click="ignore",
        )


def _import() -> None:
    st.header("Import", anchor=False)
    file = st.file_uploader("CSV or JSON exported here", type=["csv", "json"], key="readings_file")
    if file is None or not st.button("Import", icon=":material/upload:"):
        return
    read = reviews.read_json if file.name.lower().endswith(".json") else reviews.read_csv
    try:
        table = read(file.getvalue())
    except ReviewError as error:
        st.error(str(error))
        return
    if (table.source == "folder").any() and not allowed():
        # Opened, such a session shows any image of this computer.
        st.error(
            "The file has sessions of readers' own folders, and folders are not opened on this "
            "server or by this account. Remove those sessions from it, or import it elsewhere."
        )
        return
    restored = reviews.restore(store(), table)
    here = table.uid.nunique() - restored
    st.success(f"Sessions imported: {restored}; already here: {here}.")


def _delete() -> None:
    st.header("Delete a reader", anchor=False)
    readers = {reader.name: reader for reader in store().readers()}
    st.markdown(
        "Deletes the reader with every session, answer and comment, for good. Exported files and "
        "backups stay."
    )
    if not readers:
        st.caption("There are no readers yet.")
        return
    name = st.selectbox("Reader", list(readers), index=None, key="delete_name")
    if name is None:
        return
    reader = readers[name]
    count = sum(len(session.readings) for session in reader.sessions)
    sure = st.checkbox(
        f"Delete {plain(name)}: {len(reader.sessions)} sessions, {count} cases",
        key=f"delete_sure_{reader.id}",
    )
    st.button(
        "Delete permanently",
        icon=":material/delete_forever:",
        disabled=not sure,
        on_click=attempt,
        args=(store().delete_reader, reader.id),
    )
