"""The explanation methods in words: what each shows, what it does not, who described it.

``evidence`` is of runs whose network has such a map (``head=evidence``); the others are of all.

Apart from `explain`, so that pages and reports name a method without what computes it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from cxrlib import formatting

if TYPE_CHECKING:
    import pandas as pd

    from cxrlib.metrics import Estimate


@dataclass(frozen=True)
class Method:
    """An explanation method as a reader meets it.

    Attributes:
        title: its name in the literature.
        shows: one sentence on what a bright place means.
        limits: one sentence on what it does not mean.
        paper: where it was described.
        slow: whether it takes many passes through the network.
    """

    title: str
    shows: str
    limits: str
    paper: str
    slow: bool = True


METHODS = {
    "evidence": Method(
        "Evidence",
        "Bright regions count toward pneumonia. The scale is the same for all images: at its top, "
        "a region on its own reaches or exceeds the operating point.",
        "The grid is coarse, about a dozen cells across: the map shows where a finding is, not its "
        "outline.",
        "Pinheiro and Collobert, CVPR 2015",
        slow=False,
    ),
    "gradcam": Method(
        "Grad-CAM",
        "Bright regions contain high-level features that raised the score for pneumonia.",
        "The map is coarse (a few dozen cells across at most) and does not outline findings.",
        "Selvaraju et al., ICCV 2017",
        slow=False,
    ),
    "saliency": Method(
        "Saliency",
        "At bright pixels, a small change of grey level would change the score most.",
        "The map shows sensitivity in either direction and is noisy: single dots mean nothing.",
        "Simonyan et al., ICLR workshop 2014",
        slow=False,
    ),
    "gradcam++": Method(
        "Grad-CAM++",
        "Like Grad-CAM, with weights that cover several or larger findings better.",
        "It is as coarse as Grad-CAM and tends to highlight too much. In networks that end in "
        "global average pooling (all here except VGG16) it is almost the same as LayerCAM.",
        "Chattopadhyay et al., WACV 2018",
        slow=False,
    ),
    "layercam": Method(
        "LayerCAM",
        "Like Grad-CAM, but each cell is weighted by its own gradient, which keeps the map local.",
        "It shares the coarse grid and may split one finding into several spots. In networks that "
        "end in global average pooling (all here except VGG16) it is almost the same as "
        "Grad-CAM++.",
        "Jiang et al., IEEE TIP 2021",
        slow=False,
    ),
    "scorecam": Method(
        "Score-CAM",
        "Each region is weighted by the score that the network gives when it sees little else.",
        "It uses only the 64 strongest feature maps, and a masked image looks like no radiograph.",
        "Wang et al., CVPR workshops 2020",
    ),
    "smoothgrad": Method(
        "SmoothGrad",
        "Saliency averaged over slightly noisy copies of the image, and so less speckled.",
        "It still shows sensitivity, not disease, and hides how much the single maps disagree.",
        "Smilkov et al., 2017",
    ),
    "integrated_gradients": Method(
        "Integrated gradients",
        "Bright pixels add to the score on the way from a black image to this one.",
        "Black is an arbitrary baseline: dark findings and dark lungs may get no credit at all.",
        "Sundararajan et al., ICML 2017",
    ),
    "occlusion": Method(
        "Occlusion",
        "Covering a bright patch lowers the score for pneumonia.",
        "A covered patch looks like no radiograph, and findings that only count together are "
        "missed.",
        "Zeiler and Fergus, ECCV 2014",
    ),
}


@dataclass(frozen=True)
class Measure:
    """One way to check explanation methods, as a reader meets it.

    Attributes:
        title: its name.
        good: what a good method reaches.
        asks: the question that it answers, and who put it.
        shown: its estimate as text.
    """

    title: str
    good: str
    asks: str
    shown: Callable[["Estimate"], str] = formatting.rate


# Maps that know nothing of the network, with which methods are compared.
RANDOM, EDGES, SAME_PLACE = "random", "edges", "same_place"
REFERENCES = {
    RANDOM: "Chance (reference)",
    EDGES: "Image edges (reference)",
    SAME_PLACE: "Same map for every image (reference)",
}

_to_hundredths = partial(formatting.decimal, digits=2)
MEASURES = {
    "deletion": Measure(
        "Deletion area",
        "low",
        "How much of the log-odds of pneumonia remains as the brightest regions are blurred away, "
        "averaged from none to all of the image (Petsiuk et al., BMVC 2018)?",
        _to_hundredths,
    ),
    "insertion": Measure(
        "Insertion area",
        "high",
        "How high are the log-odds as the brightest regions are restored in a blurred image "
        "(Petsiuk et al., BMVC 2018)?",
        _to_hundredths,
    ),
    "gain": Measure(
        "Insertion − deletion",
        "high",
        "Both in one number: 0 if the map knows nothing about what the score depends on.",
        _to_hundredths,
    ),
    "pointing": Measure(
        "Pointing game",
        "high",
        "On how many synthetic radiographs does the brightest point lie on the opacity, whose "
        "position is known (Zhang et al., IJCV 2018)?",
    ),
    "drawn": Measure(
        "Pointing game, drawn opacities",
        "high",
        "The same on normal radiographs with opacities drawn into their lungs: on how many does "
        "the brightest point lie on one of them?",
    ),
    "lungs": Measure(
        "Share in the lungs",
        "high",
        "How much of the map's brightness lies inside the lung fields?",
    ),
    "untrained": Measure(
        "Similarity to an untrained network's map",
        "near 0",
        "Rank correlation with the map of the same network with random weights: a method whose "
        "maps stay similar shows the image, not what was learned (Adebayo et al., NeurIPS 2018).",
        formatting.decimal,
    ),
    "agreement": Measure(
        "Similarity to other methods",
        "",
        "Mean rank correlation with the maps of the other methods on the same image.",
        formatting.decimal,
    ),
    "box_pointing": Measure(
        "Pointing at boxes",
        "high",
        "On how many images of another hospital does the brightest point lie in a box that "
        "radiologists drew around an opacity?",
    ),
    "box_share": Measure(
        "Share in boxes", "high", "How much of the map's brightness lies in those boxes?"
    ),
    "box_auc": Measure(
        "Boxes, ROC-AUC of pixels",
        "high",
        "How well does brightness separate the pixels in those boxes from the rest of the image?",
        formatting.decimal,
    ),
    "seconds": Measure("Seconds per image", "low", "How long does one map take?", _to_hundredths),
}


def readable(measured: "pd.DataFrame") -> "pd.DataFrame":
    """What `faithfulness.measure` found as text for people: a method a row, a measure a column."""
    import pandas as pd  # the page that names the methods does not wait for it

    from cxrlib.metrics import Estimate

    shown = {
        "method": [
            METHODS[name].title if name in METHODS else REFERENCES.get(name, name)
            for name in measured.method.unique()
        ]
    }
    for name, measure in MEASURES.items():
        found = measured[measured.measure == name].set_index("method")
        if not found.empty:
            shown[measure.title] = [
                measure.shown(Estimate(*found.loc[method, ["value", "low", "high"]]))
                if method in found.index
                else ""
                for method in measured.method.unique()
            ]
    return pd.DataFrame(shown)
