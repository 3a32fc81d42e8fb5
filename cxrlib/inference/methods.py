"""The explanation methods in words: what each shows, what it does not, who described it.

``evidence`` is of runs whose network has such a map (``head=evidence``); the others are of all.

Apart from `explain`, so that pages and reports name a method without what computes it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


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
        "Bright regions are those that speak for pneumonia. The scale is the same for all images: "
        "at its top a region reaches the operating point by itself, or is the strongest beyond it.",
        "It learned from drawn opacities what to mark, on a grid of a dozen cells a side: it shows "
        "where, not how far a finding reaches.",
        "Pinheiro and Collobert, CVPR 2015",
        slow=False,
    ),
    "gradcam": Method(
        "Grad-CAM",
        "Bright regions are those whose high-level features raised the score for pneumonia.",
        "It is coarse (a few dozen cells across the image) and does not outline a finding.",
        "Selvaraju et al., ICCV 2017",
        slow=False,
    ),
    "saliency": Method(
        "Saliency",
        "Bright pixels are those where a small change of grey would change the score most.",
        "It marks sensitivity, up or down, and is noisy: single dots mean nothing.",
        "Simonyan et al., ICLR workshop 2014",
        slow=False,
    ),
    "gradcam++": Method(
        "Grad-CAM++",
        "Like Grad-CAM, with weights that spread better over several or larger findings.",
        "It is as coarse as Grad-CAM, and tends to light up more than was needed. In networks that "
        "end in global average pooling (all here but VGG16) it is nearly LayerCAM.",
        "Chattopadhyay et al., WACV 2018",
        slow=False,
    ),
    "layercam": Method(
        "LayerCAM",
        "Like Grad-CAM, but each place is weighted by its own gradient, which keeps it local.",
        "It shares the coarse grid, and may break one finding into several spots. In networks that "
        "end in global average pooling (all here but VGG16) it is nearly Grad-CAM++.",
        "Jiang et al., IEEE TIP 2021",
        slow=False,
    ),
    "scorecam": Method(
        "Score-CAM",
        "Regions are weighted by the score the network gives when it sees little else.",
        "It uses the strongest 64 feature maps only; a masked image is unlike any radiograph.",
        "Wang et al., CVPR workshops 2020",
    ),
    "smoothgrad": Method(
        "SmoothGrad",
        "Saliency averaged over slightly noisy copies of the image, hence less speckled.",
        "It still marks sensitivity, not disease, and hides that single maps disagree.",
        "Smilkov et al., 2017",
    ),
    "integrated_gradients": Method(
        "Integrated gradients",
        "Bright pixels are those that add to the score on the way from black to this image.",
        "Black is an arbitrary start: dark findings and dark lungs can get no share at all.",
        "Sundararajan et al., ICML 2017",
    ),
    "occlusion": Method(
        "Occlusion",
        "Bright patches are those whose covering lowers the score for pneumonia.",
        "A covered patch is unlike any radiograph, and what two places say together is missed.",
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
    """

    title: str
    good: str
    asks: str


# Maps that know nothing of the network, with which methods are compared.
RANDOM, EDGES, SAME_PLACE = "random", "edges", "same_place"
REFERENCES = {
    RANDOM: "Chance (reference)",
    EDGES: "Edges of the image (reference)",
    SAME_PLACE: "The same map for every image (reference)",
}

MEASURES = {
    "deletion": Measure(
        "Deletion area",
        "low",
        "What is left of the log-odds of pneumonia while the brightest places are blurred away, "
        "on average from none to all of the image (Petsiuk et al., BMVC 2018)?",
    ),
    "insertion": Measure(
        "Insertion area",
        "high",
        "How high are the log-odds while the brightest places are put back into a blurred "
        "picture (Petsiuk et al., BMVC 2018)?",
    ),
    "gain": Measure(
        "Insertion − deletion",
        "high",
        "Both in one number: 0 where the map knows nothing of what the score rests on.",
    ),
    "pointing": Measure(
        "Pointing game",
        "high",
        "On how many synthetic radiographs is the brightest place on the opacity, whose place is "
        "known there (Zhang et al., IJCV 2018)?",
    ),
    "drawn": Measure(
        "Pointing game, drawn in",
        "high",
        "The same on normal radiographs with opacities drawn into their lungs: on how many is the "
        "brightest place on one of them?",
    ),
    "lungs": Measure(
        "Share in the lungs",
        "high",
        "How much of the map's brightness lies inside the lung fields?",
    ),
    "untrained": Measure(
        "Likeness to an untrained network's map",
        "near 0",
        "Rank correlation with the map of the same network with random weights: a method whose "
        "maps stay alike shows the image, not what was learned (Adebayo et al., NeurIPS 2018).",
    ),
    "agreement": Measure(
        "Likeness to other methods",
        "",
        "Mean rank correlation with the maps of the other methods on the same image.",
    ),
    "box_pointing": Measure(
        "Pointing at boxes",
        "high",
        "On how many images of another hospital is the brightest place in a box that radiologists "
        "drew around an opacity?",
    ),
    "box_share": Measure(
        "Share in boxes", "high", "How much of the map's brightness lies in those boxes?"
    ),
    "box_auc": Measure(
        "Boxes, ROC-AUC of pixels",
        "high",
        "How well does brightness tell pixels in those boxes from the others of the image?",
    ),
    "seconds": Measure("Seconds an image", "low", "How long does one map take?"),
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
                str(Estimate(*found.loc[method, ["value", "low", "high"]]))
                if method in found.index
                else ""
                for method in measured.method.unique()
            ]
    return pd.DataFrame(shown)
