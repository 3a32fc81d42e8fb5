"""Opacities drawn into the lungs of real radiographs: findings whose place is known.

In the Kaggle set pneumonia goes along with shape, size and sharpness of the images, and networks
learn those. A normal radiograph with an opacity drawn into it differs from itself in nothing else.

Four kinds are drawn: a focal consolidation (segmental to lobar), patchy ones (bronchopneumonia),
interstitial haze spreading from the hilum, and an effusion that rises along the chest wall.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from cxrlib.synthetic.anatomy import clouds, smooth_edge

_LEAST_EXTENT = 0.4  # of an opacity's own shape, 0..1: what is fainter is not part of its mask
_SMALLEST_LUNG = 20  # pixels at half resolution
_SECOND_KIND = 0.2  # how often two kinds are drawn into one image
_MOST_WEIGHT = 0.97  # even a white lung lets a trace of what is behind it through


@dataclass(frozen=True)
class _Lung:
    """One lung, in pixels of the image at half resolution.

    Attributes:
        mask: ``bool [height, width]``.
        middle: column between the two lungs.
    """

    mask: np.ndarray
    middle: float

    @cached_property
    def span(self) -> float:
        """Side of a square of the same area."""
        return float(np.sqrt(self.mask.sum()))

    @cached_property
    def ends(self) -> tuple[int, int, int, int]:
        """Top, bottom, medial and lateral end."""
        rows, columns = np.nonzero(self.mask)
        left, right = columns.min(), columns.max()
        is_left = columns.mean() < self.middle
        medial, lateral = (right, left) if is_left else (left, right)
        return rows.min(), rows.max(), medial, lateral

    def inside(self, spill: float) -> np.ndarray:
        """1 in the lung and ``spill`` pixels around it, fading to 0, ``float32``.

        An opacity beside heart or diaphragm takes their outline away (silhouette sign): it has to
        reach a little beyond the lung that can be seen.
        """
        mask: np.ndarray = self.mask.astype(np.uint8)
        if spill >= 1:
            side = 2 * int(spill) + 1
            mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
        blurred = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(0.5, 0.02 * self.span))
        return np.clip(2 * blurred - 0.2, 0, 1)


class _Drawing:
    """What is drawn into one image, at half its resolution.

    Attributes:
        extent: the opacities' shapes, ``float32 [height, width]`` in 0..1.
        weight: how much of the lung's darkness is gone.
        texture: how much finer markings are strengthened.
    """

    def __init__(self, shape: tuple[int, int], rng: np.random.Generator) -> None:
        self.shape, self.rng = shape, rng
        self.y, self.x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
        self.extent = np.zeros(shape, np.float32)
        self.weight = np.zeros(shape, np.float32)
        self.texture = np.zeros(shape, np.float32)

    def add(
        self, extent: np.ndarray, weight: np.ndarray, texture: np.ndarray | float = 0.0
    ) -> None:
        """Draw one opacity over what is there."""
        self.extent = np.maximum(self.extent, extent)
        self.weight = np.maximum(self.weight, weight)
        self.texture = np.maximum(self.texture, texture)

    def clouds(self, reach: float) -> np.ndarray:
        """As `anatomy.clouds`, of this drawing's shape."""
        return clouds(self.shape, reach, self.rng)


def _focal(drawing: _Drawing, lungs: list[_Lung]) -> None:
    """One or two consolidations of 6 to 55 % of a lung."""
    density = drawing.rng.uniform(0.35, 0.95)
    for _ in range(drawing.rng.choice((1, 1, 1, 2, 2))):
        _consolidation(drawing, lungs, drawing.rng.uniform(0.06, 0.55), density)


def _patchy(drawing: _Drawing, lungs: list[_Lung]) -> None:
    """Three to seven small consolidations."""
    density = drawing.rng.uniform(0.35, 0.95)
    for _ in range(drawing.rng.integers(3, 8)):
        _consolidation(drawing, lungs, drawing.rng.uniform(0.02, 0.1), density)


def _consolidation(
    drawing: _Drawing, lungs: list[_Lung], share_of_lung: float, density: float
) -> None:
    """A lumpy patch, sharp or fading, anywhere in a lung."""
    rng = drawing.rng
    lung = lungs[rng.integers(len(lungs))]
    depth = cv2.distanceTransform(lung.mask.astype(np.uint8), cv2.DIST_L2, 3)
    deep = np.argwhere(depth > rng.uniform(0.05, 0.5) * depth.max())
    centre_y, centre_x = deep[rng.integers(len(deep))]
    away = np.hypot(
        (drawing.x - centre_x) * rng.uniform(0.7, 1.4),
        (drawing.y - centre_y) * rng.uniform(0.7, 1.4),
    )
    outline = away / lung.span + rng.uniform(0.02, 0.1) * drawing.clouds(0.1)
    outline += rng.uniform(0, 0.05) * drawing.clouds(0.035)
    reach = np.quantile(outline[lung.mask][::3], share_of_lung)
    inside = lung.inside(rng.uniform(0, 0.05) * drawing.shape[1])
    extent = smooth_edge(reach - outline, rng.uniform(0.05, 0.4)) * inside
    lumpy = 1 + 0.15 * drawing.clouds(rng.uniform(0.03, 0.08))
    drawing.add(extent, np.clip(density * rng.uniform(0.8, 1.2), 0.2, 0.95) * extent * lumpy)


def _haze(drawing: _Drawing, lungs: list[_Lung]) -> None:
    """Faint, uneven shadow with coarser markings around one hilum, more often around both."""
    rng = drawing.rng
    density, texture = rng.uniform(0.12, 0.45), rng.uniform(0.3, 1.6)
    height, size = rng.uniform(0.35, 0.75), rng.uniform(0.35, 0.8)
    for lung in lungs if rng.random() < 0.7 else [lungs[rng.integers(len(lungs))]]:
        top, bottom, medial, lateral = lung.ends
        centre_x = medial + (lateral - medial) / 2 * rng.uniform(0.2, 1.1)
        centre_y = top + height * (bottom - top)
        away = np.hypot(
            (drawing.x - centre_x) / max(abs(lateral - medial), 4),
            (drawing.y - centre_y) / max(bottom - top, 4) * 1.3,
        )
        away += 0.08 * drawing.clouds(0.12)
        extent = smooth_edge(size - away, rng.uniform(0.15, 0.4)) * lung.inside(1)
        uneven = np.clip(1 + 0.35 * drawing.clouds(rng.uniform(0.04, 0.1)), 0.3, 1.7)
        drawing.add(extent, density * extent * uneven, texture * extent)


def _effusion(drawing: _Drawing, lungs: list[_Lung]) -> None:
    """Fluid at the base of one lung, seldom of both, higher at the chest wall (meniscus)."""
    rng = drawing.rng
    for lung in [lungs[rng.integers(len(lungs))]] if rng.random() < 0.75 else lungs:
        top, bottom, medial, lateral = lung.ends
        outwards = np.clip((drawing.x - medial) / (lateral - medial + 1e-3), 0, 1.2)
        level = bottom - (bottom - top) * rng.uniform(0.08, 0.45)
        surface = level - (bottom - top) * rng.uniform(0.05, 0.35) * outwards**2
        surface += 0.02 * drawing.shape[0] * drawing.clouds(0.2)
        below = smooth_edge(drawing.y - surface, rng.uniform(0.01, 0.08) * drawing.shape[0])
        extent = below * lung.inside(0.04 * drawing.shape[1])
        drawing.add(extent, rng.uniform(0.6, _MOST_WEIGHT) * extent)


_KINDS: dict[Callable[[_Drawing, list[_Lung]], None], float] = {
    _focal: 0.45,
    _patchy: 0.15,
    _haze: 0.25,
    _effusion: 0.15,
}


def draw_opacities(
    pixels: np.ndarray, lungs: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw opacities as pneumonia has them into a radiograph's lungs.

    Args:
        pixels: ``uint8 [height, width]``.
        lungs: ``uint8 [rows, columns]`` over the same image, 1 where the lungs are; all 0 where
            that is not known, and nothing is drawn then.
        rng: source of chance.

    Returns:
        The image, ``uint8 [height, width]``, and where it has opacities now, ``bool``, alike.
    """
    height, width = pixels.shape
    half = (height // 2, width // 2)
    mask = cv2.resize(lungs, half[::-1], interpolation=cv2.INTER_NEAREST)
    count, numbers = cv2.connectedComponents(mask)
    found = [_Lung(numbers == number, half[1] / 2) for number in range(1, count)]
    found = [lung for lung in found if lung.mask.sum() >= _SMALLEST_LUNG]
    if not found:
        return pixels, np.zeros(pixels.shape, bool)
    drawing = _Drawing(half, rng)
    kinds, odds = list(_KINDS), list(_KINDS.values())
    for _ in range(2 if rng.random() < _SECOND_KIND else 1):
        kinds[rng.choice(len(kinds), p=odds)](drawing, found)
    weight, texture, extent = (
        cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR)
        for one in (np.clip(drawing.weight, 0, _MOST_WEIGHT), drawing.texture, drawing.extent)
    )
    return _blend(pixels, mask, weight, texture, rng), extent > _LEAST_EXTENT


def _blend(
    pixels: np.ndarray,
    lungs: np.ndarray,
    weight: np.ndarray,
    texture: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """The image with its lungs as white as the tissue between them, by ``weight``.

    Vessels behind an opacity fade; in haze, finer markings gain.
    """
    height = len(pixels)
    exact = pixels.astype(np.float32)
    tissue = _tissue(pixels, lungs) * rng.uniform(0.88, 1.05) + 8 * clouds(pixels.shape, 0.04, rng)
    plain = cv2.GaussianBlur(exact, (0, 0), 0.03 * height)
    detail = (exact - plain) * (1 - rng.uniform(0.2, 0.85) * weight)
    drawn = plain + weight * np.maximum(tissue - plain, 0) + detail
    if texture.any():
        fine = exact - cv2.GaussianBlur(exact, (0, 0), 0.012 * height)
        markings = cv2.GaussianBlur(fine, (0, 0), 0.003 * height) * rng.uniform(0.3, 1.2)
        markings += clouds(pixels.shape, 0.02, rng) * rng.uniform(2, 9)
        drawn += texture * markings
    return np.clip(drawn, 0, 255).astype(np.uint8)


def _tissue(pixels: np.ndarray, lungs: np.ndarray) -> float:
    """Grey of heart and spine: of what lies between the lungs, and no darker than a rib."""
    small = cv2.resize(pixels, lungs.shape[::-1], interpolation=cv2.INTER_AREA)
    across = np.ones((1, max(3, lungs.shape[1] // 3)), np.uint8)
    between = (cv2.morphologyEx(lungs, cv2.MORPH_CLOSE, across) > 0) & (lungs == 0)
    rib = np.quantile(small[lungs > 0], 0.9)
    return float(max(np.median(small[between]), rib) if between.any() else rib)
