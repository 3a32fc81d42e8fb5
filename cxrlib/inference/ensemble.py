"""Any finished run, ready to read X-rays: a network of its own, or the mean of several."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cxrlib.images.radiograph import RadiographError
from cxrlib.inference import explain, session
from cxrlib.inference.classifier import Classifier, Prediction
from cxrlib.inference.explain import Explanation, Progress
from cxrlib.inference.file_batches import read_files
from cxrlib.inference.methods import METHODS
from cxrlib.runs import ensembles, records
from cxrlib.runs.folder import Run

if TYPE_CHECKING:
    import pandas as pd

_GRID = 256  # rows and columns of a mean of heatmaps


class EnsembleClassifier:
    """The mean of several runs' calibrated probabilities, with its own calibration and points.

    Used as a `Classifier` is.

    Args:
        run: a finished run that is an ensemble.
        point: name of the operating point to hold probabilities against; by default the run's.

    Raises:
        RunError: files of the run or of a member are missing or damaged.
    """

    def __init__(self, run: Run, *, point: str | None = None) -> None:
        self.run = run
        self.members = [Classifier(member) for member in ensembles.networks(run)]
        self.points = records.read_points(run.metrics)
        self.point = self.points[point or run.metrics["default_point"]]
        self.class_names: list[str] = run.metrics["classes"]
        self.calibration = records.read_calibration(run.metrics)
        found = {method for member in self.members for method in member.methods}
        self.methods = tuple(method for method in METHODS if method in found)

    def predict(self, pixels: np.ndarray) -> Prediction:
        """Read one radiograph ``uint8 [height, width]``."""
        return self.predict_all([pixels])[0]

    def predict_all(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """As `Classifier.predict_all`."""
        by_member = session.together(
            [partial(member.predict_all, images) for member in self.members]
        )
        return [self._together(predictions) for predictions in zip(*by_member, strict=True)]

    def read(
        self, pixels: np.ndarray, methods: Collection[str] | None = None
    ) -> tuple[Prediction, dict[str, Explanation]]:
        """As `Classifier.read`; a heatmap is the mean of those of the members that have it."""

        def read(member: Classifier) -> tuple[Prediction, dict[str, Explanation]]:
            own = methods and [method for method in methods if method in member.methods]
            return member.read(pixels, own)

        readings = session.together([partial(read, member) for member in self.members])
        predictions, maps = zip(*readings, strict=True)
        return self._together(predictions), {
            method: _mean([found[method] for found in maps if method in found])
            for method in self.methods
            if any(method in found for found in maps)
        }

    def explain(
        self, pixels: np.ndarray, method: str, *, on_progress: Progress | None = None
    ) -> Explanation:
        """As `Classifier.explain`: the mean of the heatmaps of the members that have it."""
        members = [member for member in self.members if method in member.methods]
        count = len(members)
        maps = []
        for number, member in enumerate(members):

            def tell(share: float, done: int = number) -> None:
                if on_progress:
                    on_progress((done + share) / count)

            maps.append(member.explain(pixels, method, on_progress=tell))
        return _mean(maps)

    def predict_files(
        self, files: Iterable[Path]
    ) -> Iterator[tuple[Path, Prediction | RadiographError]]:
        """As `Classifier.predict_files`: each file is decoded once."""

        def shrink(pixels: np.ndarray) -> list[np.ndarray]:
            return [member.square(pixels) for member in self.members]

        def predict(squares: list[list[np.ndarray]]) -> list[Prediction]:
            of_members = zip(self.members, zip(*squares, strict=True), strict=True)
            by_member = [member.predict_all(images) for member, images in of_members]
            return [self._together(predictions) for predictions in zip(*by_member, strict=True)]

        return read_files(files, shrink, predict)

    def held_out(self, table: "pd.DataFrame") -> "pd.Series":
        """As `Classifier.held_out`: images that no member was trained on."""
        return records.held_out(self.run, table)

    def distribution_of(self, table: "pd.DataFrame") -> np.ndarray:
        """As `Classifier.distribution_of`: the mean of the members' calibrated probabilities."""
        positive = [
            1 - member.calibration.apply(member.distribution_of(table))[:, 0]
            for member in self.members
        ]
        return _distribution(np.mean(positive, axis=0))

    def _together(self, predictions: Sequence[Prediction]) -> Prediction:
        """One prediction of several; it is refused where most of them are."""
        mean = np.mean([prediction.probability for prediction in predictions])
        calibrated = self.calibration.apply(_distribution(np.array([mean])))[0]
        reasons = [prediction.reason for prediction in predictions if prediction.reason]
        return replace(
            predictions[0],
            probability=float(1 - calibrated[0]),
            classes=dict(zip(self.class_names, map(float, calibrated), strict=True)),
            point=self.point,
            run=self.run.name,
            reason=reasons[0] if 2 * len(reasons) > len(predictions) else "",
        )


def _distribution(positive: np.ndarray) -> np.ndarray:
    """Probabilities ``[n, 2]`` of normal and pneumonia from those of pneumonia ``[n]``."""
    return np.column_stack([1 - positive, positive])


def _mean(found: Sequence[Explanation]) -> Explanation:
    maps = [explanation.on((_GRID, _GRID)) for explanation in found]
    values = np.mean(maps, axis=0)
    if found[0].method != "evidence":  # which has one scale for all images
        values = explain.normalize(values)
    return Explanation(found[0].method, values, found[0].shape)


Reader = Classifier | EnsembleClassifier


def load(run: Run, *, point: str | None = None) -> Reader:
    """What reads X-rays for a finished run.

    Args:
        run: a finished run.
        point: name of the operating point to hold probabilities against; by default the run's.

    Raises:
        RunError: files of the run, or of an ensemble's member, are missing or damaged.
    """
    kind = EnsembleClassifier if ensembles.member_names(run) else Classifier
    return kind(run, point=point)
