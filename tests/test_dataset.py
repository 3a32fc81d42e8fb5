"""The data set's index, patients, split, damage, and download."""

import http.server
import io
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cxrlib.data import dataset, entries, examples, index_cache, overview
from cxrlib.data.dataset import DatasetError
from cxrlib.data.downloads import Download
from cxrlib.data.folds import assign_folds
from cxrlib.labels import BINARY

STAND_IN_PORT = 7777  # where kagglehub looks with KAGGLE_API_ENVIRONMENT=TEST


@pytest.fixture
def folder(phantoms: Path, tmp_path: Path) -> Path:
    """A copy of the phantom data set to break."""
    return Path(shutil.copytree(phantoms, tmp_path / "chest_xray"))


def test_index_knows_every_image(phantoms: Path) -> None:
    table = dataset.index(phantoms)
    files = sorted(path.relative_to(phantoms).as_posix() for path in phantoms.rglob("*.jpeg"))
    assert table.path.tolist() == files
    first = table.iloc[0]
    assert first.path == f"{first.split}/{first.label}/{Path(first.path).name}"
    assert set(table.split) == {"train", "val", "test"}
    assert (table.subtype[table.label == "NORMAL"] == "").all()
    assert set(table.subtype[table.label == "PNEUMONIA"]) == {"bacterial", "viral"}
    assert table.patient.nunique() == 40
    assert table.width.nunique() > 10, "phantoms differ in width"
    assert table.digest.is_unique


def test_the_folder_above_will_do(phantoms: Path) -> None:
    above = dataset.index(phantoms.parent)
    pd.testing.assert_frame_equal(above, dataset.index(phantoms))
    assert above.attrs["root"] == str(phantoms)


@pytest.mark.parametrize(
    ("name", "patient", "subtype"),
    [
        ("IM-0115-0001.jpeg", "IM-0115", ""),
        ("IM-0551-0001-0002.jpeg", "IM-0551", ""),
        ("NORMAL2-IM-1427-0001.jpeg", "NORMAL2-IM-1427", ""),
        ("NORMAL2-IM-0626-0001-0002.jpeg", "NORMAL2-IM-0626", ""),
        ("person12_bacteria_46.jpeg", "person12", "bacterial"),
        ("person1000_virus_1681.jpeg", "person1000", "viral"),
        ("person1372_virus_2365_1.jpeg", "person1372", "viral"),
        ("someone_else.png", "NORMAL/someone_else", ""),
    ],
)
def test_what_a_file_name_tells(name: str, patient: str, subtype: str) -> None:
    assert entries.patient(name, "NORMAL") == patient
    assert entries.subtype(name) == subtype


def test_another_layout_is_refused_and_the_layout_shown(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist") as missing:
        dataset.index(tmp_path / "nowhere")
    assert "train/NORMAL/*.jpeg" in str(missing.value)
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DatasetError, match=r"is not laid out as a data set[\s\S]*train/PNEUMONIA"):
        dataset.index(tmp_path)


def test_half_a_copy_is_named_as_such(folder: Path) -> None:
    shutil.rmtree(folder / "train" / "PNEUMONIA")
    with pytest.raises(DatasetError, match="incomplete: train/PNEUMONIA is missing"):
        dataset.index(folder)
    (folder / "train" / "PNEUMONIA").mkdir()
    with pytest.raises(DatasetError, match=r"PNEUMONIA has no images"):
        dataset.index(folder)


@pytest.mark.parametrize("keep", [0, 30, 0.5, 0.98])
def test_a_file_cut_off_anywhere_is_named(folder: Path, keep: float) -> None:
    victim = sorted((folder / "train" / "NORMAL").iterdir())[2]
    data = victim.read_bytes()
    victim.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    with pytest.raises(DatasetError, match=f"1 of .*train/NORMAL/{victim.name}.*fetch"):
        dataset.index(folder)


def test_bytes_after_the_end_of_an_image_do_no_harm(folder: Path) -> None:
    padded = next((folder / "test" / "NORMAL").iterdir())
    padded.write_bytes(padded.read_bytes() + b"\0" * 7)
    assert len(dataset.index(folder)) == len(list(folder.rglob("*.jpeg")))


def test_fingerprint_follows_the_files(folder: Path) -> None:
    before = dataset.fingerprint(folder)
    assert dataset.fingerprint(folder) == before
    (folder / "notes.txt").write_text("no image", encoding="utf-8")
    assert dataset.fingerprint(folder) == before
    seen = {before}
    picture = sorted((folder / "train" / "NORMAL").iterdir())[0]
    picture.write_bytes(picture.read_bytes() + b"\0")
    seen.add(dataset.fingerprint(folder))
    picture.rename(picture.with_name("IM-9999-0001.jpeg"))
    seen.add(dataset.fingerprint(folder))
    picture.with_name("IM-9999-0001.jpeg").unlink()
    seen.add(dataset.fingerprint(folder))
    assert len(seen) == 4


def test_the_kept_index_is_the_index(folder: Path, tmp_path: Path) -> None:
    def kept() -> pd.DataFrame:
        return index_cache.cached_index(folder, cache=tmp_path / "cache")

    # Names that look like numbers must come back as the text they are.
    shutil.copy(next((folder / "train" / "NORMAL").iterdir()), folder / "train/NORMAL/007.jpeg")
    shutil.copy(next((folder / "val" / "NORMAL").iterdir()), folder / "val/NORMAL/nan.jpeg")
    for _ in range(2):
        pd.testing.assert_frame_equal(kept(), dataset.index(folder))
        assert kept().attrs == dataset.index(folder).attrs
    (folder / "train" / "NORMAL" / "007.jpeg").unlink()
    pd.testing.assert_frame_equal(kept(), dataset.index(folder))


def test_only_images_of_the_data_set_can_be_named(folder: Path) -> None:
    inside = sorted((folder / "train" / "NORMAL").iterdir())[0]
    assert dataset.picture_file(folder, f"train/NORMAL/{inside.name}") == inside
    outside = folder.parent / "secret.jpeg"
    shutil.copy(inside, outside)
    (folder / "train" / "NORMAL" / "notes.txt").write_text("no image", encoding="utf-8")
    for path in (
        "train/NORMAL/../../../secret.jpeg",
        "train/NORMAL/../../test/NORMAL/" + next((folder / "test" / "NORMAL").iterdir()).name,
        "../secret.jpeg",
        "train/../secret.jpeg",
        str(outside),
        "train/NORMAL/notes.txt",
        "train/NORMAL/.",
        "train/NORMAL/",
        "train/NORMAL",
        "",
        "\0",
    ):
        with pytest.raises(DatasetError, match="has no image"):
            dataset.picture_file(folder, path)
        assert path not in {e.title for e in examples.all_examples(folder=folder, also=path)}
    asked = examples.all_examples(folder=folder, also=f"train/NORMAL/{inside.name}")[-1]
    assert asked.title == f"train/NORMAL/{inside.name}"
    assert asked.load().pixels.ndim == 2


def test_copies_are_found_in_groups(folder: Path) -> None:
    one, two = sorted((folder / "train" / "NORMAL").iterdir())[:2]
    shutil.copy(one, folder / "train" / "PNEUMONIA" / "person900_virus_1.jpeg")
    shutil.copy(one, folder / "val" / "NORMAL" / "IM-9000-0001.jpeg")
    shutil.copy(two, folder / "train" / "NORMAL" / "IM-9001-0001.jpeg")
    copies = dataset.duplicates(dataset.index(folder))
    names = copies.groupby("group").path.apply(lambda paths: {Path(path).name for path in paths})
    assert sorted(names, key=len) == [
        {two.name, "IM-9001-0001.jpeg"},
        {one.name, "person900_virus_1.jpeg", "IM-9000-0001.jpeg"},
    ]


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Random data sets: patients with several images, and copies across patients and folders."""
    patients = draw(st.integers(12, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = []
    for patient in range(patients):
        label = BINARY[patient % 3 > 0]
        split = rng.choice(["train", "train", "train", "val", "test"])
        for _ in range(rng.integers(1, 4)):
            rows.append((split, label, f"person{patient}", f"{rng.integers(10**9)}"))
    table = pd.DataFrame(rows, columns=["split", "label", "patient", "digest"])
    for _ in range(draw(st.integers(0, 6))):
        copied, copy = rng.integers(len(table), size=2)
        table.loc[copy, "digest"] = table.digest[copied]
    return table


def tied(table: pd.DataFrame) -> pd.Series:
    """Groups by patient and copy, found by spreading the lowest number until nothing changes."""
    group, before = pd.Series(range(len(table)), index=table.index), None
    while before is None or not group.equals(before):
        before = group
        for column in ("patient", "digest"):
            group = group.groupby(table[column]).transform("min")
    return group


@settings(max_examples=40, deadline=None)
@given(tables(), st.floats(0.05, 0.5), st.integers(0, 99))
def test_split_keeps_patients_and_copies_together(
    table: pd.DataFrame, share: float, seed: int
) -> None:
    pool = table[table.split != "test"]
    pool = pool[~pool.digest.isin(table.digest[table.split == "test"])]
    assume((pool.groupby("label").patient.nunique().reindex(BINARY, fill_value=0) > 8).all())
    folds = assign_folds(table, validation_fraction=share, seed=seed)

    assert folds.index.equals(table.index)
    assert ((folds == "test") == (table.split == "test")).all()
    learned = folds.isin(["train", "validation"])
    assert folds[learned].groupby(table.patient[learned]).nunique().max() == 1
    seen = folds != "excluded"
    assert folds[seen].groupby(table.digest[seen]).nunique().max() == 1
    tested = set(table.digest[folds == "test"])
    assert (folds == "excluded").equals((table.split != "test") & table.digest.isin(tested))
    # Patients tied by copies go together: their group is the smallest step there is.
    largest = tied(pool).value_counts().max()
    for label in BINARY:
        sides = folds[learned & (table.label == label)]
        assert set(sides) == {"train", "validation"}
        assert abs((sides == "validation").sum() - share * len(sides)) <= 2 * largest
    assert folds.equals(assign_folds(table, validation_fraction=share, seed=seed))


@pytest.mark.parametrize(
    ("fraction", "normal", "pneumonia"), [(0.15, 6, 15), (0.16, 6, 16), (0.01, 1, 1)]
)
def test_validation_holds_no_more_than_its_share(
    fraction: float, normal: int, pneumonia: int
) -> None:
    labels = np.repeat(BINARY, [40, 100])
    names = [f"person{number}" for number in range(len(labels))]
    table = pd.DataFrame({"split": "train", "label": labels, "patient": names, "digest": names})
    folds = assign_folds(table, validation_fraction=fraction, seed=3)
    counts = table.label[folds == "validation"].value_counts()
    assert (counts["NORMAL"], counts["PNEUMONIA"]) == (normal, pneumonia)


def test_split_depends_on_the_seed_and_refuses_too_few_patients(phantoms: Path) -> None:
    table = dataset.index(phantoms)
    splits = {tuple(assign_folds(table, validation_fraction=0.3, seed=seed)) for seed in range(5)}
    assert len(splits) > 1
    normal = table[(table.label == "NORMAL") & (table.split != "test")]
    lone = table[(table.label == "PNEUMONIA") | (table.patient == normal.patient.iloc[0])]
    with pytest.raises(DatasetError, match=r"Only 1 patient\(s\) with the label NORMAL"):
        assign_folds(lone[lone.split != "test"], validation_fraction=0.2, seed=0)


def test_balanced_validation_leaves_out_whole_patients_of_the_larger_class() -> None:
    number = np.arange(400)
    table = pd.DataFrame(
        {
            "path": [f"train/{n}.jpeg" for n in number],
            "split": "train",
            "label": np.where(number % 4 == 0, "NORMAL", "PNEUMONIA"),
            "patient": [f"{n % 4 == 0}-{n // 8}" for n in number],
            "digest": [str(n) for n in number],
        }
    )
    plain, balanced = (
        assign_folds(table, validation_fraction=0.3, seed=1, balanced=balanced)
        for balanced in (False, True)
    )
    counts = table[balanced == "validation"].label.value_counts()
    assert (plain[table.label == "NORMAL"] == "validation").sum() == counts.NORMAL
    assert 0 <= counts.PNEUMONIA - counts.NORMAL < 6  # the images of a patient
    assert (balanced[plain == "train"] == "train").all()
    assert table.assign(fold=balanced).groupby("patient").fold.nunique().max() == 1


def test_the_real_set_is_read_and_split(real: Callable[[str], Path]) -> None:
    table = dataset.index(real("chest_xray"))
    counts = table.groupby(["split", "label"]).size()
    assert (counts["train", "NORMAL"], counts["train", "PNEUMONIA"]) == (1341, 3875)
    assert set(table.subtype[table.label == "PNEUMONIA"]) == {"bacterial", "viral"}
    folds = assign_folds(table, validation_fraction=0.15, seed=0)
    own = overview.shared(table, folds)
    assert (own.patients, own.copies) == ([], [])
    learned = table[folds.isin(["train", "validation"])]
    held_out = (folds == "validation")[learned.index].groupby(learned.label).mean()
    assert np.allclose(held_out, 0.15, atol=0.005)


# --- download: kagglehub itself, with a stand-in where it would call Kaggle ----------------------


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """Answers of a stand-in for Kaggle, by the path asked for; kagglehub is sent to it."""
    answers: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
            found = [data for name, data in answers.items() if name in asked]
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(len(found[0]) if found else 0))
            self.end_headers()
            if found:
                self.wfile.write(found[0])

        def log_message(self, *args: object) -> None: ...

    monkeypatch.delenv("CXR_DATA_DIR", raising=False)
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kagglehub"))
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    try:
        server = http.server.ThreadingHTTPServer(("localhost", STAND_IN_PORT), Handler)
    except OSError:
        pytest.skip(f"needs port {STAND_IN_PORT}, which another program uses")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield answers
    server.shutdown()
    server.server_close()


def zipped(folder: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for file in folder.rglob("*.jpeg"):
            archive.write(file, Path("chest_xray") / file.relative_to(folder))
    return stream.getvalue()


def test_download_fetches_unpacks_and_is_found_again(
    phantoms: Path, kaggle: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dataset.configured_place() is None
    kaggle[dataset.KAGGLE_HANDLE.partition("/")[2]] = zipped(phantoms)
    root = dataset.download()
    assert dataset.index(root).digest.tolist() == dataset.index(phantoms).digest.tolist()
    kaggle.clear()  # as without a connection
    assert dataset.download() == root
    assert dataset.find_root(Path(dataset.configured_place() or "")) == root
    monkeypatch.setenv("CXR_DATA_DIR", str(phantoms))
    assert dataset.configured_place() == str(phantoms)


def ended(download: Download) -> Download:
    deadline = time.monotonic() + 60
    while download.running and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not download.running
    return download


def test_download_in_the_background(phantoms: Path, kaggle: dict[str, bytes]) -> None:
    failed = ended(Download())
    assert not failed.succeeded
    assert failed.problem.startswith("kagglehub could not fetch the data set")
    assert "Traceback" not in failed.problem

    kaggle["chest-xray-pneumonia"] = zipped(phantoms)
    download = ended(Download())
    assert (download.succeeded, download.problem, download.share) == (True, "", 1.0)
    assert len(dataset.index(dataset.downloaded_folder() or Path())) > 40


def test_one_image_is_fetched_alone(phantoms: Path, kaggle: dict[str, bytes]) -> None:
    picture = next((phantoms / "test" / "NORMAL").iterdir())
    kaggle[f"chest_xray/test/NORMAL/{picture.name}"] = picture.read_bytes()
    assert dataset.download_picture("test", "NORMAL", picture.name) == picture.read_bytes()
    assert dataset.downloaded_folder() is None


def test_any_test_image_is_fetched_by_its_name_alone(
    phantoms: Path, kaggle: dict[str, bytes]
) -> None:
    picture = next((phantoms / "test" / "NORMAL").iterdir()).read_bytes()
    kaggle["chest_xray/test/PNEUMONIA/person7_virus_29.jpeg"] = picture
    kaggle["chest_xray/test/NORMAL/NORMAL2-IM-0012-0001.jpeg"] = picture
    for name in ("person7_virus_29.jpeg", " person7_virus_29", "NORMAL2-IM-0012-0001.jpeg"):
        assert examples.from_kaggle(name).load().format == "JPEG"
    with pytest.raises(DatasetError, match=r"no image \S*person8_virus_1.jpeg.*Check the name"):
        examples.from_kaggle("person8_virus_1").load()
    for name in ("", "../../secret", "person7_virus_29.jpeg/..", "person٧_virus_29", "a\nb"):
        with pytest.raises(DatasetError, match="They are called like"):
            examples.from_kaggle(name).load()


def test_a_broken_or_refused_download_says_what_to_do(kaggle: dict[str, bytes]) -> None:
    with pytest.raises(DatasetError, match="could not fetch") as refused:
        dataset.download()
    assert "kaggle.com/datasets/" in str(refused.value)
    kaggle["chest-xray-pneumonia"] = b"<html>Log in to this network</html>"
    with pytest.raises(DatasetError, match="could not fetch"):
        dataset.download()
    assert dataset.configured_place() is None


def test_without_a_connection_download_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nobody is there
    with pytest.raises(DatasetError, match=r"could not fetch the image.*online") as image:
        examples.from_kaggle("person1_virus_6").load()
    assert "by hand" not in str(image.value), "nobody needs the whole set for one image"
    with pytest.raises(DatasetError, match=r"online[\s\S]*by hand[\s\S]*CXR_DATA_DIR"):
        dataset.download()


def test_a_folder_with_test_images_alone_can_be_measured_but_not_trained_on(
    phantoms: Path, tmp_path: Path
) -> None:
    shutil.copytree(phantoms / "test", tmp_path / "test")
    table = dataset.index(tmp_path)
    assert set(table.split) == {"test"}
    with pytest.raises(dataset.DatasetError, match="no images to train on"):
        assign_folds(table, validation_fraction=0.15, seed=0)
