"""Whether heatmaps tell the truth about their network, method by method.

A heatmap can look right and have nothing to do with what the network used. Here every method of
`methods.METHODS` is asked what can be checked: does the score fall when what it marks is taken
away, does it find an opacity whose place is known, does it change when the network forgets all it
learned. Two maps that know nothing of the network stand beside them, for comparison.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from cxrlib import metrics
from cxrlib.images.preprocess import edges, prepare
from cxrlib.inference import explain, lung_fields
from cxrlib.inference.classifier import Classifier
from cxrlib.inference.ensemble import EnsembleClassifier, Reader
from cxrlib.inference.explain import Explanation
from cxrlib.inference.methods import EDGES, METHODS, RANDOM
from cxrlib.inference.session import Session
from cxrlib.synthetic.opacities import draw_opacities
from cxrlib.synthetic.phantom import Phantom

_STEPS = 20  # of a deletion or insertion curve
_BASELINE = 0.1  # standard deviation of the blur, as a share of the network's side
_COMMON = 14  # cells a side of the grid on which methods are compared
_CHANCE = 7  # cells a side of the map of chance, as coarse as Grad-CAM's
_HITS = ("pointing", "drawn")  # counted, not measured
# The pointing game's tolerance: 15 pixels at 224.
_MARGIN = 15 / 224

_SIDE = 224  # pixels of an ensemble's image, which has no size of its own

Score = Callable[[np.ndarray], np.ndarray]
_Found = dict[tuple[str, str], list[float]]


def measure(
    reader: Classifier,
    untrained: Session,
    radiographs: Sequence[np.ndarray],
    phantoms: Sequence[Phantom],
    normal: Sequence[np.ndarray],
    *,
    seed: int = 0,
    methods: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Put explanation methods to the test.

    Args:
        reader: the run.
        untrained: the same network with weights that learned nothing (`export.untrained`).
        radiographs: ``uint8 [height, width]`` with pneumonia that the run was not trained on, one
            a patient.
        phantoms: with an opacity each.
        normal: ``uint8 [height, width]`` without pneumonia, not trained on either: opacities are
            drawn into their lungs.
        seed: for ties and for the map of chance.
        methods: by default all that the run has.

    Returns:
        One row a method and measure: ``method`` (also `methods.RANDOM` and `methods.EDGES`),
        ``measure`` (a key of `methods.MEASURES`), ``value`` (the mean over images), ``low``,
        ``high`` (its 95 % interval, bootstrap over images), ``pictures``.
    """
    rng = np.random.default_rng(seed)
    methods = methods or reader.methods
    found: _Found = defaultdict(list)
    for method in methods:
        reader.explain(radiographs[0], method)  # compiles; its time does not count

    for pixels in tqdm(radiographs, desc="radiographs"):
        square, lungs = reader.prepare(pixels), reader.lungs.find(pixels)
        maps = {}
        for method in methods:
            start = perf_counter()
            maps[method] = reader.explain(pixels, method)
            found[method, "seconds"].append(perf_counter() - start)
        randomized = {method: explain.explain(untrained, square, method) for method in methods}
        randomized[EDGES] = _edges(square)
        _add_references(maps, square, rng)
        for method, explanation in maps.items():
            deletion, insertion = areas(
                lambda squares: metrics.log_odds(reader.distribution(squares)),
                square,
                explanation.values,
                rng,
            )
            found[method, "deletion"].append(deletion)
            found[method, "insertion"].append(insertion)
            found[method, "gain"].append(insertion - deletion)
            if explanation.values.any():
                found[method, "lungs"].append(lungs.share(explanation.heatmap))
            if method in randomized:
                found[method, "untrained"].append(
                    rank_correlation(explanation.values, randomized[method])
                )
        for method, correlation in _agreement(maps, methods).items():
            found[method, "agreement"].append(correlation)

    _point_at_known(found, reader, methods, reader.prepare, phantoms, normal, rng)
    return _table(found)


def measure_ensemble(
    reader: EnsembleClassifier,
    radiographs: Sequence[np.ndarray],
    phantoms: Sequence[Phantom],
    normal: Sequence[np.ndarray],
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """The part of `measure` that does not ask a network: where an ensemble's quick heatmaps lie.

    Args:
        reader: the ensemble.
        radiographs: as for `measure`, and so are the others.
    """
    rng = np.random.default_rng(seed)
    methods = [method for method in reader.methods if not METHODS[method].slow]
    found: _Found = defaultdict(list)
    for pixels in tqdm(radiographs, desc="radiographs"):
        lungs = lung_fields.shipped().find(pixels)
        maps = {method: reader.explain(pixels, method) for method in methods}
        _add_references(maps, _whole(pixels), rng)
        for method, explanation in maps.items():
            if explanation.values.any():
                found[method, "lungs"].append(lungs.share(explanation.heatmap))
    _point_at_known(found, reader, methods, _whole, phantoms, normal, rng)
    return _table(found)


def _whole(pixels: np.ndarray) -> np.ndarray:
    return prepare(pixels, _SIDE)


def _point_at_known(
    found: _Found,
    reader: Reader,
    methods: Sequence[str],
    square: Callable[[np.ndarray], np.ndarray],
    phantoms: Sequence[Phantom],
    normal: Sequence[np.ndarray],
    rng: np.random.Generator,
) -> None:
    """Note of each method whether it points at opacities whose place is known."""
    known = [("pointing", drawn.pixels, drawn.opacity) for drawn in phantoms]
    # Where no lungs are found, nothing is drawn.
    known += [
        ("drawn", pixels, opacity)
        for pixels, opacity in (
            draw_opacities(pixels, lung_fields.shipped().find(pixels).mask, rng)
            for pixels in normal
        )
        if opacity.any()
    ]
    for name, pixels, opacity in tqdm(known, desc="known opacities"):
        maps = {method: reader.explain(pixels, method) for method in methods}
        _add_references(maps, square(pixels), rng)
        for method, explanation in maps.items():
            found[method, name].append(float(points_at(explanation.heatmap, opacity, rng)))


def _table(found: _Found) -> pd.DataFrame:
    return pd.DataFrame(
        {"method": method, "measure": name, **vars(_estimate(name, values))}
        | {"pictures": len(values)}
        for (method, name), values in found.items()
    )


def areas(
    score: Score, square: np.ndarray, heat: np.ndarray, rng: np.random.Generator
) -> tuple[float, float]:
    """Areas under the deletion and the insertion curve (Petsiuk et al., BMVC 2018, RISE).

    Pixels are taken in the order of their heat, ties by chance. Deletion puts a blurred copy of
    the image in their place, insertion starts from the blurred copy and puts them back; nothing
    then looks like a hole, which no network has seen.

    Args:
        score: of images ``uint8 [n, size, size]``, ``[n]``.
        square: ``uint8 [size, size]``.
        heat: ``[rows, columns]`` over the same image.
        rng: source of chance.

    Returns:
        The mean score while pixels are deleted (low where the heat is where the score comes
        from), and while they are inserted (high there).
    """
    size = len(square)
    blurred = cv2.GaussianBlur(square, (0, 0), _BASELINE * size)
    heat = cv2.resize(heat, (size, size), interpolation=cv2.INTER_LINEAR)
    order = np.lexsort([rng.random(heat.size), -heat.ravel()])
    rank = np.empty(heat.size, np.int64)
    rank[order] = np.arange(heat.size)
    taken = np.linspace(0, heat.size, _STEPS + 1)[:, None, None] > rank.reshape(heat.shape)
    images = [np.where(taken, blurred, square), np.where(taken, square, blurred)]
    deletion, insertion = score(np.concatenate(images)).reshape(2, -1)
    return float(np.trapezoid(deletion) / _STEPS), float(np.trapezoid(insertion) / _STEPS)


def points_at(heatmap: np.ndarray, opacity: np.ndarray, rng: np.random.Generator) -> bool:
    """Whether a heatmap's strongest place is on the opacity, or 15 pixels of 224 beside it.

    The pointing game (Zhang et al., IJCV 2018). A map that is zero everywhere points nowhere. Of
    several places that are equally strong, as fine maps have them, which are cut off at the top,
    it is one by chance.

    Args:
        heatmap: ``[height, width]``.
        opacity: ``bool [height, width]``.
        rng: source of chance.
    """
    radius = round(_MARGIN * max(opacity.shape))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    near = cv2.dilate(opacity.astype(np.uint8), disc)
    top = heatmap.max()
    return bool(top > 0 and rng.choice(near[heatmap == top]))


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's correlation of two maps on one grid; 0 where one of them is flat.

    Between a network's map and that of the same network untrained it is the sanity check of
    Adebayo et al. (NeurIPS 2018): a method whose maps stay alike shows the image, not what the
    network learned.
    """
    return float(_rank_correlations([one, other])[0, 1])


def _rank_correlations(maps: Sequence[np.ndarray]) -> np.ndarray:
    columns = pd.DataFrame({number: values.ravel() for number, values in enumerate(maps)})
    return columns.corr("spearman").fillna(0).to_numpy(copy=True)


def _agreement(maps: dict[str, Explanation], methods: Sequence[str]) -> dict[str, float]:
    """Mean rank correlation of each method's map with those of the other methods."""
    coarse = [
        cv2.resize(
            cv2.resize(maps[method].values, (224, 224), interpolation=cv2.INTER_LINEAR),
            (_COMMON, _COMMON),
            interpolation=cv2.INTER_AREA,
        )
        for method in methods
    ]
    correlations = _rank_correlations(coarse)
    np.fill_diagonal(correlations, np.nan)
    return dict(zip(methods, np.nanmean(correlations, axis=0).tolist(), strict=True))


def _add_references(
    maps: dict[str, Explanation], square: np.ndarray, rng: np.random.Generator
) -> None:
    """Two maps that know nothing of the network, on the same grids as the others."""
    any_method = next(iter(maps.values()))
    chance = rng.random((_CHANCE, _CHANCE), np.float32)
    maps[RANDOM] = replace(any_method, method=RANDOM, values=chance)
    maps[EDGES] = replace(any_method, method=EDGES, values=_edges(square))


def _edges(square: np.ndarray) -> np.ndarray:
    return edges(square, "sobel").astype(np.float32) / 255


def _estimate(measure: str, values: Sequence[float]) -> metrics.Estimate:
    if measure in _HITS:
        return metrics.wilson(int(sum(values)), len(values))
    return metrics.mean(values)
