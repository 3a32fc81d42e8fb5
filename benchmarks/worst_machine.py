"""Do the operating points hold on every machine?

    python benchmarks/worst_machine.py --data chest_xray

Groups a run's validation images by the machine they look to be from (`cxrlib.evaluation.machines`).
Says for each operating point what it comes to on all of them and on the worst group, and between
which thresholds the worst group's rate would be best. Groups of fewer than 20 images of a class do
not count.
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from cxrlib import metrics, runs
from cxrlib.evaluation import machines
from cxrlib.formatting import rate
from cxrlib.images import radiograph
from cxrlib.labels import is_pneumonia
from cxrlib.runs.records import read_points

LEAST = 20


def main(run: runs.Run, data: Path) -> None:
    images = run.predictions.query("split == 'validation'")
    positive, score = is_pneumonia(images.label), images.probability.to_numpy()
    with ThreadPoolExecutor() as pool:
        files = pool.map(lambda path: radiograph.read_file(data / path).pixels, images.path)
        group = machines.groups(files)
    parts = [(group == number) & (positive == label) for number in set(group) for label in (0, 1)]
    parts = [part for part in parts if part.sum() >= LEAST]

    def right(part: np.ndarray, threshold: float) -> tuple[int, int]:
        called = score[part] >= threshold
        return int((called == positive[part]).sum()), int(part.sum())

    def worst(threshold: float) -> metrics.Estimate:
        rates = [metrics.wilson(*right(part, threshold)) for part in parts]
        return min(rates, key=lambda rate: rate.value)

    print("| operating point | threshold | sensitivity | specificity | worst group's |")
    print("|---|---|---|---|---|")
    for name, point in read_points(run.metrics).items():
        sensitivity, specificity = (
            metrics.wilson(*right(part, point.threshold)) for part in (positive, ~positive)
        )
        print(
            f"| {name} | {rate(metrics.Estimate(point.threshold, point.low, point.high))} | "
            f"{rate(sensitivity)} | {rate(specificity)} | {rate(worst(point.threshold))} |"
        )
    thresholds = np.unique(score)
    rates = np.array([worst(threshold).value for threshold in thresholds])
    best = thresholds[rates == rates.max()]
    print(
        f"best for the worst group: {rate(rates.max())}, from {rate(best[0])} to {rate(best[-1])}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", default=runs.SHIPPED)
    options = parser.parse_args()
    main(runs.find(options.run), options.data)
