"""One run on one set of images: its numbers, its errors, and the figures made of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cxrlib import formatting, metrics, plots
from cxrlib.evaluation import three_classes
from cxrlib.labels import is_pneumonia
from cxrlib.runs import records
from cxrlib.runs.contents import METRIC_TITLES
from cxrlib.runs.folder import Run, RunError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FALSE_NEGATIVE, FALSE_POSITIVE = "false negative", "false positive"
# Images in a bin of the calibration curve: with fewer, intervals reach from 0 to 1.
CALIBRATION_IMAGES = 20


class Measured:
    """What a run said of the images of one split, against the truth.

    Attributes:
        run: the run.
        split: ``validation``, ``test``, or a name that results were kept under.
        results: what it came to, an entry of the ``splits`` of its ``metrics.json``.
        metrics: the run's ``metrics.json``.
        points: its operating points by name.
        predictions: the rows of its ``predictions.csv`` of this split.
        truth: ``bool [n]``, whether each image shows pneumonia.

    Raises:
        RunError: the run was not measured on this split, or its files are damaged.
    """

    def __init__(self, run: Run, split: str) -> None:
        self.run, self.split = run, split
        self.metrics = run.metrics
        own = split in self.metrics["splits"]
        found = self.metrics["splits"] if own else run.kept
        if split not in found:
            raise RunError(f"The run {run.name} was not measured on the {split} images.")
        self.results: dict[str, Any] = found[split]
        self.points = records.read_points(self.metrics)
        table = run.predictions if own else run.kept_predictions
        self.predictions = table[table.split == split].reset_index(drop=True)
        if len(self.predictions) != self.results["pictures"]:
            raise RunError(
                f"The files of the run {run.name} do not belong together: its metrics are of "
                f"{self.results['pictures']} {split} images, its predictions of "
                f"{len(self.predictions)}. Copy the folder again or retrain."
            )
        self.truth = is_pneumonia(self.predictions.label)

    @property
    def data(self) -> str:
        """`dataset.fingerprint` of the images, where they are not of the run's own data set."""
        return self.results.get("data", "")

    @property
    def prevalence(self) -> float:
        """Share of pneumonia among these images."""
        return float(self.truth.mean())

    @property
    def counts(self) -> dict[str, int]:
        """Number of ``pictures``, ``patients`` and ``pneumonia``."""
        return {name: self.results[name] for name in ("pictures", "patients", "pneumonia")}

    def estimates(self, point: str) -> dict[str, metrics.Estimate]:
        """The metrics at an operating point, as the run's files have them."""
        return records.estimates_of(self.results, point)

    def table(self, point: str) -> pd.DataFrame:
        """The same as a table for programs: columns ``metric``, ``value``, ``low``, ``high``."""
        found = self.estimates(point)
        return pd.DataFrame(
            {"metric": title, **vars(found[name])} for name, title in METRIC_TITLES.items()
        )

    def confusion(self, threshold: float) -> metrics.Confusion:
        """The confusion matrix at any threshold."""
        return metrics.confusion(self.truth, self.predictions.probability, threshold)

    @property
    def by_class(self) -> three_classes.ByClass | None:
        """Which class is taken for which; None for a run of two classes."""
        return three_classes.read(self.results)

    def errors(self, threshold: float) -> pd.DataFrame:
        """The images that are called wrongly, the most confidently wrong first.

        Returns:
            Columns ``kind`` (`FALSE_NEGATIVE` or `FALSE_POSITIVE`), ``path``, ``label``,
            ``subtype``, ``patient``, ``probability``; missed ones first.
        """
        rows = self.predictions[["path", "label", "subtype", "patient", "probability"]]
        called = rows.probability >= threshold
        missed = rows[self.truth & ~called].sort_values("probability")
        alarms = rows[~self.truth & called].sort_values("probability", ascending=False)
        table = pd.concat([missed.assign(kind=FALSE_NEGATIVE), alarms.assign(kind=FALSE_POSITIVE)])
        return table[["kind", *rows.columns]].reset_index(drop=True)

    @property
    def calibration_curves(self) -> dict[str, list[metrics.CalibrationPoint]]:
        """The calibration curve before and after calibration, titled with its error."""
        before = self.results["ece_uncalibrated"]
        after = self.estimates(self.metrics["default_point"])["ece"].value
        return {
            title: metrics.reliability(self.truth, values, at_least=CALIBRATION_IMAGES)
            for title, values in (
                (f"calibrated · ECE {formatting.decimal(after)}", self.predictions.probability),
                (f"before calibration · ECE {formatting.decimal(before)}", self.predictions.score),
            )
        }

    @property
    def probabilities(self) -> dict[str, np.ndarray]:
        """Probabilities of each class, pneumonia by subtype where the file names tell it."""
        kind = self.predictions.subtype.where(
            self.predictions.subtype != "", self.predictions.label.str.lower()
        )
        order = ("normal", "bacterial", "viral", "pneumonia")
        return {
            name: self.predictions.probability[kind == name].to_numpy()
            for name in order
            if (kind == name).any()
        }

    def calibration_figure(self) -> "Figure":
        """The calibration curve before and after calibration, with its errors."""
        return plots.calibration_figure(self.calibration_curves)

    def histogram_figure(self, threshold: float) -> "Figure":
        """Probabilities of each class."""
        return plots.histogram_figure(self.probabilities, threshold)

    def histogram_chart(self, threshold: float) -> plots.Spec:
        """The same for the mouse."""
        return plots.histogram_chart(self.probabilities, threshold, self.confusion)


class Curves:
    """ROC and precision–recall of one or several runs, with 95 % bands by patient.

    The mark on each curve is the run's own operating point.
    """

    def __init__(self, readings: Sequence[Measured], point: str) -> None:
        self._roc, self._roc_bands, self._recall, self._recall_bands = {}, {}, {}, {}
        self._marks: dict[str, metrics.Confusion] = {}
        self._prevalence = readings[0].prevalence
        for reading in readings:
            name, truth = reading.run.name, reading.truth
            probability, patients = reading.predictions.probability, reading.predictions.patient
            self._roc[name] = metrics.roc(truth, probability)
            self._roc_bands[name] = metrics.roc_band(truth, probability, groups=patients)
            self._recall[name] = metrics.precision_recall(truth, probability)
            self._recall_bands[name] = metrics.precision_recall_band(
                truth, probability, groups=patients
            )
            self._marks[name] = reading.confusion(reading.points[point].threshold)

    def roc_figure(self) -> "Figure":
        """ROC, for documents."""
        return plots.roc_figure(self._roc, self._roc_bands, self._marks)

    def precision_recall_figure(self) -> "Figure":
        """Precision–recall, for documents."""
        return plots.precision_recall_figure(
            self._recall, self._recall_bands, self._marks, prevalence=self._prevalence
        )

    def roc_chart(self, *, corner: bool) -> plots.Spec:
        """ROC for the mouse, all of it or its upper left corner."""
        return plots.roc_chart(self._roc, self._roc_bands, self._marks, corner=corner)

    def precision_recall_chart(self, *, corner: bool) -> plots.Spec:
        """Precision–recall for the mouse, all of it or its upper right corner."""
        return plots.precision_recall_chart(
            self._recall,
            self._recall_bands,
            self._marks,
            prevalence=self._prevalence,
            corner=corner,
        )
