"""The look that an X-ray machine gives its images, and lending it to another machine's.

In the Kaggle set the classes come from different machines, whose sharpness, noise and grey levels
a network learns instead of the disease. An image that takes on the look of another one, mostly of
the other class, takes that away: amplitudes of its Fourier spectrum, as in Fourier domain
adaptation (Yang and Soatto, CVPR 2020), here of the finer details and by radius alone, and the
distribution of its grey levels.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

# Rings of the spectrum: 64 up to the Nyquist frequency along an axis, the rest in the corners.
_RINGS, _NYQUIST = 80, 64
# The lowest frequencies are anatomy: they are left alone up to here, and lent fully from there on.
_ANATOMY, _LENT = 2, 6
_MOST_GAIN = 1.6  # of a ring, as a logarithm, either way
_AMPLITUDE = (0.3, 1.1)  # how much of the difference between the spectra is lent
_LEVELS = (0.2, 0.9)  # and of that between the grey levels


@dataclass(frozen=True)
class Style:
    """How an image looks, whatever it shows.

    Attributes:
        spectrum: logarithm of the mean amplitude in each ring, ``float32 [80]``.
        levels: cumulative distribution of the grey levels, ``float32 [256]``.
    """

    spectrum: np.ndarray
    levels: np.ndarray


def style_of(pixels: np.ndarray) -> Style:
    """The style of an image ``uint8 [height, width]``."""
    return Style(_spectrum(pixels), _cumulative(pixels))


def lend(pixels: np.ndarray, style: Style, rng: np.random.Generator) -> np.ndarray:
    """An image with a random part of another one's style.

    Args:
        pixels: ``uint8 [height, width]``.
        style: of an image of the same shape.
        rng: source of chance.

    Returns:
        ``uint8 [height, width]``.
    """
    difference = (style.spectrum - _spectrum(pixels)) * rng.uniform(*_AMPLITUDE)
    difference = cv2.GaussianBlur(difference[None], (0, 0), 1.0)[0]
    difference *= np.clip((np.arange(_RINGS) - _ANATOMY) / (_LENT - _ANATOMY), 0, 1)
    gain = np.exp(np.clip(difference, -_MOST_GAIN, _MOST_GAIN)).astype(np.float32)
    radius = _radius(pixels.shape)
    gains = np.interp(radius, np.arange(_RINGS), gain)
    spectrum = np.fft.rfft2(pixels.astype(np.float32)) * gains
    pixels = np.clip(np.fft.irfft2(spectrum, pixels.shape), 0, 255).astype(np.uint8)

    matched = np.interp(_cumulative(pixels), style.levels, np.arange(256))
    share = rng.uniform(*_LEVELS)
    levels = (1 - share) * np.arange(256) + share * matched
    return cv2.LUT(pixels, np.clip(levels, 0, 255).astype(np.uint8))


def _spectrum(pixels: np.ndarray) -> np.ndarray:
    amplitudes = np.abs(np.fft.rfft2(pixels - pixels.mean(dtype=np.float32)))
    rings = np.rint(_radius(pixels.shape)).astype(int).ravel()
    sums = np.bincount(rings, amplitudes.ravel(), _RINGS)
    means = sums / np.maximum(np.bincount(rings, minlength=_RINGS), 1)
    return np.log(means / pixels.size * 100 + 1e-3).astype(np.float32)


def _cumulative(pixels: np.ndarray) -> np.ndarray:
    counts = np.bincount(pixels.ravel(), minlength=256)
    return (np.cumsum(counts) / pixels.size).astype(np.float32)


@lru_cache(maxsize=4)
def _radius(shape: tuple[int, int]) -> np.ndarray:
    """Of each frequency of `np.fft.rfft2`, in rings."""
    rows, columns = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    rings = np.hypot(rows, columns) * 2 * _NYQUIST
    return np.minimum(rings, _RINGS - 1).astype(np.float32)
