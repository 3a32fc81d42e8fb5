"""The explanation methods in words: what each shows, what it does not, who described it.

Without TensorFlow, so that pages and reports can name a method before one is computed.
"""

from dataclasses import dataclass


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
    "gradcam": Method(
        "Grad-CAM",
        "Bright regions are those whose high-level features raised the score for pneumonia.",
        "It is coarse (a few dozen cells across the picture) and does not outline a finding.",
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
        "It is as coarse as Grad-CAM, and tends to light up more than was needed.",
        "Chattopadhyay et al., WACV 2018",
    ),
    "layercam": Method(
        "LayerCAM",
        "Like Grad-CAM, but each place is weighted by its own gradient, which keeps it local.",
        "It shares the coarse grid, and may break one finding into several spots.",
        "Jiang et al., IEEE TIP 2021",
    ),
    "scorecam": Method(
        "Score-CAM",
        "Regions are weighted by the score the network gives when it sees little else.",
        "It uses the strongest 64 feature maps only; a masked picture is unlike any radiograph.",
        "Wang et al., CVPR workshops 2020",
    ),
    "smoothgrad": Method(
        "SmoothGrad",
        "Saliency averaged over slightly noisy copies of the picture, hence less speckled.",
        "It still marks sensitivity, not disease, and hides that single maps disagree.",
        "Smilkov et al., 2017",
    ),
    "integrated_gradients": Method(
        "Integrated gradients",
        "Bright pixels are those that add to the score on the way from black to this picture.",
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
