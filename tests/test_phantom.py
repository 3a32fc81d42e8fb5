"""Synthetic radiographs: what they claim about themselves is true of their pixels."""

import itertools
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrlib.synthetic.phantom import Phantom, phantom, write_dataset

SIZE = 192
SEEDS = range(24)


@pytest.fixture(scope="module")
def pairs() -> list[tuple[Phantom, Phantom]]:
    """The same patients without and with an opacity."""
    return [
        (phantom(s, pneumonia=False, size=SIZE), phantom(s, pneumonia=True, size=SIZE))
        for s in SEEDS
    ]


def sides(lungs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The patient's right and left lung; the image's left half shows the right one."""
    count, components, stats, centroids = cv2.connectedComponentsWithStats(lungs.astype(np.uint8))
    largest = np.argsort(stats[1:, cv2.CC_STAT_AREA])[-2:] + 1
    assert count >= 3, "two lungs, apart from each other"
    right, left = sorted(largest, key=lambda c: centroids[c][0])
    return components == right, components == left


@pytest.mark.parametrize("pneumonia", [False, True])
def test_a_seed_is_one_image(pneumonia: bool) -> None:
    once = phantom(7, pneumonia=pneumonia, size=SIZE)
    again = phantom(7, pneumonia=pneumonia, size=SIZE)
    np.testing.assert_array_equal(once.pixels, again.pixels)
    np.testing.assert_array_equal(once.opacity, again.opacity)
    np.testing.assert_array_equal(once.lungs, again.lungs)


def test_seeds_are_different_patients(pairs: list[tuple[Phantom, Phantom]]) -> None:
    for (one, _), (other, _) in itertools.pairwise(pairs):
        assert np.mean(one.lungs != other.lungs) > 0.005
        assert np.abs(one.pixels.astype(int) - other.pixels).mean() > 3


@pytest.mark.parametrize(("size", "aspect", "width"), [(64, 1.0, 64), (200, 1.4, 280)])
def test_shape_follows_size_and_aspect(size: int, aspect: float, width: int) -> None:
    drawn = phantom(1, pneumonia=True, size=size, aspect=aspect)
    for image, dtype in ((drawn.pixels, np.uint8), (drawn.opacity, bool), (drawn.lungs, bool)):
        assert image.shape == (size, width)
        assert image.dtype == dtype
    assert drawn.opacity.any()


def test_a_wider_image_shows_the_same_patient() -> None:
    narrow = phantom(4, pneumonia=False, size=SIZE)
    wide = phantom(4, pneumonia=False, size=SIZE, aspect=1.5)
    margin = (wide.pixels.shape[1] - SIZE) // 2
    middle = wide.lungs[:, margin : margin + SIZE]
    assert np.mean(middle != narrow.lungs) < 0.002


def test_opacity_lies_in_the_lungs_and_takes_its_share(
    pairs: list[tuple[Phantom, Phantom]],
) -> None:
    for normal, pneumonia in pairs:
        assert (normal.label, pneumonia.label) == ("NORMAL", "PNEUMONIA")
        assert not normal.opacity.any()
        assert not (pneumonia.opacity & ~pneumonia.lungs).any()
        shares = [pneumonia.opacity[lung].mean() for lung in sides(pneumonia.lungs)]
        assert any(shares)
        assert all(share == 0 or 0.08 <= share <= 0.25 for share in shares), shares
    bilateral = sum(all(p.opacity[lung].any() for lung in sides(p.lungs)) for _, p in pairs)
    assert 0 < bilateral < len(pairs) / 2


def test_opacity_is_the_only_difference(pairs: list[tuple[Phantom, Phantom]]) -> None:
    for normal, pneumonia in pairs:
        np.testing.assert_array_equal(normal.lungs, pneumonia.lungs)
        change = pneumonia.pixels.astype(int) - normal.pixels
        assert change[pneumonia.opacity].mean() > 20
        assert np.mean(change[pneumonia.opacity] > 0) > 0.995
        away = cv2.distanceTransform((~pneumonia.opacity).astype(np.uint8), cv2.DIST_L2, 5)
        assert not change[away > 0.2 * SIZE].any()
        near = away < 0.05 * SIZE
        assert np.abs(change[near]).sum() > 0.9 * np.abs(change).sum()


def test_air_lung_and_mediastinum_differ_as_on_film() -> None:
    for seed in SEEDS:
        drawn = phantom(seed, pneumonia=False, size=SIZE, aspect=1.4)
        right, left = sides(drawn.lungs)
        rows = np.arange(int(0.4 * SIZE), int(0.6 * SIZE))
        air = drawn.pixels[rows, :6]
        lung = drawn.pixels[rows][drawn.lungs[rows]]
        between = np.concatenate(
            [drawn.pixels[r, np.flatnonzero(right[r])[-1] + 8 : np.flatnonzero(left[r])[0] - 8]
             for r in rows]
        )  # fmt: skip
        assert air.mean() < 20
        assert air.max() < np.percentile(lung, 5)
        assert np.median(between) > np.median(lung) + 50


def test_heart_points_to_the_patients_left(pairs: list[tuple[Phantom, Phantom]]) -> None:
    for normal, _ in pairs:
        right, left = sides(normal.lungs)
        rows = np.flatnonzero(right.any(axis=1))
        upper, heart = (int(np.quantile(rows, q)) for q in (0.3, 0.75))

        def inner(row: int, right: np.ndarray = right, left: np.ndarray = left) -> np.ndarray:
            return np.array([np.flatnonzero(right[row])[-1], np.flatnonzero(left[row])[0]])

        moved = inner(heart) - inner(upper)
        assert moved[1] > -1.5 * moved[0] > 0
        assert right.sum() > left.sum()


def test_right_lung_ends_higher(pairs: list[tuple[Phantom, Phantom]]) -> None:
    """The dome over the liver stands higher: on average, since patients lie askew."""
    lower = []
    for normal, _ in pairs:
        right, left = sides(normal.lungs)
        # The outer part of each lung, clear of the heart.
        ends = []
        for lung in (right, left[:, ::-1]):
            columns = np.flatnonzero(lung.any(axis=0))
            outer = columns[len(columns) // 6 : len(columns) // 2]
            ends.append(np.mean([np.flatnonzero(lung[:, c])[-1] for c in outer]))
        lower.append(ends[1] - ends[0])
    assert np.mean(lower) > 0.01 * SIZE


def test_uneven_lungs_tell_pneumonia_from_normal(pairs: list[tuple[Phantom, Phantom]]) -> None:
    """A rule of one line should do well but not perfectly: neither trivial nor hopeless."""

    def unevenness(drawn: Phantom) -> float:
        coarse = cv2.GaussianBlur(drawn.pixels.astype(np.float32), (0, 0), 0.03 * SIZE)
        return np.percentile(coarse[drawn.lungs], 97) - np.median(coarse[drawn.lungs])

    scores = [unevenness(drawn) for pair in pairs for drawn in pair]
    assert roc_auc_score([0, 1] * len(pairs), scores) > 0.85


NAMES = {
    "NORMAL": re.compile(r"(?P<patient>(NORMAL2-)?IM-\d{4})-\d{4}(-\d{4})?\.jpeg"),
    "PNEUMONIA": re.compile(r"(?P<patient>person\d+)_(?P<germ>bacteria|virus)_\d+\.jpeg"),
}


def files(folder: Path) -> list[Path]:
    return sorted(p.relative_to(folder) for p in folder.rglob("*.jpeg"))


def test_dataset_has_the_kaggle_layout(tmp_path: Path) -> None:
    write_dataset(tmp_path, patients=40, size=96)
    patients: dict[str, set[str]] = {}
    labels: dict[str, dict[str, str]] = {"train": {}, "val": {}, "test": {}}
    germs, shapes = set(), {"NORMAL": [], "PNEUMONIA": []}
    for file in files(tmp_path):
        split, label, name = file.parts
        match = NAMES[label].fullmatch(name)
        assert match, name
        patients.setdefault(match["patient"], set()).add(split)
        labels[split][match["patient"]] = label
        germs |= {match["germ"]} if label == "PNEUMONIA" else set()
        image = cv2.imread(str(tmp_path / file), cv2.IMREAD_UNCHANGED)
        assert image.ndim == 2, "grey JPEG"
        shapes[label].append(image.shape)

    assert len(patients) == 40
    assert all(len(splits) == 1 for splits in patients.values()), "a patient is in one split"
    assert len(files(tmp_path)) > 45, "some patients have several pictures"
    assert germs == {"bacteria", "virus"}
    assert {split: len(members) for split, members in labels.items()} == {
        "train": 28, "val": 4, "test": 8,
    }  # fmt: skip
    for members in labels.values():
        share = sum(label == "PNEUMONIA" for label in members.values()) / len(members)
        assert 0.6 < share < 0.85
    for label, seen in shapes.items():
        height, width = np.array(seen).T
        assert len(set(seen)) > len(seen) / 2, label
        assert 1.05 < np.median(width / height) < 1.35, label


def test_dataset_follows_its_seed(tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        write_dataset(tmp_path / name, patients=6, seed=seed, size=64)
    a, b, c = (
        {file: (tmp_path / name / file).read_bytes() for file in files(tmp_path / name)}
        for name in "abc"
    )
    assert a == b
    assert a != c


def test_smallest_dataset_fills_every_folder(tmp_path: Path) -> None:
    write_dataset(tmp_path, patients=6, size=64)
    folders = {file.parts[:2] for file in files(tmp_path)}
    assert folders == {(s, k) for s in ("train", "val", "test") for k in NAMES}


def test_too_few_patients_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 6"):
        write_dataset(tmp_path, patients=5)
    assert not files(tmp_path)
