"""What the data-set page says about a data set, against numbers known beforehand."""

import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_runs import make_run
from sklearn.metrics import roc_auc_score

from cxrlib import runs
from cxrlib.data import dataset, gallery, overview, shortcuts, summary
from cxrlib.data.folds import assign_folds
from cxrlib.formatting import percent


def small_table() -> pd.DataFrame:
    rows = [
        # split, label, subtype, patient, digest, width, height
        ("train", "NORMAL", "", "IM-1", "a", 100, 100),
        ("train", "NORMAL", "", "IM-1", "b", 120, 100),
        ("train", "PNEUMONIA", "viral", "person1", "c", 200, 100),
        ("train", "PNEUMONIA", "bacterial", "person2", "d", 220, 100),
        ("train", "PNEUMONIA", "bacterial", "person3", "e", 110, 100),
        ("val", "PNEUMONIA", "bacterial", "person2", "f", 300, 100),
        ("val", "PNEUMONIA", "viral", "person4", "c", 200, 100),
        ("test", "NORMAL", "", "IM-1", "g", 400, 100),
        ("test", "PNEUMONIA", "viral", "person1", "h", 300, 200),
    ]
    columns = ["split", "label", "subtype", "patient", "digest", "width", "height"]
    table = pd.DataFrame(rows, columns=columns)
    names = [f"{row.patient}_{number}.jpeg" for number, row in enumerate(table.itertuples())]
    return table.assign(path=table.split + "/" + table.label + "/" + names)


def test_counts_by_side() -> None:
    table = small_table()
    counts = overview.counts(table, table.split)
    assert counts.index.tolist() == ["train", "val", "test"]
    assert counts.loc["train"].to_dict() == {
        "pictures": 5, "normal": 2, "pneumonia": 3, "bacterial": 2, "viral": 1, "patients": 4,
        "share": 0.6,
    }  # fmt: skip


def test_imbalance_and_completeness_in_words() -> None:
    table = small_table()
    assert "**2.0 with pneumonia**" in overview.imbalance(table)
    assert f"right {percent(2 / 3)} of" in overview.imbalance(table)
    healthy = table[(table.label == "NORMAL") | (table.patient == "person1")]
    assert "**1.5 normal ones**" in overview.imbalance(healthy)
    assert "train has 5 of 5,216, val has 2 of 16, test has 2 of 624" in overview.completeness(
        table
    )


def test_shared_between_sides_does_not_count_numbers_of_the_test_folder() -> None:
    table = small_table()
    found = overview.shared(table, table.split)
    assert found.patients == ["person2"], "IM-1 and person1 are numbered anew in test"
    assert [[Path(path).parent.as_posix() for path in group] for group in found.copies] == [
        ["train/PNEUMONIA", "val/PNEUMONIA"]
    ]
    left_out = table.split.where(table.digest != "c", "excluded")
    assert overview.shared(table, left_out).copies == []


def test_what_a_run_was_trained_on_is_kept_and_of_no_other_images(
    phantoms: Path, tmp_path: Path
) -> None:
    table = dataset.index(phantoms)
    folds = assign_folds(table, validation_fraction=0.15, seed=0)
    run = make_run(tmp_path, "good", table.assign(split=folds)[folds == "validation"])
    run.save_data_summary(summary.summarize(run, table))
    kept = run.data_summary
    assert kept["images"] == len(table)
    sides = {row["side"]: row for row in kept["counts"]["split"]}
    assert sides["validation"]["pictures"] == (folds == "validation").sum()
    assert kept["shared"]["split"] == {"patients": 0, "copies": 0}
    assert set(kept["histograms"]) >= {"brightness", "contrast"}
    assert len(kept["separations"]) == len(kept["histograms"])
    with pytest.raises(runs.RunError, match="other images"):
        summary.summarize(run, dataset.index(phantoms).iloc[:-4])


def test_separation_is_the_auc_whichever_class_is_larger() -> None:
    rng = np.random.default_rng(0)
    label = np.where(np.arange(400) < 120, "NORMAL", "PNEUMONIA")
    values = pd.Series(np.round(rng.normal(size=400) + (label == "PNEUMONIA"), 1))  # with ties
    table = pd.DataFrame({"label": label, "patient": [f"p{number // 2}" for number in range(400)]})
    expected = roc_auc_score(label == "PNEUMONIA", values)
    found = shortcuts.univariate_auc(table, values)
    assert found.higher == "PNEUMONIA"
    assert found.auc.value == pytest.approx(expected)
    assert found.auc.low < expected < found.auc.high
    # Hanley & McNeil's (1982) standard error, which knows nothing of the bootstrap.
    q1, q2 = expected / (2 - expected), 2 * expected**2 / (1 + expected)
    variance = expected * (1 - expected) + 279 * (q1 - expected**2) + 119 * (q2 - expected**2)
    width = 2 * 1.96 * math.sqrt(variance / (120 * 280))
    assert found.auc.high - found.auc.low == pytest.approx(width, rel=0.2)

    turned = shortcuts.univariate_auc(table, -values)
    assert turned.higher == "NORMAL"
    assert turned.auc.value == pytest.approx(expected)
    assert (turned.auc.low, turned.auc.high) == pytest.approx((found.auc.low, found.auc.high))
    assert "normal is larger" in turned.words

    constant = shortcuts.univariate_auc(table, values * 0)
    assert (constant.auc.value, constant.auc.low, constant.auc.high) == (0.5, 0.5, 0.5)
    assert constant.words == "little or none"
    one_class = shortcuts.univariate_auc(table[:100], values[:100])
    assert math.isnan(one_class.auc.value) and one_class.words == "little or none"


def test_more_images_of_the_same_patients_make_no_interval_narrower() -> None:
    rng = np.random.default_rng(1)
    label = np.where(np.arange(90) < 40, "NORMAL", "PNEUMONIA")
    table = pd.DataFrame({"label": label, "patient": [f"p{number}" for number in range(90)]})
    values = pd.Series(rng.normal(size=90) + (label == "PNEUMONIA"))
    once = shortcuts.univariate_auc(table, values).auc
    again = shortcuts.univariate_auc(
        pd.concat([table] * 4, ignore_index=True), pd.concat([values] * 4, ignore_index=True)
    ).auc
    assert again.value == pytest.approx(once.value)
    assert again.high - again.low == pytest.approx(once.high - once.low, rel=0.15)


def test_a_shortcut_built_into_a_data_set_is_seen(phantoms: Path, tmp_path: Path) -> None:
    table = dataset.index(phantoms)
    plain = shortcuts.measures(table, shortcuts.exposure(table, folder=tmp_path))
    assert set(plain) == set(shortcuts.MEASURES)
    assert shortcuts.univariate_auc(table, plain.aspect).auc.low < 0.6, (
        "phantoms' shape tells nothing"
    )

    # As in the real set: pneumonia wider and brighter.
    ill = table.label == "PNEUMONIA"
    wider = table.assign(width=np.where(ill, table.height * 14 // 10, table.height))
    found = shortcuts.univariate_auc(wider, shortcuts.measures(wider, None).aspect)
    assert found.words == "very strong: pneumonia is larger"


def test_exposure_does_not_hang_on_the_size_of_an_image(tmp_path: Path) -> None:
    from PIL import Image

    from cxrlib.synthetic.phantom import phantom

    folder = tmp_path / "set"
    for label, size in (("NORMAL", 600), ("PNEUMONIA", 150)):
        (folder / "train" / label).mkdir(parents=True)
        picture = Image.fromarray(phantom(1, pneumonia=False, size=600).pixels)
        small = picture.resize((size, size), Image.Resampling.BOX)
        small.save(folder / "train" / label / "picture.png")
    exposure = shortcuts.exposure(dataset.index(folder), folder=tmp_path / "cache")
    assert np.ptp(exposure.brightness) < 0.5
    assert np.ptp(exposure.contrast) < 1
    assert exposure.brightness[0] == pytest.approx(np.asarray(picture).mean(), abs=0.5)


def test_exposure_in_the_background_comes_to_the_same(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path))
    table = dataset.index(phantoms)
    task = shortcuts.ExposureTask(table)
    task.join(30)
    assert (task.share, task.problem) == (1, "")
    assert task.result is not None
    pd.testing.assert_frame_equal(task.result, shortcuts.exposure(table))

    copy = Path(shutil.copytree(phantoms, tmp_path / "copy"))
    broken = dataset.index(copy)
    (copy / broken.path[3]).write_bytes(b"")
    broken.loc[3, "digest"] = "changed"
    task = shortcuts.ExposureTask(broken)
    task.join(30)
    assert task.result is None and broken.path[3] in task.problem


def test_histogram_shares_add_up_and_hold_what_lies_outside() -> None:
    table = pd.DataFrame({"label": ["NORMAL"] * 300 + ["PNEUMONIA"] * 900})
    values = pd.Series(np.r_[np.linspace(0, 1, 299), 1e6, np.linspace(0.5, 1.5, 900)])
    spread = shortcuts.histogram(table, values)
    for _, part in spread.groupby("label"):
        assert part.share.iloc[:-1].sum() == pytest.approx(1)
    assert spread.value.max() < 2, "one outlier does not flatten the figure"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, [7, 0, 1, 8, 2, 3, 4, 5, 6]),
        ({"split": "train", "label": "PNEUMONIA"}, [2, 3, 4]),
        ({"subtype": "viral"}, [8, 2, 6]),
        ({"name": "PERSON2"}, [3, 5]),
        ({"name": ".*"}, []),
        ({"copies": True}, [2, 6]),
        ({"size": "Largest quarter"}, [7, 8]),
        ({"order": "Widest first", "split": "test"}, [7, 8]),
        ({"order": "Smallest first", "split": "train"}, [0, 4, 1, 2, 3]),
    ],
)
def test_selection(wanted: dict[str, str], expected: list[int]) -> None:
    table = small_table()
    values = shortcuts.measures(table, None)
    rows = gallery.select(table, values, gallery.Selection(**wanted))
    if "order" not in wanted:
        expected = table.path[expected].sort_values().index.tolist()
    assert rows.index.tolist() == expected


def test_facts_of_an_image() -> None:
    table = small_table()
    facts = gallery.facts(table, table.loc[6], np.full((100, 200), 90, np.uint8))
    assert facts["Class"] == "Pneumonia, viral"
    assert facts["Identical to"] == table.path[2]
    assert facts["Aspect ratio"] == "2.00"
    in_test = gallery.facts(table, table.loc[8], np.zeros((9, 9), np.uint8))
    assert in_test["Patient"] == "person1, 1 image", "person1 of train is another child"
