"""Synthetic frontal chest radiographs whose anatomy and opacities are known.

Drawn the way a radiograph is made: for every pixel the paths of the X-rays through soft tissue,
air and bone are added up, attenuated, scattered, exposed and made noisy. Everything follows from
a seed. They serve the tests, the offline example and the training demo; they are not patients,
and nothing measured on them says anything about patients.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from cxrlib.labels import NORMAL, PNEUMONIA
from cxrlib.synthetic.anatomy import (
    LUNG,
    Anatomy,
    Grid,
    clouds,
    healthy_attenuation,
    lung_fields,
    pulmonary_vessels,
    smooth_edge,
)

SCATTER_FRACTION = 0.06  # of the primary beam, behind an anti-scatter grid
SCATTER_REACH = 0.08  # standard deviations of blur, in image heights
FOCAL_BLUR = 0.0011  # likewise
ENHANCED_DETAIL = 0.012  # likewise: what is finer counts as detail
EDGE_ENHANCEMENT = 0.5  # how much of that detail digital processing adds
MARK = "SYNTHETIC.txt"  # a file in the folder of a data set of phantoms


@dataclass(frozen=True)
class Phantom:
    """A synthetic radiograph and what is true about it.

    ``pixels`` is ``uint8 [height, width]``, air dark; ``label`` is ``NORMAL`` or ``PNEUMONIA``;
    ``opacity`` and ``lungs`` are ``bool [height, width]``. ``lungs`` are the visible lung fields,
    without what lies behind heart and diaphragm; ``opacity`` is the part of them where the
    consolidation exceeds half of its peak, air-filled bronchi in it included, and is empty when
    normal.
    """

    pixels: np.ndarray
    label: str
    opacity: np.ndarray
    lungs: np.ndarray


def phantom(seed: int, *, pneumonia: bool, size: int = 512, aspect: float = 1.0) -> Phantom:
    """Draw the synthetic radiograph of a seed.

    ``size`` is the height in pixels, from 64 on, and ``aspect`` the width as a multiple of it;
    the patient is equally large in wider images, with more air at the sides. With and without
    ``pneumonia``, anatomy and noise of a seed are the same: the two images differ at the
    opacity only.
    """
    anatomy = Anatomy.draw(np.random.default_rng([seed, 0]))
    grid = Grid(anatomy, size, round(size * aspect))
    lungs, air = lung_fields(anatomy, grid)
    rng = np.random.default_rng([seed, 1])
    vessels = pulmonary_vessels(grid, rng)
    attenuation = healthy_attenuation(anatomy, grid, lungs, air, vessels, rng)
    if pneumonia:
        weight, consolidation = _opacity(
            grid, lungs, air, vessels, np.random.default_rng([seed, 2])
        )
    else:
        weight = consolidation = np.zeros_like(attenuation)
    layers = grid.tilted(cv2.merge([attenuation, lungs, weight, consolidation]))
    attenuation, lungs, weight, consolidation = cv2.split(layers)
    pixels = _expose(attenuation, consolidation, anatomy, np.random.default_rng([seed, 3]))
    if anatomy.marker:
        _mark_side(pixels, anatomy)
    return Phantom(pixels, PNEUMONIA if pneumonia else NORMAL, weight > 0.5, lungs > 0.5)


def write_dataset(
    folder: Path,
    *,
    patients: int,
    seed: int = 0,
    size: int = 256,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Write phantoms as a folder in the layout and with the file names of the Kaggle set.

    ``folder/{train,val,test}/{NORMAL,PNEUMONIA}/*.jpeg``: a tenth of the ``patients`` (at least
    six) in ``val``, a fifth in ``test``, three quarters of each split with pneumonia, bacterial
    and viral in turn by name only. Every third patient has two or three images, all in one
    split. Heights scatter around ``size`` and aspect ratios from 1 to 1.4, neither of them
    depending on the label. `MARK` says that they are synthetic. The same arguments give the same
    bytes. ``on_progress`` is told after each patient how many are drawn.

    Raises ``ValueError`` where six folders cannot each get a patient.
    """
    if patients < 6:
        raise ValueError(
            f"{patients} patients are too few for a data set: ask for at least 6, so that each "
            "of train, val and test has a normal and a pneumonia patient."
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text("These radiographs were drawn by a program.\n", encoding="utf-8")
    rng = np.random.default_rng(seed)
    image = 0
    for patient, (split, label) in enumerate(_allotted(patients), start=1):
        target = folder / split / label
        target.mkdir(parents=True, exist_ok=True)
        images = int(rng.integers(2, 4)) if patient % 3 == 0 else 1
        patient_seed = int(rng.integers(2**32))
        for number in range(1, images + 1):
            image += 1
            drawn = phantom(
                patient_seed,
                pneumonia=label == PNEUMONIA,
                size=round(size * rng.uniform(0.85, 1.15)),
                aspect=rng.uniform(1.0, 1.4),
            )
            if label == PNEUMONIA:
                germ = "bacteria" if patient % 2 else "virus"
                name = f"person{patient}_{germ}_{image}.jpeg"
            else:
                series = "NORMAL2-IM" if patient % 2 else "IM"
                name = f"{series}-{patient:04d}-0001"
                name += f"-{number:04d}.jpeg" if images > 1 else ".jpeg"
            _, encoded = cv2.imencode(".jpeg", drawn.pixels)
            (target / name).write_bytes(encoded.tobytes())
        if on_progress:
            on_progress(patient)


def _allotted(patients: int) -> list[tuple[str, str]]:
    """Split and label of every patient, none of the six kinds left out."""
    sizes = {"val": max(2, round(patients / 10)), "test": max(2, round(patients / 5))}
    sizes = {"train": patients - sum(sizes.values()), **sizes}
    kinds = []
    for split, members in sizes.items():
        normal = max(1, round(members / 4))
        kinds += [(split, NORMAL)] * normal + [(split, PNEUMONIA)] * (members - normal)
    return kinds


def _opacity(
    grid: Grid,
    lungs: np.ndarray,
    air: np.ndarray,
    vessels: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """A consolidation in one lung or both: weight (0.5 at its contour) and attenuation."""
    sides = rng.permutation([-1, 1])[: 2 if rng.random() < 0.25 else 1]
    fine = clouds(grid.shape, 0.02, rng)
    weight = np.zeros_like(lungs)
    for side in sides:
        lung = lungs * (side * grid.x > 0)
        deep = lung * air
        rows, columns = np.nonzero(deep > 0.5 * deep.max())
        middle = rng.integers(len(rows))
        off_x = grid.x - grid.x[0, columns[middle]]
        off_y = (grid.y - grid.y[rows[middle], 0]) * np.float32(rng.uniform(0.7, 1.3))
        lobes = np.hypot(off_x, off_y) + 0.03 * clouds(grid.shape, 0.07, rng) + 0.004 * fine
        # The contour is put where the opacity takes the share of the lung that it shall.
        contour = np.quantile(lobes[lung > 0.5], rng.uniform(0.10, 0.22))
        weight = np.maximum(weight, smooth_edge(contour - lobes, 0.07) * (side * grid.x > 0))
    # Bronchi run beside the arteries and stay filled with air. The opacity fades a little behind
    # the borders of heart and diaphragm: ending at them, it would leave a dark seam.
    aside = np.roll(vessels, (grid.shape[0] // 64, grid.shape[0] // 64), axis=(0, 1))
    bronchi = np.minimum(aside / 0.02, 1)
    replaced = 0.66 + 0.06 * fine + 0.08 * clouds(grid.shape, 0.05, rng) - 0.25 * bronchi
    beyond = cv2.GaussianBlur(lungs, (0, 0), 0.01 * grid.shape[0])
    return weight * lungs, -LUNG * air * replaced * weight * np.minimum(2 * beyond, 1)


def _expose(
    attenuation: np.ndarray,
    consolidation: np.ndarray,
    anatomy: Anatomy,
    rng: np.random.Generator,
) -> np.ndarray:
    """Attenuation → grey levels, ``uint8 [height, width]``."""
    height, width = attenuation.shape
    # Scatter is that of the healthy patient: an opacity hardly changes it, and by leaving it
    # alone two phantoms of a seed differ at the opacity only.
    small = cv2.resize(attenuation, (width // 8, height // 8), interpolation=cv2.INTER_AREA)
    scatter = cv2.GaussianBlur(np.exp(-small), (0, 0), SCATTER_REACH * height / 8)
    scatter = cv2.resize(scatter, (width, height), interpolation=cv2.INTER_LINEAR)
    seen = cv2.GaussianBlur(attenuation + consolidation, (0, 0), FOCAL_BLUR * height)
    signal = np.exp(-anatomy.kilovolts * seen) + SCATTER_FRACTION * scatter
    noise = cv2.GaussianBlur(rng.standard_normal(signal.shape, dtype=np.float32), (0, 0), 0.6)
    density = -np.log(signal)
    density += EDGE_ENHANCEMENT * (
        density - cv2.GaussianBlur(density, (0, 0), ENHANCED_DETAIL * height)
    )
    density += anatomy.noise * 0.009 * noise / np.sqrt(signal)
    grey = 262 / (1 + np.exp((1.62 - density) / 0.62)) - 18 + anatomy.exposure * np.tanh(density)
    return np.clip(grey, 0, 255).astype(np.uint8)


def _mark_side(pixels: np.ndarray, anatomy: Anatomy) -> None:
    """The letter R at the patient's right, as technicians put it."""
    size = len(pixels)
    place = (int(0.025 * size), int(anatomy.marker_y * size))
    cv2.putText(
        pixels, "R", place, cv2.FONT_HERSHEY_SIMPLEX, size / 420, 235,
        max(1, round(size / 220)), cv2.LINE_AA,
    )  # fmt: skip
