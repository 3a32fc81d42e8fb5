"""Random geometry, exposure and looks for training images.

Works on ``uint8 [height, width]`` with NumPy and OpenCV, outside the network: the pages preview
it without loading Keras, and it overlaps with the training step on any backend. All geometry is
one resampling, so that an image is blurred once, not once a transform.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import cv2
import numpy as np

from cxrlib.images.preprocess import WHOLE, Box, frame, into_frame
from cxrlib.images.style import Style, lend
from cxrlib.synthetic.anatomy import clouds


@dataclass(frozen=True)
class Augmentation:
    """How far each random change may go; zero switches it off.

    Attributes:
        rotation: degrees either way.
        shift: share of the side, either way, in both directions.
        zoom: share larger or smaller, both sides alike.
        stretch: share by which width and height change independently. In the Kaggle set the
            aspect ratio alone separates the classes, so squashed images must not tell it.
        flip: mirror left and right half the time. Off in the presets: the heart's side is
            anatomy.
        brightness: share of the grey scale, either way.
        contrast: share more or less.
        gamma: power of two, either way.
        blur: largest standard deviation of a Gaussian, as a share of the side, for half the
            images.
        noise: largest standard deviation in grey levels at 168 px, for half the images; larger
            images have smaller pixels, which are the noisier for it.
        resolution: fewest pixels along the side to which half the images are shrunk before they
            are enlarged again.
        erase: largest share of the image's area painted over, for a third of the images
            (Zhong et al., AAAI 2020).
        style: share of the images that take on another image's style (`style.lend`), where one
            is given.
        markers: share of the images that letters and texts are painted into, as machines do.
        veil: largest standard deviation in grey levels of a smooth cloud over a third of the
            images.
    """

    rotation: float = 0
    shift: float = 0
    zoom: float = 0
    stretch: float = 0
    flip: bool = False
    brightness: float = 0
    contrast: float = 0
    gamma: float = 0
    blur: float = 0
    noise: float = 0
    resolution: float = 0
    erase: float = 0
    style: float = 0
    markers: float = 0
    veil: float = 0


PRESETS = {
    "none": Augmentation(),
    "light": Augmentation(
        rotation=5, shift=0.04, zoom=0.06, stretch=0.05, brightness=0.05, contrast=0.1, gamma=0.15
    ),
    "strong": Augmentation(
        rotation=10,
        shift=0.08,
        zoom=0.12,
        stretch=0.25,
        brightness=0.12,
        contrast=0.25,
        gamma=0.6,
        blur=0.016,
        noise=15,
        resolution=48,
        erase=0.08,
    ),
    "machines": Augmentation(
        rotation=10,
        shift=0.08,
        zoom=0.12,
        stretch=0.25,
        brightness=0.12,
        contrast=0.25,
        gamma=0.6,
        blur=0.012,
        noise=12,
        resolution=64,
        erase=0.08,
        style=0.7,
        markers=0.25,
        veil=15,
    ),
}


_SHARE_DEGRADED = 1 / 2
_NOISE_SIDE = 168
_SHARE_ERASED = 1 / 3
_SHARE_REPAINTED = 0.6
_SHARE_VEILED = 1 / 3
_LEVELS = np.linspace(0, 1, 256)
# Two of which add up to a standard normal number: 256 of its quantiles, over the root of two.
_QUANTILES = np.array([NormalDist().inv_cdf((place + 0.5) / 256) for place in range(256)])
_HALF_NORMAL = (_QUANTILES / _QUANTILES.std() / np.sqrt(2)).astype(np.float32)
_MARKERS = ("R", "L", "R", "AP", "75 kV", "12:41", "PORT", "S")


def recipe_of(preset: str, amounts: Mapping[str, Any]) -> Augmentation:
    """A preset with some of its amounts set otherwise.

    >>> recipe_of("light", {"rotation": 20, "flip": True}).shift
    0.04
    """
    return replace(PRESETS[preset], **amounts)


def describe(recipe: Augmentation) -> str:
    r"""A recipe in words.

    >>> describe(Augmentation(rotation=5, stretch=0.05, gamma=0.15))
    'rotation ±5°, width and height ±5\xa0% each, gamma 0.90 to 1.11'
    >>> describe(Augmentation())
    'nothing is changed'
    """
    parts = [
        (recipe.rotation, f"rotation ±{recipe.rotation:g}°"),
        (recipe.shift, f"shift ±{recipe.shift:.0%}"),
        (recipe.zoom, f"zoom ±{recipe.zoom:.0%}"),
        (recipe.stretch, f"width and height ±{recipe.stretch:.0%} each"),
        (recipe.flip, "mirrored half the time"),
        (recipe.brightness, f"brightness ±{recipe.brightness:.0%}"),
        (recipe.contrast, f"contrast ±{recipe.contrast:.0%}"),
        (recipe.gamma, f"gamma {2**-recipe.gamma:.2f} to {2**recipe.gamma:.2f}"),
        (recipe.blur, f"half blurred by up to {recipe.blur:.1%} of the side"),
        (
            recipe.noise,
            f"half with noise of up to {recipe.noise:g} grey levels at {_NOISE_SIDE} px",
        ),
        (recipe.resolution, f"half reduced to as little as {recipe.resolution:g} px and enlarged"),
        (recipe.erase, f"a third with up to {recipe.erase:.0%} of the area erased"),
        (recipe.style, f"{recipe.style:.0%} with another image's sharpness and grey levels"),
        (recipe.markers, f"{recipe.markers:.0%} with letters and text added"),
        (recipe.veil, f"a third with a haze of up to {recipe.veil:g} grey levels"),
    ]
    words = ", ".join(text for used, text in parts if used)
    return words.replace("%", "\N{NO-BREAK SPACE}%") or "nothing is changed"


@dataclass(frozen=True)
class Geometry:
    """One random change of place, to be made to an image and to masks over it alike.

    Attributes:
        linear: rotation, zoom and stretch about the centre of what is wanted, ``[2, 2]`` on (x, y).
        shift: shares of its width and height.
        replicate: whether an image's outermost pixels fill what has no pixel, or black does:
            neither a black nor a smeared margin may become a sign of one class.
    """

    linear: np.ndarray
    shift: np.ndarray
    replicate: bool

    def move(self, pixels: np.ndarray, box: Box = WHOLE, size: int | None = None) -> np.ndarray:
        """An image ``uint8 [height, width]``; ``box`` and ``size`` as for `augment`."""
        border = cv2.BORDER_REPLICATE if self.replicate else cv2.BORDER_CONSTANT
        return self._warp(pixels, box, size, cv2.INTER_LINEAR, border)

    def move_mask(self, mask: np.ndarray, box: Box = WHOLE, size: int | None = None) -> np.ndarray:
        """A mask over that image, ``uint8 [rows, columns]``, on any grid; 0 where it ends."""
        return self._warp(mask, box, size, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)

    def _warp(
        self, pixels: np.ndarray, box: Box, size: int | None, interpolation: int, border: int
    ) -> np.ndarray:
        height, width = (size, size) if size else pixels.shape
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        framed = into_frame(pixels.shape, box, (height, width))
        # One map for box and change: the image is resampled once.
        offset = self.linear @ (framed[:, 2] - centre) + centre + self.shift * (width, height)
        matrix = np.column_stack([self.linear @ framed[:, :2], offset])
        return cv2.warpAffine(
            pixels, matrix, (width, height), flags=interpolation, borderMode=border
        )


def random_geometry(recipe: Augmentation, rng: np.random.Generator) -> Geometry:
    """How an image is moved, as far as the recipe lets it."""
    draws = rng.uniform(-1, 1, 6)
    replicate, flipped = rng.random(2) < 0.5
    angle = np.deg2rad(recipe.rotation * draws[0])
    zoom = (1 + recipe.zoom) ** draws[1]
    wide = zoom * (1 + recipe.stretch) ** draws[2] * (-1 if flipped and recipe.flip else 1)
    high = zoom * (1 + recipe.stretch) ** draws[3]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return Geometry(turn @ np.diag([wide, high]), recipe.shift * draws[4:6], bool(replicate))


def augment(
    pixels: np.ndarray,
    recipe: Augmentation,
    rng: np.random.Generator,
    box: Box = WHOLE,
    size: int | None = None,
    style: Style | None = None,
) -> np.ndarray:
    """One random variant of an image.

    Args:
        pixels: ``uint8 [height, width]``.
        recipe: how far it may go.
        rng: source of chance; the same state gives the same variant.
        box: the part of the image that is wanted. What a change moves into sight comes from
            the image around the box.
        size: side of what is wanted; by default as large as the image.
        style: of another image, which the recipe may lend to this one.

    Returns:
        ``uint8 [size, size]`` or ``[height, width]``; ``pixels`` itself where nothing is to be
        done.
    """
    if recipe == PRESETS["none"]:
        return frame(pixels, box, size) if size else pixels
    moved = random_geometry(recipe, rng).move(pixels, box, size)
    return change_appearance(moved, recipe, rng, style)


def change_appearance(
    pixels: np.ndarray,
    recipe: Augmentation,
    rng: np.random.Generator,
    style: Style | None = None,
) -> np.ndarray:
    """The part of `augment` that leaves everything in its place."""
    # Most draws come first and in one order, so that a switched-off step shifts few others.
    light = rng.uniform(-1, 1, 3)
    degrade = rng.uniform(size=8)
    side = min(pixels.shape)
    least = recipe.resolution / side
    if style and rng.random() < recipe.style:
        pixels = lend(pixels, style, rng)
    if recipe.markers and rng.random() < recipe.markers:
        pixels = _paint_markers(pixels, rng)
    if degrade[0] < _SHARE_DEGRADED and 0 < least < 1:
        factor = least + (1 - least) * degrade[1]
        pixels = _lose_resolution(pixels, factor)
    if degrade[2] < _SHARE_DEGRADED and recipe.blur:
        pixels = _blur(pixels, max(0.3, recipe.blur * side * degrade[3]))
    pixels = _expose(pixels, recipe, light)
    if degrade[6] < _SHARE_VEILED and recipe.veil:
        cloud = clouds(pixels.shape, rng.uniform(0.4, 1), rng) * rng.uniform(0.2, 1) * recipe.veil
        pixels = np.clip(pixels + cloud, 0, 255).astype(np.uint8)
    if degrade[4] < _SHARE_DEGRADED and recipe.noise:
        most = recipe.noise * side / _NOISE_SIDE
        pixels = _add_noise(pixels, most * degrade[5], rng)
    if degrade[7] < _SHARE_ERASED and recipe.erase:
        pixels = _erase(pixels, recipe.erase, rng)
    return pixels


def repaint_surroundings(
    pixels: np.ndarray, lungs: np.ndarray, other: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """An image whose lungs are its own and whose surroundings tell nothing of its class.

    Shoulders, borders, markers and the size of the child go with the classes of the Kaggle set.
    More than half the time they are painted over, with softly fading edges: by one grey, by
    another image out of focus, or by this one out of focus and in another exposure.

    Args:
        pixels: ``uint8 [height, width]``.
        lungs: ``uint8 [rows, columns]`` over the same image, 1 where the lungs are; all 0 where
            that is not known, and the image then stays as it is.
        other: any other image of the same shape.
        rng: source of chance.

    Returns:
        ``uint8 [height, width]``.
    """
    if rng.random() > _SHARE_REPAINTED or not lungs.any():
        return pixels
    lungs = cv2.resize(lungs, pixels.shape[::-1], interpolation=cv2.INTER_NEAREST)
    margin = int(rng.integers(4, 22))
    keep: np.ndarray = cv2.dilate(lungs, np.ones((margin, margin), np.uint8)).astype(np.float32)
    keep = cv2.GaussianBlur(keep, (0, 0), rng.uniform(1, 5))
    how = rng.random()
    if how < 0.35:
        painted: np.ndarray = np.full(pixels.shape, rng.integers(256), np.float32)
    elif how < 0.75:
        painted = cv2.GaussianBlur(other.astype(np.float32), (0, 0), rng.uniform(3, 15))
    else:
        painted = cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), rng.uniform(8, 30))
        painted += rng.integers(-60, 60)
    return np.clip(pixels * keep + painted * (1 - keep), 0, 255).astype(np.uint8)


def _paint_markers(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One to three letters or texts, at the sides, above or below."""
    side = min(pixels.shape)
    painted = pixels.copy()
    for _ in range(rng.integers(1, 4)):
        scale = rng.uniform(0.3, 1.6) * side / 192
        across = rng.choice([rng.uniform(0, 0.25), rng.uniform(0.7, 0.95)])
        down = rng.choice([rng.uniform(0.05, 0.3), rng.uniform(0.75, 1)])
        cv2.putText(
            painted,
            str(rng.choice(_MARKERS)),
            (int(across * pixels.shape[1]), int(down * pixels.shape[0])),
            cv2.FONT_HERSHEY_SIMPLEX,
            scale,
            int(rng.integers(150, 256)),
            max(1, int(rng.uniform(1, 3.5) * scale)),
            cv2.LINE_AA,
        )
    return painted


def _lose_resolution(pixels: np.ndarray, factor: float) -> np.ndarray:
    height, width = pixels.shape
    small = (max(1, round(width * factor)), max(1, round(height * factor)))
    shrunk = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR)


def _blur(pixels: np.ndarray, deviation: float) -> np.ndarray:
    # `cv2.GaussianBlur` of bytes rounds twice, and takes four times as long.
    kernel = cv2.getGaussianKernel(round(6 * deviation) | 1, deviation)
    return cv2.sepFilter2D(pixels, -1, kernel, kernel)


def _add_noise(pixels: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    # Two bytes looked up and added have a normal distribution as far as grey levels can tell, up
    # to four standard deviations, in a quarter of the time of as many normal numbers.
    drawn = np.frombuffer(rng.bytes(2 * pixels.size), np.uint8).reshape(2, *pixels.shape)
    levels = _HALF_NORMAL * deviation
    noise = cv2.add(cv2.LUT(drawn[0], levels), cv2.LUT(drawn[1], levels))
    return cv2.add(pixels, noise, dtype=cv2.CV_8U)


def _expose(pixels: np.ndarray, recipe: Augmentation, draws: np.ndarray) -> np.ndarray:
    levels = _LEVELS ** (2 ** (recipe.gamma * draws[0]))
    levels = (levels - 0.5) * (1 + recipe.contrast) ** draws[1] + 0.5 + recipe.brightness * draws[2]
    return cv2.LUT(pixels, np.clip(levels * 255 + 0.5, 0, 255).astype(np.uint8))


def _erase(pixels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    height, width = pixels.shape
    area = share * rng.uniform(0.1, 1)
    ratio = np.exp(rng.uniform(-1, 1) * np.log(3))
    high = max(1, round(min(1, np.sqrt(area * ratio)) * height))
    wide = max(1, round(min(1, np.sqrt(area / ratio)) * width))
    top, left = rng.integers(height - high + 1), rng.integers(width - wide + 1)
    erased = pixels.copy()
    erased[top : top + high, left : left + wide] = rng.integers(256)
    return erased
