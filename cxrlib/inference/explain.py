"""Heatmaps: where on the image the evidence for pneumonia comes from.

The map of evidence is part of networks that have one; the other methods ask any network. What they
explain is the log-odds of pneumonia, not its probability: a saturated probability has no gradient
left. The quick methods are read from one pass through the network, together with its outputs
(evidence also from one of the mirror image); the slow ones take many and can tell how far they are.

A method is registered with a decorator and returns a map on the network's own grid or on that
of its last features; normalizing and enlarging is the same for all.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial, reduce
from itertools import islice

import cv2
import numpy as np

from cxrlib.images.preprocess import WHOLE, Box
from cxrlib.inference.session import Session, at_once, together
from cxrlib.metrics import log_odds_of_logits

_SCORECAM_CHANNELS = 64
_SMOOTHGRAD_SAMPLES = 24
_SMOOTHGRAD_NOISE = 0.1
_INTEGRATION_STEPS = 32
_OCCLUSION_PATCHES = 14
_STEEPNESS = 2  # of the scale of evidence
# The few largest gradients of a map of single pixels would leave the rest of it black.
_FINE = 10_000
_STRONGEST = 0.995

Progress = Callable[[float], None]  # told the share that is done, 0..1
_Arrays = Mapping[str, np.ndarray]  # a session's outputs for one image, by name
_Quick = Callable[[_Arrays], np.ndarray]
_Slow = Callable[[Session, np.ndarray, Progress | None], np.ndarray]


@dataclass(frozen=True)
class Explanation:
    """A heatmap and the method that made it.

    Attributes:
        method: a key of `methods.METHODS`.
        values: ``float32 [rows, columns]`` in 0..1 on the grid it was computed on, relative to
            this image's strongest place; all zero where nothing speaks for pneumonia. Evidence has
            one scale for all images: see `against`.
        shape: the radiograph's ``(height, width)``.
        box: the part of the radiograph that the network saw.
    """

    method: str
    values: np.ndarray
    shape: tuple[int, int]
    box: Box = WHOLE

    @property
    def heatmap(self) -> np.ndarray:
        """The map on the radiograph's own grid, ``float32 [height, width]`` in 0..1."""
        return self.on(self.shape)

    def on(self, shape: tuple[int, int]) -> np.ndarray:
        """The map on a grid of another size, such as a smaller copy for the screen.

        Zero outside what the network saw.
        """
        sides = np.array([*shape[::-1], *shape[::-1]])
        left, top, right, bottom = np.rint(np.array(self.box) * sides).astype(int)
        whole = np.zeros(shape, np.float32)
        whole[top:bottom, left:right] = cv2.resize(
            self.values, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR
        )
        return whole


def read(
    session: Session, square: np.ndarray, methods: Collection[str]
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Features, outputs and quick maps of one prepared image.

    Args:
        session: the network.
        square: ``uint8 [size, size]``.
        methods: keys of `methods.METHODS` that are not slow.

    Returns:
        The pooled features ``float32 [k]``, the head's logits ``float32 [outputs]`` and raw maps
        by method.
    """
    needed = {"pooled", "logits"}.union(*(_NEEDED[method] for method in methods))
    jobs = [partial(session.run, square[None], list(needed))]
    if "evidence" in needed:
        # What the network finds on either side of the body alike stays; what it finds by chance
        # fades. The mean points into radiologists' boxes and at phantoms' opacities more often.
        jobs.append(partial(session.run, square[None, :, ::-1], ["evidence"]))
    found, *mirrored = together(jobs)
    arrays = {name: values[0] for name, values in zip(needed, found, strict=True)}
    for (evidence,) in mirrored:
        arrays["evidence"] = (arrays["evidence"] + evidence[0, :, ::-1]) / 2
    maps = {method: _QUICK[method](arrays) for method in methods}
    return arrays["pooled"], arrays["logits"], maps


def explain(
    session: Session, square: np.ndarray, method: str, on_progress: Progress | None = None
) -> np.ndarray:
    """The raw map of any method of `methods.METHODS` for one prepared image.

    Args:
        session: the network.
        square: ``uint8 [size, size]``.
        method: a key of `methods.METHODS`.
        on_progress: told the share that is done, by slow methods. It may raise to break off.
    """
    if method in _QUICK:
        return read(session, square, [method])[2][method]
    return _SLOW[method](session, square, on_progress)


def normalize(raw: np.ndarray) -> np.ndarray:
    """A raw map relative to its strongest place, ``float32`` in 0..1; zero stays zero."""
    top = raw.max()
    if raw.size > _FINE:
        rank = round(_STRONGEST * (raw.size - 1))
        top = np.partition(raw, rank, axis=None)[rank]
    if top <= 0:
        return np.zeros(raw.shape, np.float32)
    return np.clip(raw / top, 0, 1).astype(np.float32)


def against(evidence: np.ndarray, threshold: float) -> np.ndarray:
    """Evidence on one scale for all images, ``float32`` in 0..1.

    A softplus: what a place's log-odds are beyond the threshold's, and near 0 below it. 1 is a
    place that alone brings the image to the threshold; or the strongest, where that is beyond it.

    Args:
        evidence: calibrated log-odds of pneumonia that each place alone would give.
        threshold: probability of the operating point.
    """
    excess = evidence - np.log(threshold / (1 - threshold))
    beyond = np.logaddexp(0, _STEEPNESS * excess)
    return (beyond / max(beyond.max(), np.log(2))).astype(np.float32)


_QUICK: dict[str, _Quick] = {}
_NEEDED: dict[str, tuple[str, ...]] = {}  # the outputs that each quick method is made of
_SLOW: dict[str, _Slow] = {}


def _quick(name: str, *outputs: str) -> Callable[[_Quick], _Quick]:
    """Enter a method made of a session's outputs under a name of `methods.METHODS`."""

    def enter(method: _Quick) -> _Quick:
        _QUICK[name], _NEEDED[name] = method, outputs
        return method

    return enter


def _slow(name: str) -> Callable[[_Slow], _Slow]:
    """Enter a method that takes many passes under a name of `methods.METHODS`."""

    def enter(method: _Slow) -> _Slow:
        _SLOW[name] = method
        return method

    return enter


@_quick("evidence", "evidence")
def _evidence(arrays: _Arrays) -> np.ndarray:
    """The network's own map, whose smooth maximum is the score; the mean of it and of the mirror
    image's, turned back."""
    return arrays["evidence"]


@_quick("gradcam", "features", "features_gradient")
def _gradcam(arrays: _Arrays) -> np.ndarray:
    """Selvaraju et al., ICCV 2017."""
    weights = arrays["features_gradient"].mean(axis=(1, 2))
    return _weighted(arrays["features"], weights)


@_quick("saliency", "gradient")
def _saliency(arrays: _Arrays) -> np.ndarray:
    """Simonyan et al., ICLR workshop 2014."""
    return np.abs(arrays["gradient"])


@_quick("gradcam++", "features", "features_gradient")
def _gradcam_plus_plus(arrays: _Arrays) -> np.ndarray:
    """Chattopadhyay et al., WACV 2018, of the exponential of the score.

    Its derivatives have the exponential as a factor, which scales the whole map: it is left out.
    """
    features, gradient = arrays["features"], arrays["features_gradient"]
    totals = features.sum(axis=(1, 2), keepdims=True)
    alphas = _ratio(gradient**2, 2 * gradient**2 + gradient**3 * totals)
    alphas = _ratio(alphas, alphas.sum(axis=(1, 2), keepdims=True))
    return _weighted(features, (np.maximum(gradient, 0) * alphas).sum(axis=(1, 2)))


@_quick("layercam", "features", "features_gradient")
def _layercam(arrays: _Arrays) -> np.ndarray:
    """Jiang et al., IEEE TIP 2021."""
    parts = np.maximum(arrays["features_gradient"], 0) * arrays["features"]
    return np.maximum(parts.sum(axis=0), 0)


def _weighted(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The sum of feature maps ``[k, rows, columns]`` by weights ``[k]``, as far as positive."""
    return np.maximum(np.tensordot(weights, features, 1), 0)


def _ratio(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """One by the other, 0 where that is 0."""
    other = np.broadcast_to(other, one.shape)
    return np.divide(one, other, out=np.zeros_like(one), where=other != 0)


def _each(
    session: Session,
    images: Iterable[np.ndarray],
    output: str,
    on_progress: Progress | None,
    count: int,
) -> Iterator[np.ndarray]:
    """An output for each of ``count`` images, made as they are needed: all take megabytes."""
    images, number = iter(images), 0
    while some := list(islice(images, at_once())):
        yield from session.run(np.stack(some), [output])[0]
        number += len(some)
        if on_progress:
            on_progress(number / count)


@_slow("scorecam")
def _scorecam(session: Session, square: np.ndarray, on_progress: Progress | None) -> np.ndarray:
    """Wang et al., CVPR workshops 2020: maps weighted by the score of what they leave visible.

    The weight is the rise of the log-odds over those of a black image. Of the maps those that vary
    most are taken.
    """
    features = session.run(square[None], ["features"])[0][0]
    features = features[np.argsort(-features.std(axis=(1, 2)))[:_SCORECAM_CHANNELS]]

    def images() -> Iterator[np.ndarray]:
        yield np.zeros_like(square)
        for one in features:
            mask = cv2.resize(one, square.shape[::-1]) - one.min()
            yield square * _ratio(mask, mask.max())

    logits = _each(session, images(), "logits", on_progress, len(features) + 1)
    black, *scores = log_odds_of_logits(np.stack(list(logits)))
    return _weighted(features, np.array(scores) - black)


@_slow("smoothgrad")
def _smoothgrad(session: Session, square: np.ndarray, on_progress: Progress | None) -> np.ndarray:
    """Smilkov et al., 2017: the same noise for every image, so that a map can be made again."""
    rng = np.random.default_rng(0)
    spread = _SMOOTHGRAD_NOISE * (float(square.max()) - float(square.min()))
    images = (square + rng.normal(0, spread, square.shape) for _ in range(_SMOOTHGRAD_SAMPLES))
    gradients = _each(session, images, "gradient", on_progress, _SMOOTHGRAD_SAMPLES)
    return reduce(np.add, map(np.abs, gradients)) / _SMOOTHGRAD_SAMPLES


@_slow("integrated_gradients")
def _integrated_gradients(
    session: Session, square: np.ndarray, on_progress: Progress | None
) -> np.ndarray:
    """Sundararajan et al., ICML 2017: from black; what speaks against pneumonia is left out."""
    images = (square * ((step + 0.5) / _INTEGRATION_STEPS) for step in range(_INTEGRATION_STEPS))
    gradients = _each(session, images, "gradient", on_progress, _INTEGRATION_STEPS)
    return np.maximum(sum(gradients) / _INTEGRATION_STEPS * square, 0)


@_slow("occlusion")
def _occlusion(session: Session, square: np.ndarray, on_progress: Progress | None) -> np.ndarray:
    """Zeiler and Fergus, ECCV 2014: fall of the log-odds when a patch has the image's mean."""
    edges = np.linspace(0, len(square), _OCCLUSION_PATCHES + 1).astype(int)
    margin = (edges[1] - edges[0]) // 2  # patches overlap, so that edges cut no finding in two

    def images() -> Iterator[np.ndarray]:
        yield square
        for row, column in np.ndindex(_OCCLUSION_PATCHES, _OCCLUSION_PATCHES):
            image = square.copy()
            image[
                max(0, edges[row] - margin) : edges[row + 1] + margin,
                max(0, edges[column] - margin) : edges[column + 1] + margin,
            ] = round(square.mean())
            yield image

    logits = _each(session, images(), "logits", on_progress, _OCCLUSION_PATCHES**2 + 1)
    whole, *covered = log_odds_of_logits(np.stack(list(logits)))
    falls = (whole - np.array(covered)).reshape(_OCCLUSION_PATCHES, _OCCLUSION_PATCHES)
    return np.maximum(falls, 0)
