"""Read X-rays: drop pictures in, get a probability, heatmaps and a report."""

import streamlit as st

from pages.diagnose_parts import intake
from pages.shared import front_door

front_door.enter()
st.title("Read a chest X-ray", anchor=False)
upload, example = st.columns([3, 2])
with upload:
    files = intake.uploaded_files()
kept = intake.kept_cases(files)
with example:
    chosen = None if files else intake.chosen_example()
    if kept and not chosen:
        intake.offer_to_take_away(kept)
if not (files or chosen or kept):
    st.markdown(
        "Drop one or several frontal chest X-rays above: JPEG, PNG, BMP, TIFF, WebP or DICOM. You "
        "get a calibrated probability of pneumonia, where on the picture it comes from, and how "
        "far to trust it. Pictures stay in this server's memory while the page is open, and are "
        "neither stored nor logged."
    )
    st.stop()
# What reading takes is imported now, so that the empty page stands there at once.
from pages.diagnose_parts import cases, reading  # noqa: E402

reading.show([cases.of_example(chosen)] if chosen else kept + cases.of_files(files))
