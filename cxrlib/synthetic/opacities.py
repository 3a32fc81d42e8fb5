"""Opacities drawn into the lungs of real radiographs: consolidations whose place is known.

In the Kaggle set pneumonia goes along with shape, size and sharpness of the pictures, and networks
learn those. A normal radiograph with an opacity drawn into it differs from itself in nothing else.
"""

import cv2
import numpy as np

from cxrlib.synthetic.anatomy import clouds, smooth_edge

_NUMBERS = (1, 1, 1, 2, 3)  # most pneumonias of children are in one place
_LEAST_WEIGHT = 0.3  # of the opacity against the lung: what is fainter is not part of its mask


def draw_opacities(
    pixels: np.ndarray, lungs: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Fill parts of the lungs with what is as white as the tissue between them.

    Each of one to three opacities lies in one lung, takes 8 to 50 % of it, has a lumpy outline
    that is sharp or fades, and hides the vessels behind it in part.

    Args:
        pixels: ``uint8 [height, width]``.
        lungs: ``uint8 [rows, columns]`` over the same picture, 1 where the lungs are; all 0 where
            that is not known, and nothing is drawn then.
        rng: source of chance.

    Returns:
        The picture, ``uint8 [height, width]``, and where it has opacities now, ``bool``, alike.
    """
    if not lungs.any():
        return pixels, np.zeros(pixels.shape, bool)
    height, width = pixels.shape
    lungs = cv2.resize(lungs, (width, height), interpolation=cv2.INTER_NEAREST)
    count, numbers = cv2.connectedComponents(lungs)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    weight = np.zeros(pixels.shape, np.float32)
    for _ in range(rng.choice(_NUMBERS)):
        lung = numbers == rng.integers(1, count)
        span = np.sqrt(lung.sum())
        depth = cv2.distanceTransform(lung.astype(np.uint8), cv2.DIST_L2, 3)
        deep = np.argwhere(depth > 0.25 * depth.max())
        centre_y, centre_x = deep[rng.integers(len(deep))]
        away = np.hypot(
            (x - centre_x) * rng.uniform(0.75, 1.3), (y - centre_y) * rng.uniform(0.75, 1.3)
        )
        outline = away / span + rng.uniform(0.02, 0.1) * clouds(pixels.shape, 0.1, rng)
        outline += rng.uniform(0, 0.05) * clouds(pixels.shape, 0.035, rng)
        reach = np.quantile(outline[lung], rng.uniform(0.08, 0.5))
        inside = cv2.GaussianBlur(lung.astype(np.float32), (0, 0), 0.02 * span)
        one = smooth_edge(reach - outline, rng.uniform(0.05, 0.4)) * np.clip(2 * inside - 0.2, 0, 1)
        lumpy = 1 + 0.15 * clouds(pixels.shape, rng.uniform(0.03, 0.08), rng)
        weight = np.maximum(weight, np.clip(one * lumpy * rng.uniform(0.5, 0.95), 0, 0.95))
    tissue = _tissue(pixels, lungs) * rng.uniform(0.9, 1.05) + 8 * clouds(pixels.shape, 0.04, rng)
    plain = cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), 0.03 * height)
    detail = (pixels - plain) * (1 - 0.35 * weight)
    drawn = plain + weight * np.maximum(tissue - plain, 0) + detail
    return np.clip(drawn, 0, 255).astype(np.uint8), weight > _LEAST_WEIGHT


def _tissue(pixels: np.ndarray, lungs: np.ndarray) -> float:
    """Grey of heart and spine: of what lies between the lungs, and no darker than a rib."""
    across = np.ones((1, max(3, pixels.shape[1] // 3)), np.uint8)
    between = (cv2.morphologyEx(lungs, cv2.MORPH_CLOSE, across) > 0) & (lungs == 0)
    rib = np.quantile(pixels[lungs > 0], 0.9)
    return float(max(np.median(pixels[between]), rib) if between.any() else rib)
