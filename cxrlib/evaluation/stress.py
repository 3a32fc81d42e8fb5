"""How a run reads images that were changed on purpose, and images from elsewhere.

Validation images come from where the training images came from, and share their shortcuts:
a run that learned how images are squashed, exposed or marked is not found out by them. Every
step of `shifts.SHIFTS` changes the validation radiographs in one such way, and everything is
measured again.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from cxrlib import metrics
from cxrlib.evaluation import machines
from cxrlib.evaluation.perturbations import SHIFTS, UNCHANGED, Shift
from cxrlib.evaluation.stress_table import DRAWN, MACHINES
from cxrlib.images import radiograph
from cxrlib.inference.ensemble import Reader
from cxrlib.inference.lung_fields import LungFinder
from cxrlib.labels import PNEUMONIA, is_pneumonia
from cxrlib.synthetic.opacities import draw_opacities

_DECIDED = ("likely", "unlikely")
_LEAST_FOR_GROUPS = 100  # images
_CHUNK = 64  # radiographs held decoded at a time


def measure(
    reader: Reader,
    images: pd.DataFrame,
    *,
    split: str,
    shifts: Sequence[Shift] = SHIFTS,
    elsewhere: Mapping[str, pd.DataFrame] | None = None,
    lungs: LungFinder | None = None,
) -> pd.DataFrame:
    """Read images unchanged and under every shift, and those from elsewhere as they are.

    Also by groups of the machines that they look to be from (`machines.groups`); and, where
    ``lungs`` is given, the normal ones with opacities drawn into their lungs, against
    themselves: what tells the two apart is nothing that goes along with the classes.

    Args:
        reader: the run.
        images: columns ``path``, ``label``, ``patient``; ``attrs["root"]`` is where paths start.
        split: what these images are called, such as ``validation``.
        shifts: what is done to them.
        elsewhere: other images in the same form, by name.
        lungs: finds where to draw.

    Returns:
        One row a step: ``pictures_of`` (the split, or the name of others), ``step``, ``group``,
        ``strength`` (``none``, ``mild``, ``strong``), ``pictures``, ``patients``, ``pneumonia``;
        and of each of `contents.STRESS_ESTIMATES` the value and its 95 % interval, ``NAME``,
        ``NAME_low``, ``NAME_high``. Rates are those of all images, also of the share
        ``refused``, at the run's
        default operating point. ``changed`` is the share of images whose verdict (likely,
        unlikely, uncertain, refused) is another one than unchanged, ``reversed`` the share of
        those that went from likely to unlikely or back; both NaN for images from elsewhere.

    Raises:
        RadiographError: an image cannot be read; the message names it.
    """
    steps = [UNCHANGED, *shifts]
    found = _read(reader, images, steps, split)
    before = found[0].verdict
    rows = []
    for shift, predictions in zip(steps, found, strict=True):
        after = predictions.verdict
        decided = before.isin(_DECIDED) & after.isin(_DECIDED)
        rows.append(
            {
                **_row(reader, images, predictions, split, shift),
                **metrics.to_columns("changed", _share(before != after)),
                **metrics.to_columns("reversed", _share(decided & (before != after))),
            }
        )
    if len(images) >= _LEAST_FOR_GROUPS:
        rows += _by_machine(reader, images, found[0], split)
    if lungs:
        rows.append(_drawn_into(reader, images, found[0], split, lungs))
    for name, others in (elsewhere or {}).items():
        (predictions,) = _read(reader, others, [UNCHANGED], name)
        rows.append(_row(reader, others, predictions, name, UNCHANGED))
    return pd.DataFrame(rows)


def _read(
    reader: Reader,
    images: pd.DataFrame,
    steps: Sequence[Shift],
    name: str,
) -> list[pd.DataFrame]:
    """Of each step ``probability`` and ``verdict`` of every image."""
    root = Path(images.attrs["root"])
    files = [root / path for path in images.path]
    found: dict[str, list[tuple[float, str]]] = {shift.name: [] for shift in steps}
    with tqdm(total=len(files) * len(steps), desc=name, unit=" readings") as bar:
        for step, changed in _changed(files, steps):
            found[step] += [
                (prediction.probability, prediction.verdict)
                for prediction in reader.predict_all(changed)
            ]
            bar.update(len(changed))
    return [pd.DataFrame(rows, columns=["probability", "verdict"]) for rows in found.values()]


def _by_machine(
    reader: Reader, images: pd.DataFrame, plain: pd.DataFrame, split: str
) -> list[dict[str, float | str]]:
    """A row for each group of images of the same look, unchanged."""
    root = Path(images.attrs["root"])
    with ThreadPoolExecutor() as pool:
        group_of = machines.groups(pool.map(_decode, [root / path for path in images.path]))
    return [
        _row(
            reader,
            images[group_of == number],
            plain[group_of == number],
            f"{split}, machine group {number + 1}",
            replace(UNCHANGED, group=MACHINES),
        )
        for number in range(machines.GROUPS)
    ]


def _drawn_into(
    reader: Reader,
    images: pd.DataFrame,
    plain: pd.DataFrame,
    split: str,
    lungs: LungFinder,
) -> dict[str, float | str]:
    """The row of the normal images as they are and, as pneumonia, with opacities drawn in.

    An image in which no lungs are found stays as it is, and counts as missed.
    """

    def draw(pixels: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(zlib.crc32(pixels.tobytes()))
        return draw_opacities(pixels, lungs.find(pixels).mask, rng)[0]

    is_normal = ~is_pneumonia(images.label)
    normal = images[is_normal]
    drawn = Shift("opacities drawn in", DRAWN, "none", draw)
    name = f"{split}, normal"
    (predictions,) = _read(reader, normal, [drawn], name)
    both = pd.concat([normal, normal.assign(label=PNEUMONIA)])
    return _row(reader, both, pd.concat([plain[is_normal], predictions]), name, drawn)


def _changed(
    files: Sequence[Path], steps: Sequence[Shift]
) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Radiographs a chunk and a step at a time, each decoded once.

    The next ones are changed while the network reads the last.
    """
    ahead: tuple[str, list[Future[np.ndarray]]] | None = None
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(files), _CHUNK):
            radiographs = list(pool.map(_decode, files[start : start + _CHUNK]))
            for shift in steps:
                jobs = [pool.submit(shift.apply, pixels) for pixels in radiographs]
                last, ahead = ahead, (shift.name, jobs)
                if last:
                    yield last[0], [job.result() for job in last[1]]
        if ahead:
            yield ahead[0], [job.result() for job in ahead[1]]


def _decode(file: Path) -> np.ndarray:
    try:
        return radiograph.read_file(file).pixels
    except radiograph.RadiographError as error:
        raise radiograph.RadiographError(f"{file}: {error}") from error


def _share(marked: pd.Series) -> metrics.Estimate:
    return metrics.wilson(int(marked.sum()), len(marked))


def _row(
    reader: Reader,
    images: pd.DataFrame,
    predictions: pd.DataFrame,
    name: str,
    shift: Shift,
) -> dict[str, float | str]:
    positive = is_pneumonia(images.label)
    summary = metrics.summarize(
        positive, predictions.probability, threshold=reader.point.threshold, groups=images.patient
    )
    summary["refused"] = _share(predictions.verdict == "refused")
    row: dict[str, float | str] = {
        "pictures_of": name,
        "step": shift.name,
        "group": shift.group,
        "strength": shift.strength,
        "pictures": len(positive),
        "patients": images.patient.nunique(),
        "pneumonia": int(positive.sum()),
    }
    for measured in ("roc_auc", "sensitivity", "specificity", "ece", "refused"):
        row |= metrics.to_columns(measured, summary[measured])
    return row
