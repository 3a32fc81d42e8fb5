"""Data sets as they come: other spellings, other folders, tables of labels."""

import csv
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from made_files import dicom, to_bytes
from PIL import Image
from streamlit.testing.v1 import AppTest

from cxrlib.__main__ import main
from cxrlib.data import classes, dataset, entries, index_cache
from cxrlib.data.entries import DatasetError, UnknownClassesError
from cxrlib.data.folds import assign_folds
from cxrlib.images import radiograph

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))


def image(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write(root: Path, names: Iterable[str]) -> Path:
    for seed, name in enumerate(names):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(image(seed))
    return root


def in_folders(*folders: str, count: int = 4) -> list[str]:
    return [f"{folder}/{n}.png" for folder in folders for n in range(count)]


def write_table(file: Path, rows: list[dict[str, object]]) -> None:
    with file.open("w", newline="") as opened:
        table = csv.DictWriter(opened, rows[0].keys())
        table.writeheader()
        table.writerows(rows)


@pytest.mark.parametrize(
    "folders",
    [
        ["Normal", "Pneumonia"],
        ["data/train/normal", "data/train/pneumonia", "data/valid/normal", "data/valid/pneumonia"],
        ["a/b/train/NORMAL", "a/b/train/PNEUMONIA", "a/b/test/NORMAL", "a/b/test/PNEUMONIA"],
        ["healthy/images", "healthy/masks", "Pneumonia/images", "Pneumonia/masks"],
    ],
)
def test_class_folders_in_any_spelling_and_depth(tmp_path: Path, folders: list[str]) -> None:
    root = write(tmp_path / "set", in_folders(*folders))
    table = dataset.index(root)
    assert set(table.label) == {"NORMAL", "PNEUMONIA"}
    for row in table.itertuples():
        healthy = "normal" in row.path.lower() or "healthy" in row.path
        assert (row.label == "NORMAL") == healthy
        assert row.split == (
            "val" if "valid" in row.path else "test" if "test" in row.path else "train"
        )
        assert "masks" not in row.path
        assert radiograph.read_file(dataset.picture_file(root, row.path)).pixels.shape == (64, 64)
    assert {"train", "validation"} <= set(assign_folds(table, validation_fraction=0.3, seed=0))
    assert index_cache.cached_index(root).equals(index_cache.cached_index(root))


@pytest.mark.parametrize(
    "names", [("BACTERIAL", "VIRAL"), ("Pneumonia_Bacteria", "Pneumonia-Virus"),
              ("bacterial pneumonia", "virus")],
)  # fmt: skip
def test_subtypes_may_be_class_folders(tmp_path: Path, names: tuple[str, str]) -> None:
    folders = [f"train/{name}" for name in ("NORMAL", *names)]
    root = write(tmp_path / "set", in_folders(*folders))
    table = dataset.index(root)
    assert table.groupby("subtype").label.unique().map(list).to_dict() == {
        "": ["NORMAL"], "bacterial": ["PNEUMONIA"], "viral": ["PNEUMONIA"],
    }  # fmt: skip


def test_a_class_whose_name_does_not_tell_is_asked_for(tmp_path: Path) -> None:
    root = write(tmp_path / "set", in_folders("COVID", "NORMAL", "Viral Pneumonia"))
    with pytest.raises(UnknownClassesError, match="COVID") as caught:
        dataset.index(root)
    assert caught.value.meanings == {"COVID": "", "NORMAL": "normal", "Viral Pneumonia": "viral"}
    before = dataset.fingerprint(root)
    classes.give(root, {"COVID": "leave-out"})
    assert dataset.fingerprint(root) != before
    table = dataset.index(root)
    assert set(table.subtype) == {"", "viral"} and len(table) == 8
    classes.give(root, {"COVID": "viral"})
    assert len(index_cache.cached_index(root)) == 12


def test_the_command_line_takes_meanings(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = write(tmp_path / "set", in_folders("COVID", "NORMAL", "Viral Pneumonia"))
    evaluate = ["evaluate", "--split", "all", "--json", "--data", str(root)]
    assert main(evaluate) == 2
    assert "--meaning 'COVID=leave-out'" in capsys.readouterr().err
    for wrong in ("COVID=sick", "Covid-19=viral", "=viral"):
        assert main([*evaluate, "--meaning", wrong]) == 2
    assert main([*evaluate, "--meaning", "COVID=viral"]) == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == 12


def test_a_run_tells_what_classes_mean_and_how_many_images_it_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from cxrlib.runs.config import TrainingConfig, for_network
    from cxrlib.training.images import divide

    root = write(tmp_path / "set", in_folders("COVID", "NORMAL", "Viral Pneumonia"))
    classes.give(root, {"COVID": "leave-out"})
    config = TrainingConfig(**for_network("cnn", batch_size=2, validation_fraction=0.4))
    split = divide(config, root)
    meant, taken = capsys.readouterr().out.splitlines()
    assert "COVID (4 files): leave-out" in meant and "NORMAL (4 files): normal" in meant
    assert f"{len(split.rows('train'))} images to train on" in taken
    assert f"{len(split.rows('validation'))} images to validate on" in taken


def test_the_page_asks_for_meanings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "set", in_folders("COVID", "NORMAL", "Viral Pneumonia"))
    monkeypatch.setenv("CXR_DATA_DIR", str(root))
    monkeypatch.setenv("CXR_TRAINING", "on")
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=90).run()
    app.switch_page("pages/dataset.py").run()
    assert app.selectbox(key="meaning_COVID").value is None
    app.selectbox(key="meaning_COVID").set_value("leave-out")
    next(button for button in app.button if button.label == "Use these meanings").click().run()
    assert not app.exception
    assert dataset.index(root).label.value_counts().to_dict() == {"NORMAL": 4, "PNEUMONIA": 4}


def test_what_is_refused_shows_what_is_there_beside_what_is_wanted(tmp_path: Path) -> None:
    root = write(tmp_path / "set", in_folders("cats", "dogs"))
    with pytest.raises(DatasetError) as caught:
        dataset.index(root)
    assert "cats/  4 files" in str(caught.value) and dataset.LAYOUT in str(caught.value)


def rsna(root: Path) -> Path:
    """As published: three classes in one table, boxes in another, DICOM files named by patient."""
    folder = root / "stage_2_train_images"
    folder.mkdir(parents=True)
    kinds = ("Normal", "Lung Opacity", "No Lung Opacity / Not Normal")
    rows = [{"patientId": f"p{n:03d}", "class": kinds[n % 3]} for n in range(15)]
    for number, row in enumerate(rows):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64), np.uint8)
        (folder / f"{row['patientId']}.dcm").write_bytes(to_bytes(dicom(pixels)))
    write_table(root / "stage_2_detailed_class_info.csv", rows + rows[1:2])
    boxes = [
        {"patientId": row["patientId"], "x": "", "Target": int(row["class"] == kinds[1])}
        for row in rows
    ]
    write_table(root / "stage_2_train_labels.csv", boxes + boxes[1:2])
    return root


def nih(root: Path) -> Path:
    findings = ("No Finding", "Pneumonia", "Edema|Pneumonia", "Effusion", "Cardiomegaly|Edema")
    rows = [
        {
            "Image Index": f"{n:08d}_000.png",
            "Finding Labels": findings[n % 5],
            "Follow-up #": 0,
            "Patient ID": n // 2,
        }
        for n in range(20)
    ]
    write(root, [f"images_{n % 2:03d}/images/{row['Image Index']}" for n, row in enumerate(rows)])
    write_table(root / "Data_Entry_2017.csv", rows)
    (root / "test_list.txt").write_text("00000000_000.png\n00000001_000.png\n")
    return root


@pytest.mark.parametrize(("make", "positive", "negative"), [(rsna, 5, 5), (nih, 8, 4)])
def test_published_tables_over_a_folder_of_images(
    tmp_path: Path, make: Callable[[Path], Path], positive: int, negative: int
) -> None:
    table = dataset.index(make(tmp_path / "set"))
    assert table.label.value_counts().to_dict() == {"PNEUMONIA": positive, "NORMAL": negative}
    if make is nih:
        assert table.patient.nunique() < len(table), "patients come from their column"
        assert (table.split == "test").sum() == 2


def test_any_table_of_files_labels_patients_and_splits(tmp_path: Path) -> None:
    root = write(tmp_path / "set", [f"xrays/{n}.png" for n in range(12)])
    rows = [
        {
            "X_ray_image_name": f"{n}.png",
            "Label": ("Normal", "Pnemonia")[n % 2],  # as the Kaggle table spells it
            "Dataset_type": "TEST" if n > 7 else "TRAIN",
            "patient_id": n % 4,
        }
        for n in range(12)
    ]
    write_table(root / "metadata.csv", rows)
    assert entries.meanings(root) == {"Normal": (6, "normal"), "Pnemonia": (6, "")}
    classes.give(root, {"Pnemonia": "pneumonia"})
    table = dataset.index(root)
    assert table.split.value_counts().to_dict() == {"train": 8, "test": 4}
    assert set(table.patient) == set("0123")
