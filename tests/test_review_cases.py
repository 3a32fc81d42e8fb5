"""Case lists of the reading room, and the windows they are looked at through."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_runs import pictures

from cxrlib import reviews
from cxrlib.data import dataset
from cxrlib.images.radiograph import RadiographError
from cxrlib.metrics import OperatingPoint

POINT = OperatingPoint("youden", 0.4, 0.3, 0.5)


@pytest.fixture(scope="module")
def predictions():
    table = pictures(240)
    rng = np.random.default_rng(0)
    score = rng.normal(np.where(table.label == "PNEUMONIA", 1.0, -1.0))
    return table.assign(probability=1 / (1 + np.exp(-score)))


def drawn(predictions, strategy, *, length=12, seed=0):
    return reviews.run_cases(
        predictions, strategy=strategy, point=POINT, length=length, seed=seed, folder=None
    )


@pytest.mark.parametrize("strategy", reviews.STRATEGIES)
def test_lists_follow_their_seed_and_hold_no_patient_twice(predictions, strategy):
    cases = drawn(predictions, strategy)
    assert cases == drawn(predictions, strategy)
    assert cases != drawn(predictions, strategy, seed=1)
    patients = predictions.set_index("path").patient
    assert 0 < len(cases) <= 12
    assert not patients[[case.path for case in cases]].duplicated().any()


def test_strategies_draw_what_they_promise(predictions):
    def rows(strategy):
        return pd.DataFrame(drawn(predictions, strategy))

    def right(table):
        return table.probability.where(table.label == "PNEUMONIA", 1 - table.probability)

    assert rows("balanced").label.value_counts().tolist() == [6, 6]
    errors = rows("errors")
    assert ((errors.label == "PNEUMONIA") != (errors.probability >= POINT.threshold)).all()
    assert right(rows("hardest")).max() < right(predictions).quantile(0.2)
    away = (rows("uncertain").probability - POINT.threshold).abs()
    assert away.max() < (predictions.probability - POINT.threshold).abs().quantile(0.3)


def test_order_does_not_tell_the_label_or_the_score():
    """Over many lists, neither label nor score is related to the place in the list."""
    table = pictures(240)
    ill = table.label == "PNEUMONIA"
    table["probability"] = np.where(ill, 0.9, 0.1) + np.linspace(-0.09, 0.09, len(table))
    places = {"label": [], "probability": []}
    for strategy in ("balanced", "hardest", "uncertain"):
        for seed in range(60):
            cases = drawn(table, strategy, seed=seed)
            middle = np.arange(len(cases)) - (len(cases) - 1) / 2
            places["label"].append(middle @ [case.label == "NORMAL" for case in cases])
            places["probability"].append(middle @ [case.probability for case in cases])
    for found in places.values():
        assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))


def test_only_images_at_hand_are_drawn(phantoms):
    index = dataset.index(phantoms)
    rows = index[index.split == "test"].assign(probability=0.5)
    stranger = rows.head(1).assign(path="../../etc/passwd", patient="x")
    missing = rows.head(1).assign(path="test/NORMAL/none.jpeg", patient="y")
    cases = reviews.run_cases(
        pd.concat([rows, stranger, missing]),
        strategy="random",
        point=POINT,
        length=100,
        seed=0,
        folder=phantoms,
    )
    assert {case.path for case in cases} <= set(rows.path)


def test_images_of_a_run_are_opened_from_the_data_set_only(phantoms):
    path = dataset.index(phantoms).path[0]
    assert reviews.open_case("run", path, folder=phantoms).pixels.ndim == 2
    for path in ("../../../etc/passwd", "train/NORMAL/../../x.jpeg", "elsewhere/NORMAL/x.jpeg"):
        with pytest.raises(dataset.DatasetError, match="no image"):
            reviews.open_case("run", path)


def test_own_folder(tmp_path, phantoms):
    source = sorted((phantoms / "test" / "PNEUMONIA").iterdir())[:2]
    (tmp_path / "PNEUMONIA").mkdir()
    (tmp_path / "more").mkdir()
    shutil.copy(source[0], tmp_path / "PNEUMONIA" / "a.jpeg")
    shutil.copy(source[0], tmp_path / "PNEUMONIA" / "copy.jpeg")
    shutil.copy(source[1], tmp_path / "more" / "b.jpeg")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("notes", "utf-8")
    cases = reviews.folder_cases(tmp_path, length=10, seed=0)
    assert sorted(case.label for case in cases) == ["", "PNEUMONIA"]
    assert reviews.open_case("folder", cases[0].path).pixels.dtype == np.uint8
    # The same image is the same case for a colleague who keeps it elsewhere.
    assert {case.case_key for case in cases} == {
        case.case_key for case in reviews.folder_cases(tmp_path, length=10, seed=7)
    }
    Path(cases[0].path).write_bytes(b"gone")
    with pytest.raises(RadiographError):
        reviews.open_case("folder", cases[0].path)


def test_practice_list_is_half_ill_and_opens():
    cases = reviews.practice_cases(length=10, seed=3)
    assert sorted(case.label for case in cases) == ["NORMAL"] * 5 + ["PNEUMONIA"] * 5
    assert len({case.case_key for case in cases}) == 10
    first = reviews.open_case("practice", cases[0].path)
    again = reviews.open_case("practice", cases[0].path)
    assert first.format == "Synthetic" and (first.pixels == again.pixels).all()
