"""How many radiographs a run reads, and how many other pictures it turns away.

    python benchmarks/refusal.py --radiographs FOLDER… --others FOLDER…

A folder is searched with all that lies below it. From the first folder of radiographs pictures that
are none are made as well: turned, inverted, torn to pieces, blank, noise, stripes, text.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np

from cxrlib import runs
from cxrlib.formatting import rate
from cxrlib.images import files, radiograph
from cxrlib.inference.ensemble import Classifier, EnsembleClassifier, load
from cxrlib.metrics import wilson

MADE_FROM = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--radiographs", nargs="+", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--others", nargs="*", type=Path, default=[], metavar="FOLDER")
    parser.add_argument("--run", default=runs.SHIPPED)
    options = parser.parse_args()
    reader = load(runs.find(options.run))
    print(f"| images ({reader.run.name}) | number | rejected (95 % interval) |\n|---|---|---|")
    for folder in [*options.radiographs, *options.others]:
        tell(folder.name, refused(reader, pictures(folder)))
    some = pictures(options.radiographs[0])
    some = some[:: max(1, len(some) // MADE_FROM)]
    rng = np.random.default_rng(0)
    for name, make in {
        "upside down": np.flipud,
        "on their side": np.rot90,
        "inverted": lambda picture: 255 - picture,
        "in sixteen pieces, shuffled": lambda picture: shuffled(picture, rng),
        "blank": lambda picture: np.full_like(picture, rng.integers(256)),
        "noise": lambda picture: rng.integers(0, 256, picture.shape, dtype=np.uint8),
        "stripes": lambda picture: stripes(picture.shape, rng),
        "text": lambda picture: text(picture.shape, rng),
    }.items():
        tell(name, refused(reader, [np.ascontiguousarray(make(picture)) for picture in some]))


def tell(name: str, refusals: Sequence[bool]) -> None:
    print(
        f"| {name} | {len(refusals)} | {rate(wilson(sum(refusals), len(refusals)))} |", flush=True
    )


def pictures(folder: Path) -> list[np.ndarray]:
    """All pictures in a folder that can be read, ``uint8 [height, width]``."""
    found = []
    for file in files.find(folder)[0]:
        try:
            found.append(radiograph.read_file(file).pixels)
        except radiograph.RadiographError as error:
            print(f"{file.name} is not read at all: {error}")
    return found


def refused(reader: Classifier | EnsembleClassifier, some: Sequence[np.ndarray]) -> list[bool]:
    return [reader.predict(picture).refused for picture in some]


def shuffled(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    square = cv2.resize(picture, (400, 400))
    tiles = [
        square[y : y + 100, x : x + 100] for y in range(0, 400, 100) for x in range(0, 400, 100)
    ]
    order = rng.permutation(16).reshape(4, 4)
    return np.block([[tiles[number] for number in row] for row in order])


def stripes(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    waves = np.sin(np.arange(shape[1]) * rng.uniform(0.02, 0.5)) * 120 + 128
    return np.tile(waves.astype(np.uint8), (shape[0], 1))


def text(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    page = np.full(shape, 245, np.uint8)
    for y in range(30, shape[0], 24):
        words = "".join(rng.choice(list("abcdefghij klmno pqrst"), 60))
        cv2.putText(page, words, (10, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 20, 1)
    return page


if __name__ == "__main__":
    main()
