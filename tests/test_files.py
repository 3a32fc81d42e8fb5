"""Images in folders: told by their content, bounded before they are read, the rest named."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from made_files import dicom, to_bytes
from PIL import Image

from cxrlib import reviews
from cxrlib.__main__ import main
from cxrlib.data import dataset, index_cache
from cxrlib.images import files
from cxrlib.images.preprocess import cached_pixels
from cxrlib.images.radiograph import RadiographError, read_file
from cxrlib.synthetic.phantom import phantom

IMAGES = ("1.2.840.113619.2", "A.JFIF", "b.jpe", "c.IMA", "d.TIF", "e.bmp", "f.webp", "g")


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Eight images under unusual names, and eight things that are none."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for number, name in enumerate(IMAGES):
        pixels = phantom(number, pneumonia=False, size=300).pixels
        if name in ("1.2.840.113619.2", "c.IMA", "g"):
            (folder / name).write_bytes(to_bytes(dicom(pixels)))
        else:
            kind = {".TIF": "TIFF", ".bmp": "BMP", ".webp": "WEBP"}.get(Path(name).suffix, "JPEG")
            Image.fromarray(pixels).save(folder / name, kind)
    (folder / "copy.jpeg").mkdir()
    (folder / "gone.jpeg").symlink_to(folder / "nowhere")
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" * 99)
    (folder / "notes").write_text("left lung")
    (folder / "DICOMDIR").write_bytes((folder / "g").read_bytes())
    with (folder / "huge.tif").open("wb") as huge:
        huge.truncate(20 * 2**30)  # sparse: it takes no room
    os.mkfifo(folder / "pipe.png")
    with open(os.fsencode(folder) + b"/bl\xe4h.jpeg", "wb") as latin:  # noqa: PTH123
        latin.write((folder / "b.jpe").read_bytes())
    (folder / ".DS_Store").write_bytes(b"hidden")
    return folder


REASONS = {
    "gone.jpeg": "link",
    "Thumbs.db": "no image",
    "notes": "no image",
    "DICOMDIR": "list",
    "huge.tif": "50 MB",
    "pipe.png": "no file",
    "bl\N{REPLACEMENT CHARACTER}h.jpeg": "UTF-8",
}


def test_a_folder_goes_by_content_and_names_the_rest(mixed: Path) -> None:
    images, left_out = files.find(mixed)
    assert [file.name for file in images] == sorted(IMAGES)
    found = {files.printable(file.name): why for file, why in left_out.items()}
    assert found.keys() == REASONS.keys()
    assert all(why in found[name] for name, why in REASONS.items())


def test_predict_reads_what_is_an_image_and_counts_the_rest(
    mixed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(mixed), "--insist", "--json"]) == 0
    printed = capsys.readouterr()
    records = [json.loads(line) for line in printed.out.splitlines()]
    assert [Path(record["file"]).name for record in records] == sorted(IMAGES)
    assert all("probability" in record for record in records)
    assert f"{len(REASONS)} files were left out" in printed.err


def test_named_files_that_cannot_be_read_are_sentences(
    mixed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = [
        os.fsdecode(os.fsencode(mixed) + b"/bl\xe4h.jpeg"),
        *map(str, map(mixed.joinpath, REASONS)),
    ]
    named = [name for name in odd if "pipe" not in name]  # waiting for it is what was asked for
    assert main(["predict", *named]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(named)
    assert "larger than" in next(line for line in lines if "huge" in line)
    assert main(["explain", str(mixed / "huge.tif"), "--out", str(mixed / "map.png")]) == 2


def test_an_unreadable_folder_is_named(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mode bits would not do: they do not stop root."""
    real = os.scandir

    def refused(folder):
        if Path(folder).name == "copy.jpeg":
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refused)
        _, left_out = files.find(mixed)
    assert "Permission" in left_out[mixed / "copy.jpeg"]


def test_a_reviewers_folder_goes_by_content_too(mixed: Path) -> None:
    cases = reviews.folder_cases(mixed, length=50, seed=0)
    assert sorted(Path(case.path).name for case in cases) == sorted(IMAGES)


def test_what_is_too_large_is_not_loaded(mixed: Path) -> None:
    with pytest.raises(RadiographError, match="larger than"):
        read_file(mixed / "huge.tif")


@pytest.fixture
def folder(phantoms: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(phantoms, tmp_path / "chest_xray"))


def test_the_data_set_goes_by_content(mixed: Path, folder: Path, tmp_path: Path) -> None:
    before = len(dataset.index(folder))
    shutil.copytree(
        mixed,
        folder / "train/NORMAL",
        dirs_exist_ok=True,
        symlinks=True,
        copy_function=os.link,  # a copy of the sparse file would take all its 20 GB
        ignore=lambda _, names: {"pipe.png"} & {*names},
    )
    table = index_cache.cached_index(folder, cache=tmp_path / "cache")
    assert len(table) == before + len(IMAGES)
    reasons = {Path(file).name: why for file, why in table.attrs["left_out"].items()}
    assert reasons.keys() == (REASONS.keys() - {"pipe.png"}) | {"copy.jpeg"}
    assert reasons["copy.jpeg"] == "a folder"
    (sentence,) = dataset.warnings(table)
    assert sentence.startswith(f"{len(reasons)} files were left out")
    kept = cached_pixels(table, 64, folder=tmp_path / "cache")
    assert kept.shape == (len(table), 64, 64)
    assert dataset.picture_file(folder, "train/NORMAL/c.IMA").name == "c.IMA"
    with pytest.raises(dataset.DatasetError):
        dataset.picture_file(folder, "train/NORMAL/notes")


def test_equal_names_in_both_classes_are_two_patients(folder: Path) -> None:
    for number, label in enumerate(("NORMAL", "PNEUMONIA")):
        drawn = phantom(number, pneumonia=bool(number), size=128).pixels
        Image.fromarray(drawn).save(folder / "train" / label / "img_000.jpeg")
    table = dataset.index(folder)
    same = table[table.path.str.endswith("img_000.jpeg")]
    assert same.patient.nunique() == 2
    assert not dataset.warnings(table)


def test_an_image_under_both_labels_is_reported(folder: Path) -> None:
    normal = sorted((folder / "train/NORMAL").iterdir())[0]
    shutil.copy(normal, folder / "train/PNEUMONIA/person9_virus_9.jpeg")
    shutil.copy(normal, folder / "train/NORMAL/again.jpeg")
    (sentence,) = dataset.warnings(dataset.index(folder))
    assert "both labels" in sentence
    assert "train/PNEUMONIA/person9_virus_9.jpeg" in sentence


def test_half_a_cache_file_is_made_anew(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"

    def read() -> tuple[object, np.ndarray]:
        table = index_cache.cached_index(folder, cache=cache)
        return table, np.array(cached_pixels(table, 64, folder=cache))

    table, pixels = read()
    for part in (0.0, 0.5, 0.99):
        for file in cache.iterdir():
            os.truncate(file, int(part * file.stat().st_size))
        again, same = read()
        assert again.equals(table)
        assert (same == pixels).all()
