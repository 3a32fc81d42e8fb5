"""Groups of images by the machine that they look to be from.

Which machine took an image is not recorded in the Kaggle set, but its sharpness and noise show it.
Classes and machines go together there; a run that reads the machine does badly on a group in which
they go together otherwise.
"""

from collections.abc import Iterable

import cv2
import numpy as np

from cxrlib.images.preprocess import prepare
from cxrlib.images.style import style_of

GROUPS = 4
_SIDE = 224  # pixels, of the image whose spectrum is compared
_ATTEMPTS, _ITERATIONS, _PRECISION = 10, 100, 1e-4


def groups(radiographs: Iterable[np.ndarray], *, count: int = GROUPS) -> np.ndarray:
    """The group of each image, by k-means of its radial power spectrum.

    Args:
        radiographs: ``uint8 [height, width]``, at least ``count`` of them.
        count: of groups.

    Returns:
        ``int [n]`` from 0, the largest group first.
    """
    spectra = np.stack([style_of(prepare(pixels, _SIDE)).spectrum for pixels in radiographs])
    spectra = (spectra - spectra.mean(axis=0)) / spectra.std(axis=0).clip(1e-6)
    cv2.setRNGSeed(0)
    until = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, _ITERATIONS, _PRECISION)
    _, labels, _ = cv2.kmeans(  # type: ignore[call-overload]  # None: no labels to start from
        spectra.astype(np.float32), count, None, until, _ATTEMPTS, cv2.KMEANS_PP_CENTERS
    )
    sizes = np.bincount(labels[:, 0], minlength=count)
    rank = np.argsort(np.argsort(-sizes, kind="stable"))
    return rank[labels[:, 0]]
