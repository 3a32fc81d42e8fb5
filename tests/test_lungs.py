"""Lung fields: found where they are, and nowhere else; what is made of them."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrlib import metrics, runs
from cxrlib.data import dataset
from cxrlib.data.folds import assign_folds
from cxrlib.images import preprocess, radiograph
from cxrlib.images.limits import RadiographError
from cxrlib.inference import lung_fields
from cxrlib.inference.classifier import Prediction
from cxrlib.inference.lung_fields import LungFinder, Lungs
from cxrlib.metrics import OperatingPoint
from cxrlib.networks.lungs import SIZE
from cxrlib.synthetic.phantom import phantom
from cxrlib.training.lungs import lung_masks, train
from pages.shared.heat_in_lungs import share_warning


@pytest.fixture(scope="module")
def finder() -> LungFinder:
    return lung_fields.shipped()


def drawn_lungs(left: int = 20, right: int = 108) -> Lungs:
    probability = np.zeros((SIZE, SIZE), np.float32)
    probability[30:100, left:55] = probability[30:100, 73:right] = 0.9
    return Lungs(probability)


def test_box_holds_the_lungs_with_a_margin_and_stays_in_the_image() -> None:
    left, top, right, bottom = drawn_lungs().box
    assert left == pytest.approx((20 - 0.06 * 88) / SIZE, abs=0.01)
    assert right == pytest.approx((108 + 0.06 * 88) / SIZE, abs=0.01)
    assert top == pytest.approx((30 - 0.06 * 70) / SIZE, abs=0.01)
    assert bottom == pytest.approx((100 + 0.06 * 70) / SIZE, abs=0.01)
    assert drawn_lungs(0, SIZE).box[::2] == (0, 1)


def test_specks_are_no_lungs() -> None:
    found = drawn_lungs()
    found.probability[5:10, 5:10] = 1
    assert not found.mask[5:10, 5:10].any()
    assert found.box == drawn_lungs().box
    alone = np.zeros((SIZE, SIZE), np.float32)
    alone[5:10, 5:10] = 1
    assert not Lungs(alone).found
    assert Lungs(alone).box == preprocess.WHOLE


def test_share_of_a_heatmap_inside() -> None:
    found = drawn_lungs()
    inside = cv2.resize(found.mask.astype(np.float32), (300, 200), interpolation=cv2.INTER_NEAREST)
    assert found.share(inside) == 1
    assert found.share(1 - inside) == 0
    assert found.share(np.ones((200, 300))) == pytest.approx(found.mask.mean(), abs=0.01)
    assert np.isnan(found.share(np.zeros((50, 50))))


def test_warned_of_a_heatmap_that_lies_in_the_lungs_no_more_than_by_chance() -> None:
    found = drawn_lungs()
    whole = Prediction(0.9, {}, OperatingPoint("youden", 0.5, 0.4, 0.6), "a", found)
    in_box = replace(whole, seen=found.box)
    left, top, right, bottom = (round(200 * end) for end in found.box)
    even = np.zeros((200, 200), np.float32)
    even[top:bottom, left:right] = 1
    # Spread evenly over what the network sees: no sign of lungs there, but all a whole one needs.
    assert found.share(even) == pytest.approx(found.share_by_chance(found.box), abs=0.02)
    assert "no more than by chance" in share_warning(in_box, 0.9 * even + 0.1)
    assert not share_warning(whole, even)
    inside = cv2.resize(found.mask, (200, 200), interpolation=cv2.INTER_NEAREST)
    assert not share_warning(in_box, even + inside)


def test_contours_lie_on_the_borders() -> None:
    contours = drawn_lungs().contours((256, 512))
    assert len(contours) == 2
    x, y = np.concatenate(contours).T
    assert (x.min(), x.max()) == pytest.approx((20 * 4, 108 * 4), abs=5)
    assert (y.min(), y.max()) == pytest.approx((30 * 2, 100 * 2), abs=3)


def test_shipped_network_finds_drawn_lungs(finder: LungFinder) -> None:
    shares = []
    for seed in range(8):
        drawn = phantom(seed, pneumonia=False, size=256)
        found = cv2.resize(finder.find(drawn.pixels).mask, drawn.pixels.shape[::-1]) > 0
        # People include in a lung what lies behind heart and diaphragm; a phantom's mask does not.
        shares.append((found & drawn.lungs).sum() / drawn.lungs.sum())
    assert np.mean(shares) > 0.8


@pytest.mark.parametrize("turn", ["upside down", "on its side", "inverted"])
def test_no_lungs_in_a_radiograph_that_is_not_upright(finder: LungFinder, real, turn: str) -> None:
    files = sorted((real("uploads") / "NORMAL").iterdir())[:6]
    made = {
        "upside down": np.flipud,
        "on its side": np.rot90,
        "inverted": lambda picture: 255 - picture,
    }[turn]
    pictures = [radiograph.read(file.read_bytes()).pixels for file in files]
    assert all(finder.find(picture).found for picture in pictures)
    assert np.mean([finder.find(made(picture)).found for picture in pictures]) < 0.2


def test_lungs_of_a_data_set_are_found_once(
    finder: LungFinder, phantoms: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "kept"))
    table = dataset.index(phantoms)
    found = list(finder.find_cached(table, 200))
    squares = preprocess.cached_pixels(table, 200)
    for one, anew in zip(found, finder.find_all(squares), strict=True):
        np.testing.assert_allclose(one.probability, anew.probability, atol=1e-3)
    for file in (tmp_path / "kept").glob("pixels-*"):
        file.unlink()
    table.attrs["root"] = str(tmp_path / "gone")
    again = finder.find_cached(table, 200)
    assert [one.box for one in again] == [one.box for one in found]
    with pytest.raises(RadiographError, match="No such file"):
        next(finder.find_cached(table, 201))


def dice(run: runs.Run) -> dict[str, float]:
    recorded = json.loads((run.folder / "metrics.json").read_text())
    return recorded["splits"]["validation"]["dice"]


def test_shipped_network_agrees_with_people(finder: LungFinder, real) -> None:
    table = dataset.index(real("chest_xray"))
    held_out = table[assign_folds(table, validation_fraction=0.15, seed=0) == "validation"]
    held_out = held_out.sample(60, random_state=0)
    root = Path(table.attrs["root"])
    pictures = [np.asarray(Image.open(root / path).convert("L")) for path in held_out.path]
    masks = lung_masks(held_out, real("lung_masks"), SIZE)
    found = np.stack([one.mask for one in finder.find_all(pictures)])
    overlap = 2 * (found & masks).sum(axis=(1, 2)) / (found.sum((1, 2)) + masks.sum((1, 2)))
    assert overlap[masks.any(axis=(1, 2))].mean() > 0.94
    recorded = metrics.Estimate(**dice(finder.run))
    assert recorded.value >= 0.95


def test_it_is_small_enough() -> None:
    assert (runs.SHIPPED_LUNGS / "model.keras").stat().st_size < 4e6
    assert (runs.SHIPPED_LUNGS / "model.onnx").stat().st_size < 4e6


@pytest.mark.slow
def test_training_learns_lungs_from_masks(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))
    for number in range(80):
        label = ("NORMAL", "PNEUMONIA")[number % 2]
        drawn = phantom(number, pneumonia=label == "PNEUMONIA", size=128)
        for place, picture in (("data", drawn.pixels), ("masks", drawn.lungs * np.uint8(255))):
            file = tmp_path / place / "train" / label / f"person{number}_virus_{number}"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(f"{file}.{'jpeg' if place == 'data' else 'png'}")
    run = train(
        tmp_path / "data",
        tmp_path / "masks",
        name="lungs",
        epochs=6,
        batch=8,
        models=tmp_path / "models",
    )
    assert run.finished
    # Of so few steps the moving averages of normalization know nothing yet, and so does val_dice.
    losses = pd.read_csv(run.folder / "history.csv").loss
    assert losses.iloc[-1] < losses.iloc[0]
    assert dice(run)["value"] > 0.5
    assert set(pd.read_csv(run.folder / "predictions.csv").columns) >= {"path", "patient", "dice"}
    assert LungFinder(run).find(phantom(99, pneumonia=False, size=200).pixels).found


def test_masks_that_fit_no_image_are_named(phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(dataset.DatasetError, match="no lung mask for any image"):
        lung_masks(dataset.index(phantoms), tmp_path, SIZE)
