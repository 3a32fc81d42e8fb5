"""Where things stand on the Diagnose page: the radiograph, large, and its verdict in sight."""

import streamlit as st

# Beside each other on a wide screen; on a phone the radiograph, its verdict, and then the rest.
_STYLE = """<style>
.stMainBlockContainer { padding-top: 4rem; }
.stMainBlockContainer h1 { padding: 0; font-size: 1.4rem !important; }
.st-key-diagnosis {
  display: grid; gap: 0 2rem; --above: %(above)s;
  grid-template: "image headline" auto "image details" auto "strip details" 1fr
    / minmax(0, 13fr) minmax(0, 6fr);
}
.st-key-diagnosis > :has(> .st-key-headline) { grid-area: headline; }
.st-key-diagnosis > :has(> .st-key-image) { grid-area: image; }
.st-key-diagnosis > :has(> .st-key-strip) { grid-area: strip; }
.st-key-diagnosis > :has(> .st-key-details) { grid-area: details; }
.st-key-headline { gap: 0.35rem; padding-bottom: 0.75rem; }
.st-key-headline h1 { padding: 0 0 0.7rem; }
.st-key-headline h2 { padding: 0 0 0.6rem; font-size: 1.3rem !important; }
.st-key-strip { padding: 0.5rem 0; gap: 0.5rem; }
.st-key-details { gap: 0.75rem; }
.st-key-details li { font-size: 0.95rem; }
@media (max-width: 800px) {
  .st-key-diagnosis {
    --above: %(above_on_phone)s;
    grid-template: "image" auto "headline" auto "strip" auto "details" auto / minmax(0, 1fr);
  }
  .st-key-diagnosis h1 { position: absolute; clip-path: inset(50%%); white-space: nowrap; }
  .st-key-computing {
    position: fixed; inset: auto 0 0; z-index: 10; padding: 0.5rem 1rem;
    background: Canvas;
  }
  .st-key-top, .st-key-top [data-testid=stHorizontalBlock] { gap: 0.5rem; }
  .st-key-top [data-testid=stFileUploaderDropzone] {
    flex-direction: row; align-items: center; min-height: 0; padding: 0.5rem 0.75rem;
  }
}
.stElementContainer:has(.being-read) { position: absolute; }
.stMain:has(.being-read) :is(
  .st-key-headline > :not(:has(h1)), .st-key-details > :not(:has([data-testid=stFileUploader]))
) { visibility: hidden; }
</style>"""


class Layout:
    """The page's parts, in the order in which they are read.

    Attributes:
        headline: the verdict.
        image: the viewer.
        strip: of several files, to choose one.
        details: how far to trust the verdict, and what can be done next.
    """

    def __init__(self, *, above: str, above_on_phone: str) -> None:
        """Lay out the page.

        Args:
            above: what stands above and below the radiograph itself, as a length in CSS: what is
                left of the screen's height is the radiograph's.
            above_on_phone: the same where the verdict stands below the radiograph.
        """
        st.html(_STYLE % {"above": above, "above_on_phone": above_on_phone})
        self._cover = st.empty()
        with st.container(key="diagnosis"):
            self.headline = st.container(key="headline")
            self.image = st.container(key="image")
            self.strip = st.container(key="strip")
            self.details = st.container(key="details")

    def hide_verdict(self) -> None:
        """Until `show_verdict`: what stands there is still another image's."""
        self._cover.html('<i class="being-read"></i>')

    def show_verdict(self) -> None:
        self._cover.empty()
