"""A finished run, ready to read X-rays."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from cxrlib import evaluation, explain, metrics, radiograph
from cxrlib.explain import Explanation
from cxrlib.pixels import prepare
from cxrlib.radiograph import RadiographError
from cxrlib.runs import Run, RunError

_BATCH = 32
_BATCHES_AHEAD = 4


@dataclass(frozen=True)
class Prediction:
    """What a run says of one radiograph.

    Attributes:
        probability: calibrated probability of pneumonia.
        classes: calibrated probability of each of the run's classes.
        point: the operating point it is held against.
        run: the run's name.
    """

    probability: float
    classes: dict[str, float]
    point: metrics.OperatingPoint
    run: str

    def held_against(self, point: metrics.OperatingPoint) -> "Prediction":
        """The same probability, judged at another operating point."""
        return replace(self, point=point)

    @property
    def verdict(self) -> metrics.Verdict:
        """``likely``, ``unlikely``, or ``uncertain`` within the operating point's interval."""
        return metrics.verdict(self.probability, self.point)

    def as_record(self) -> dict[str, object]:
        """Plain values, as the command line's ``--json`` and the tables give them."""
        return {
            "probability": round(self.probability, 4),
            "verdict": self.verdict,
            "operating_point": {"name": self.point.name, "threshold": self.point.threshold},
            "run": self.run,
        }


class Classifier:
    """The network of a finished run, with its calibration and operating points.

    Args:
        run: a finished run.
        point: name of the operating point to hold probabilities against; by default the run's.

    Raises:
        RunError: the run's files are missing, damaged, or not of this version of Keras.
    """

    def __init__(self, run: Run, *, point: str | None = None) -> None:
        self.run = run
        self.config = run.config
        run_metrics = run.metrics
        self.points = evaluation.read_points(run_metrics)
        self.point = self.points[point or run_metrics["default_point"]]
        self.class_names: list[str] = run_metrics["classes"]
        self.temperature: float = run_metrics["temperature"]
        try:
            # Keras' safe mode: a run from elsewhere cannot bring code along.
            self.model = keras.models.load_model(run.model_file, compile=False, safe_mode=True)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunError(
                f"The network of the run {run.name} cannot be loaded with Keras "
                f"{keras.__version__}. Copy the run's folder again, or train anew."
            ) from error
        self._explainer = explain.Explainer(self.model, self.config["network"])

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        """A radiograph ``uint8 [height, width]`` as this network sees it."""
        return prepare(pixels, self.config["size"], self.config["equalization"])

    def predict(self, pixels: np.ndarray) -> Prediction:
        """Read one radiograph ``uint8 [height, width]``."""
        return self._prediction(self._explainer.logits_of(self.prepare(pixels)[None])[0])

    def read(self, pixels: np.ndarray) -> tuple[Prediction, dict[str, Explanation]]:
        """Read one radiograph and explain it with Grad-CAM and saliency, in one pass.

        Args:
            pixels: ``uint8 [height, width]``.

        Returns:
            The prediction, and explanations by method on the picture's own grid.
        """
        logits, raw = self._explainer.read(self.prepare(pixels))
        maps = {
            method: Explanation(method, explain.normalize(values), pixels.shape)
            for method, values in raw.items()
        }
        return self._prediction(logits), maps

    def explain(self, pixels: np.ndarray, method: str) -> Explanation:
        """A heatmap of one radiograph by any method of `methods.METHODS`."""
        raw = self._explainer.explain(self.prepare(pixels), method)
        return Explanation(method, explain.normalize(raw), pixels.shape)

    def distribution(self, squares: np.ndarray) -> np.ndarray:
        """Uncalibrated class probabilities ``[n, classes]`` of prepared pictures.

        Args:
            squares: ``uint8 [n, size, size]``, which may be a memory map.
        """
        return np.concatenate(
            [
                explain.probabilities(self._explainer.logits_of(squares[start : start + _BATCH]))
                for start in range(0, len(squares), _BATCH)
            ]
        )

    def predict_files(
        self, files: Iterable[Path]
    ) -> Iterator[tuple[Path, Prediction | RadiographError]]:
        """Read many files; decoding runs ahead of the network. Bad files give their error."""

        def load(file: Path) -> np.ndarray | RadiographError:
            try:
                return self.prepare(radiograph.read(file.read_bytes()).pixels)
            except RadiographError as error:
                return error
            except OSError as error:
                return RadiographError(f"The file cannot be opened: {error.strerror}.")

        waiting: deque[tuple[Path, Future[np.ndarray | RadiographError]]] = deque()
        with ThreadPoolExecutor() as pool:
            for file in files:
                waiting.append((file, pool.submit(load, file)))
                if len(waiting) == _BATCHES_AHEAD * _BATCH:
                    yield from self._predict_loaded([waiting.popleft() for _ in range(_BATCH)])
            while waiting:
                count = min(_BATCH, len(waiting))
                yield from self._predict_loaded([waiting.popleft() for _ in range(count)])

    def _predict_loaded(
        self, jobs: list[tuple[Path, Future[np.ndarray | RadiographError]]]
    ) -> Iterator[tuple[Path, Prediction | RadiographError]]:
        loaded = [job.result() for _, job in jobs]
        squares = [square for square in loaded if isinstance(square, np.ndarray)]
        logits = iter(self._explainer.logits_of(np.stack(squares)) if squares else [])
        for (file, _), square in zip(jobs, loaded, strict=True):
            is_error = isinstance(square, RadiographError)
            yield file, square if is_error else self._prediction(next(logits))

    def _prediction(self, logits: np.ndarray) -> Prediction:
        calibrated = metrics.apply_temperature(
            explain.probabilities(logits[None]), self.temperature
        )[0]
        return Prediction(
            probability=float(1 - calibrated[0]),
            classes={
                name: float(value) for name, value in zip(self.class_names, calibrated, strict=True)
            },
            point=self.point,
            run=self.run.name,
        )
