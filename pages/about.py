"""What this is: the model card of the run in use, method, limits, privacy."""

import re

import streamlit as st

from cxrlib import runs
from cxrlib.inference.methods import METHODS
from pages.shared import front_door

_MOST_ROWS = 30

front_door.enter()

st.title("About", anchor=False)
# Longer lines are hard to read.
st.html("<style>.stMain [data-testid=stMarkdownContainer] { max-width: 55rem; }</style>")
st.markdown(
    """\
**cxrlib** reads frontal chest X-rays for pneumonia with a neural network, shows which parts of the
image led to its result, and says how far to trust it. It is **for education and research, not for
diagnosis**.

## How an image is read
The image is converted to grey levels, turned upright and made square. One network finds the lung
fields; the network of the run in use then reads the box around them, or the whole image, depending
on how it was trained. Its output is calibrated (temperature and class offsets; Alexandari et al.,
ICML 2020) on images of patients it was not trained on, and compared with a threshold chosen on the
same images. Where the probability lies within the threshold's 95 % interval, the verdict is
*uncertain*. An image without lungs, or unlike the training images, is *rejected*, unless you choose
*Analyze anyway*.

## Privacy
Uploaded images stay in the server's memory while your page is open and for two minutes more, in
case its connection comes back. They are not written to disk, not logged and not sent anywhere. Only
the image in a DICOM file is used; its names, dates and numbers are neither shown nor kept. The
*Reading room* keeps the name a reader gives, answers, comments and times, and for images in a
reader's own folder the path of each file, until they are deleted there. Files you download carry
the name of your file. Where people log in, the name and address from their identity provider stay
in a signed cookie in their browser, for at most 30 days; they are not written to the server's disk.
"""
)
st.markdown("## Heatmaps")
st.markdown(
    "\n".join(
        f"- **{method.title}** ({method.paper}). {method.shows} {method.limits}"
        for method in METHODS.values()
    )
)
st.markdown(
    """\
How far to trust each one is measured: what happens to the score when the bright regions are blurred
or restored (Petsiuk et al., BMVC 2018), whether they find an opacity at a known position (Zhang et
al., IJCV 2018), and whether the map changes when the network's weights are randomized (Adebayo et
al., NeurIPS 2018). The figures of the run in use are on *Metrics*, under *Robustness*.
"""
)
if "run" in st.session_state:
    try:
        # It may come from elsewhere: an image in it would be fetched from there.
        card = runs.find(st.session_state.run).card.replace("![", "!\\[")
    except runs.RunError as error:
        st.error(str(error))
    else:
        # Its headings stand one step below the page's own.
        first, *sections = re.split("^(?=## )", card, flags=re.MULTILINE)
        with st.container(border=True):
            st.markdown(re.sub("^#", "##", first, flags=re.MULTILINE))
            for section in sections:
                title, _, text = section.removeprefix("## ").partition("\n")
                # Dozens of perturbations are a table for those who look for it.
                folded = text.count("\n| ") > _MOST_ROWS
                with st.expander(title) if folded else st.container():
                    if not folded:
                        st.markdown(f"### {title}")
                    st.markdown(re.sub("^###", "####", text, flags=re.MULTILINE))
