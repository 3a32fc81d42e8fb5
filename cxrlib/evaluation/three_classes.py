"""Runs that tell bacterial from viral pneumonia: which class they take for which."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrlib import formatting, metrics
from cxrlib.labels import is_pneumonia

if TYPE_CHECKING:
    import pandas as pd

NAMES = ("normal", "bacterial", "viral")


@dataclass(frozen=True)
class ByClass:
    """What the most probable class was, for each true one.

    Attributes:
        counts: ``int [3, 3]``, images by true class (rows) and most probable class (columns),
            both in the order of `NAMES`.
        unknown: pneumonias whose names tell no subtype; they are left out.
        bacterial: ROC-AUC of bacterial against viral, among the pneumonias alone, by the share of
            bacterial in the probability of pneumonia; bootstrapped by patient.
    """

    counts: np.ndarray
    unknown: int
    bacterial: metrics.Estimate

    @property
    def accuracy(self) -> metrics.Estimate:
        """Share of the images whose most probable class is the true one."""
        return metrics.wilson(int(np.trace(self.counts)), int(self.counts.sum()))

    def table(self) -> "pd.DataFrame":
        """A row a true class: how often each class was most probable, and how often the true."""
        import pandas as pd  # reading an image does not wait for it

        rows = []
        for number, name in enumerate(NAMES):
            of_class = self.counts[number]
            row = {"truth": name} | dict(zip((f"called {n}" for n in NAMES), of_class, strict=True))
            found = metrics.wilson(int(of_class[number]), int(of_class.sum()))
            rows.append(row | {"recognized": formatting.rate(found)})
        return pd.DataFrame(rows)

    def sentence(self) -> str:
        """The two numbers, with their intervals."""
        return (
            f"Right class of three: {formatting.rate(self.accuracy)}. Bacterial against viral, "
            f"among pneumonias: ROC-AUC {self.bacterial}."
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values, for a run's ``metrics.json``."""
        return {
            "counts": self.counts.tolist(),
            "unknown": self.unknown,
            **metrics.summary_to_json({"bacterial": self.bacterial}),
        }


def by_class(predictions: "pd.DataFrame") -> ByClass:
    """Measure rows of a three-class run's predictions."""
    kind = predictions.subtype.where(is_pneumonia(predictions.label), "normal")
    known = kind.isin(NAMES)
    kind, predicted = kind[known], predictions.loc[known, list(NAMES)].to_numpy()
    counts = np.zeros((len(NAMES), len(NAMES)), np.int64)
    np.add.at(counts, (kind.map(NAMES.index).to_numpy(np.int64), predicted.argmax(axis=1)), 1)
    positive = (kind != "normal").to_numpy()
    bacterial, viral = predicted[positive, 1], predicted[positive, 2]
    either = np.maximum(bacterial + viral, np.finfo(np.float64).tiny)
    found = metrics.summarize(
        kind[positive] == "bacterial",
        bacterial / either,
        threshold=0.5,
        groups=predictions.loc[known, "patient"][positive],
    )
    return ByClass(counts, int((~known).sum()), found["roc_auc"])


def read(measured: Mapping[str, Any]) -> ByClass | None:
    """What a split of a run's ``metrics.json`` holds; None for a run of two classes."""
    stored = measured.get("by_class")
    if stored is None:
        return None
    bacterial = metrics.summary_from_json({"bacterial": stored["bacterial"]})["bacterial"]
    return ByClass(np.array(stored["counts"]), stored["unknown"], bacterial)
