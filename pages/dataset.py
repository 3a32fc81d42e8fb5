"""See the data set: what is in it, what could betray the classes, and every image."""

import streamlit as st

from cxrlib.data import dataset, entries
from pages.dataset_parts import (
    augmentation_tab,
    gallery_tab,
    overview_tab,
    shortcuts_tab,
    stored_tabs,
)
from pages.shared import data_folder, front_door

front_door.enter()
front_door.return_to_place("dataset")

st.title("Data set", anchor=False)
folder = data_folder.folder_in_use()
table, fingerprint = None, ""
if folder:
    try:
        fingerprint = dataset.fingerprint(folder)
        table = data_folder.load(str(folder), fingerprint)
    except entries.UnknownClassesError as error:
        data_folder.ask_unknown(error)
    except (dataset.DatasetError, OSError) as error:
        data_folder.show_problem(str(error))
if table is None or folder is None:
    data_folder.ask_for_data()
    stored_tabs.show()
    st.stop()
data_folder.show_place(table, folder)
tabs = st.tabs(
    ["Overview", "Shortcuts", "Gallery", "Augmentation"], key="data_tab", bind="query-params"
)
neighbours: list[str] = []
with tabs[0]:
    if tabs[0].open:
        overview_tab.show(table)
with tabs[1]:
    if tabs[1].open:
        shortcuts_tab.show(table, fingerprint)
with tabs[2]:
    if tabs[2].open:
        neighbours = gallery_tab.show(table, shortcuts_tab.exposure_task(fingerprint, table).result)
with tabs[3]:
    if tabs[3].open:
        augmentation_tab.show(table)
asked = st.query_params.get("data_image")
if asked:
    gallery_tab.show_radiograph(table, asked, neighbours)
