"""A finished run, ready to read X-rays.

The stages of a reading::

    radiograph ──> lung fields ──> contrast, crop to the lungs ──> network (ONNX Runtime)
                        │                                          │        │         │
                        v                                          v        v         v
                  out of distribution? <────────────── pooled features   logits   feature map,
                        │                                                   │    evidence, gradient
                        v                                                   v         │
                     rejected                       calibration ──> probability       v
                                                                            │      heatmaps
                                                    operating point ──> verdict: likely,
                                                                        uncertain, unlikely
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from cxrlib import metrics
from cxrlib.images.preprocess import (
    WHOLE,
    Box,
    cached_pixels,
    equalize,
    frame,
    prepare,
    square_side,
)
from cxrlib.images.radiograph import RadiographError
from cxrlib.inference import explain, lung_fields, out_of_distribution, session
from cxrlib.inference.explain import Explanation, Progress
from cxrlib.inference.file_batches import read_files
from cxrlib.inference.lung_fields import Lungs
from cxrlib.inference.methods import METHODS
from cxrlib.runs import ensembles, records
from cxrlib.runs.folder import Run, RunError
from cxrlib.runs.provenance import SYNTHETIC_RUN, trained_on

if TYPE_CHECKING:
    import pandas as pd

# What a reading shows at once, of what the run has.
_FIRST_METHODS = ("evidence", "gradcam", "saliency")


@dataclass(frozen=True)
class Prediction:
    """What a run says of one radiograph.

    Attributes:
        probability: calibrated probability of pneumonia.
        classes: calibrated probability of each of the run's classes.
        point: the operating point it is held against.
        run: the run's name.
        lungs: the image's lung fields.
        seen: the part of the image that the network saw.
        reason: why the image should not be read, in a sentence; empty where it should.
        insisted: whether it is read all the same.
    """

    probability: float
    classes: dict[str, float]
    point: metrics.OperatingPoint
    run: str
    lungs: Lungs
    seen: Box = WHOLE
    reason: str = ""
    insisted: bool = False

    def held_against(self, point: metrics.OperatingPoint) -> "Prediction":
        """The same probability, judged at another operating point."""
        return replace(self, point=point)

    def of_synthetic_image(self) -> "Prediction":
        """The same of a phantom, which a run trained on phantoms may read."""
        return replace(self, reason="") if self.reason == SYNTHETIC_RUN else self

    def insist(self) -> "Prediction":
        """The same, read although there is a reason not to."""
        return replace(self, insisted=True)

    @property
    def refused(self) -> bool:
        """Whether there is a reason not to read the image, and nobody insisted."""
        return bool(self.reason) and not self.insisted

    @property
    def verdict(self) -> metrics.Verdict | Literal["refused"]:
        """``likely``, ``unlikely``, ``uncertain`` within the operating point's interval; or
        ``refused``.
        """
        return "refused" if self.refused else metrics.verdict(self.probability, self.point)

    def as_record(self) -> dict[str, object]:
        """Plain values, as the command line's ``--json`` and the tables give them.

        What is refused has a ``reason`` and no ``probability``; what was insisted on has both.
        """
        record: dict[str, object] = {"verdict": self.verdict}
        if not self.refused:
            record = {"probability": round(self.probability, 4)} | record
        if self.reason:
            record["reason"] = self.reason
        point = {"name": self.point.name, "threshold": self.point.threshold}
        return record | {"operating_point": point, "run": self.run}


class Classifier:
    """The network of a finished run, with its calibration and operating points.

    Args:
        run: a finished run.
        point: name of the operating point to hold probabilities against; by default the run's.

    Raises:
        RunError: the run's files are missing or damaged; or it is an ensemble, which
            `ensemble.load` reads with.
    """

    def __init__(self, run: Run, *, point: str | None = None) -> None:
        if members := ensembles.member_names(run):
            raise RunError(
                f"The run {run.name} is a mean of runs and has no network of its own: name one of "
                f"them, {' or '.join(members)}."
            )
        self.run = run
        self.config = run.config
        run_metrics = run.metrics
        self._synthetic = trained_on(run_metrics) == "synthetic"
        self.points = records.read_points(run_metrics)
        self.point = self.points[point or run_metrics["default_point"]]
        self.class_names: list[str] = run_metrics["classes"]
        self.calibration = records.read_calibration(run_metrics)
        self._in_box = self.config["crop"] == "lungs"
        self._side = square_side(self.config["size"]) if self._in_box else self.config["size"]
        self._session = session.load(run)
        logits = self._session.widths["logits"]
        if (self._session.size, max(logits, 2)) != (self.config["size"], len(self.class_names)):
            raise RunError(
                f"The network of the run {run.name} does not match its configuration. Copy the "
                "run's folder again, or retrain."
            )
        has_evidence = "evidence" in self._session.outputs
        self.methods = tuple(name for name in METHODS if has_evidence or name != "evidence")
        # Evidence is held against it whatever point is chosen: the map of an image does not change.
        self._evidence_threshold = self.points[run_metrics["default_point"]].threshold
        self.lungs = lung_fields.shipped()
        self._novelty = out_of_distribution.load(run, self._session.widths["pooled"])

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        """A radiograph ``uint8 [height, width]`` as this network sees it."""
        return self._look([pixels])[1][0]

    def prepared(self, table: "pd.DataFrame") -> np.ndarray:
        """The images of an index (`dataset.index`) as this network sees them, from the cache.

        Returns:
            Read-only memory map ``uint8 [len(table), size, size]``.
        """
        size, equalization = self.config["size"], self.config["equalization"]
        boxes = None
        if self._in_box:
            boxes = [one.box for one in self.lungs.find_cached(table, self._side)]
        return cached_pixels(table, size, equalization, boxes)

    def predict(self, pixels: np.ndarray) -> Prediction:
        """Read one radiograph ``uint8 [height, width]``."""
        return self.predict_all([pixels])[0]

    def predict_all(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """Read some radiographs ``uint8 [height, width]`` in one pass."""
        found, squares = self._look(images)
        outputs = self._session.run(squares, ["pooled", "logits"])
        return [
            self._prediction(features, logits, one)
            for features, logits, one in zip(*outputs, found, strict=True)
        ]

    def read(
        self, pixels: np.ndarray, methods: Collection[str] | None = None
    ) -> tuple[Prediction, dict[str, Explanation]]:
        """Read one radiograph and explain it, in one pass.

        Args:
            pixels: ``uint8 [height, width]``.
            methods: of ``self.methods``, not slow; by default evidence where the run has it,
                Grad-CAM and saliency. Without saliency, the only one that needs a pass back to
                the pixels, it takes a third of the time.

        Returns:
            The prediction, and explanations by method on the radiograph's own grid.
        """
        (found,), (square,) = self._look([pixels])
        if methods is None:
            methods = [method for method in _FIRST_METHODS if method in self.methods]
        features, logits, raw = explain.read(self._session, square, methods)
        maps = {
            method: self._explanation(method, values, pixels, found)
            for method, values in raw.items()
        }
        return self._prediction(features, logits, found), maps

    def explain(
        self, pixels: np.ndarray, method: str, *, on_progress: Progress | None = None
    ) -> Explanation:
        """A heatmap of one radiograph.

        Args:
            pixels: ``uint8 [height, width]``.
            method: of ``self.methods``.
            on_progress: told the share that is done, by slow methods. It may raise to break off.
        """
        (found,), (square,) = self._look([pixels])
        raw = explain.explain(self._session, square, method, on_progress)
        return self._explanation(method, raw, pixels, found)

    def distribution(self, squares: np.ndarray) -> np.ndarray:
        """Uncalibrated class probabilities ``[n, classes]`` of prepared images.

        Args:
            squares: ``uint8 [n, size, size]``, which may be a memory map.
        """
        (logits,) = self._session.run(squares, ["logits"])
        return metrics.distribution_of_logits(logits)

    def held_out(self, table: "pd.DataFrame") -> "pd.Series":
        """As `records.held_out`."""
        return records.held_out(self.run, table)

    def distribution_of(self, table: "pd.DataFrame") -> np.ndarray:
        """`distribution` of the images of an index, ``[len(table), classes]``."""
        return self.distribution(self.prepared(table))

    def predict_files(
        self, files: Iterable[Path]
    ) -> Iterator[tuple[Path, Prediction | RadiographError]]:
        """Read many files; decoding runs ahead of the network. Bad files give their error."""
        return read_files(files, self.square, self.predict_all)

    def square(self, pixels: np.ndarray) -> np.ndarray:
        """A whole radiograph, squashed ``uint8 [side, side]``: all that any of the networks sees.

        It is read as the radiograph itself would be.
        """
        return prepare(pixels, self._side)

    def _look(self, images: Sequence[np.ndarray]) -> tuple[list[Lungs], np.ndarray]:
        """Lung fields of images, and what the network sees of them ``uint8 [n, size, size]``."""
        squares = [self.square(image) for image in images]
        found = list(self.lungs.find_all(squares))
        equalization, size = self.config["equalization"], self.config["size"]
        squares = [equalize(square, equalization) for square in squares]
        if self._in_box:
            squares = [
                frame(square, one.box, size) for square, one in zip(squares, found, strict=True)
            ]
        return found, np.stack(squares)

    def _prediction(self, features: np.ndarray, logits: np.ndarray, found: Lungs) -> Prediction:
        calibrated = self.calibration.apply(metrics.distribution_of_logits(logits[None]))[0]
        return Prediction(
            probability=float(1 - calibrated[0]),
            classes={
                name: float(value) for name, value in zip(self.class_names, calibrated, strict=True)
            },
            point=self.point,
            run=self.run.name,
            lungs=found,
            seen=self._seen(found),
            reason=self._novelty.reason(found, features)
            or (SYNTHETIC_RUN if self._synthetic else ""),
        )

    def _explanation(
        self, method: str, raw: np.ndarray, pixels: np.ndarray, found: Lungs
    ) -> Explanation:
        if method == "evidence":
            distributions = metrics.distribution_of_logits(raw.reshape(-1, 1))
            odds = metrics.log_odds(self.calibration.apply(distributions))
            values = explain.against(odds.reshape(raw.shape), self._evidence_threshold)
        else:
            values = explain.normalize(raw)
        return Explanation(method, values, pixels.shape, self._seen(found))

    def _seen(self, found: Lungs) -> Box:
        return found.box if self._in_box else WHOLE
