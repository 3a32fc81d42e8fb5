"""Images changed on purpose: what each change does, and that a run's failings are found."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest

from cxrlib import metrics, runs
from cxrlib.__main__ import main
from cxrlib.data import external
from cxrlib.data.dataset import DatasetError
from cxrlib.evaluation import judge, stress, stress_table
from cxrlib.evaluation.perturbations import SHIFTS, UNCHANGED, Shift
from cxrlib.images.preprocess import prepare
from cxrlib.inference.classifier import Classifier
from cxrlib.runs import records
from cxrlib.synthetic import phantom


@pytest.fixture(scope="module")
def large() -> np.ndarray:
    return phantom.phantom(3, pneumonia=True, size=700, aspect=1.3).pixels


@pytest.mark.parametrize("shift", SHIFTS, ids=lambda shift: shift.name)
def test_a_shift_does_the_same_to_images_of_any_size(shift: Shift, large: np.ndarray) -> None:
    small = cv2.resize(large, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    before, after = [], []
    for pixels in (large, small):
        untouched = pixels.copy()
        changed = shift.apply(pixels)
        assert changed.dtype == np.uint8
        np.testing.assert_array_equal(pixels, untouched)
        np.testing.assert_array_equal(changed, shift.apply(pixels))
        before.append(prepare(pixels, 224).astype(float))
        after.append(prepare(changed, 224).astype(float))
    effects = [np.abs(b - a).mean() for b, a in zip(before, after, strict=True)]
    assert effects[0] > 0
    assert effects[1] == pytest.approx(effects[0], rel=0.35, abs=0.1)


def test_every_change_comes_mild_and_strong_and_strong_is_more(large: np.ndarray) -> None:
    before = prepare(large, 224).astype(float)
    effect = {
        shift.name: np.abs(prepare(shift.apply(large), 224) - before).mean() for shift in SHIFTS
    }
    kinds: dict[tuple, dict[str, list[float]]] = {}
    for shift in SHIFTS:
        (change,) = shift.apply.keywords
        kind = kinds.setdefault((shift.apply.func, change), {"mild": [], "strong": []})
        kind[shift.strength].append(effect[shift.name])
    for strengths in kinds.values():
        assert max(strengths["mild"]) < max(strengths["strong"])
    assert len({shift.name for shift in [UNCHANGED, *SHIFTS]}) == len(SHIFTS) + 1


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Phantoms on disk; those with pneumonia have a bright edge, as another machine may make."""
    folder = tmp_path_factory.mktemp("drawn")
    rows = []
    for number in range(12):
        ill = number % 2 == 1
        pixels = phantom.phantom(number, pneumonia=ill, size=128).pixels
        pixels[:, :3] = 250 if ill else 10
        cv2.imwrite(str(folder / f"{number}.png"), pixels)
        label = "PNEUMONIA" if ill else "NORMAL"
        rows.append({"path": f"{number}.png", "label": label, "patient": f"p{number}"})
    table = pd.DataFrame(rows)
    table.attrs["root"] = str(folder)
    return table


class EdgeReader:
    """Reads nothing but the left edge of an image, and refuses what is black all over."""

    point = metrics.OperatingPoint("youden", 0.5, 0.4, 0.6)

    def predict_all(self, pictures: list[np.ndarray]) -> list[SimpleNamespace]:
        scores = [0.05 + 0.9 * float(picture[:, 0].mean()) / 255 for picture in pictures]
        return [
            SimpleNamespace(
                probability=score,
                verdict=metrics.verdict(score, self.point) if picture.any() else "refused",
            )
            for score, picture in zip(scores, pictures, strict=True)
        ]


def test_a_step_that_changes_nothing_changes_no_verdict(drawn: pd.DataFrame) -> None:
    nothing = Shift("copied", "none", "mild", np.copy)
    table = stress.measure(EdgeReader(), drawn, split="test", shifts=[nothing])
    before, after = table.to_dict("records")
    assert after["changed"] == after["reversed"] == 0
    assert 0 < after["changed_high"] < 0.3
    for name in ("roc_auc", "sensitivity", "specificity", "ece"):
        assert after[name] == before[name]
    assert before["roc_auc"] == 1


def test_a_network_that_reads_the_edge_is_found_out(drawn: pd.DataFrame) -> None:
    table = stress.measure(EdgeReader(), drawn, split="test").set_index("step")
    blackened, darker = table.loc["border blackened, 4 %"], table.loc["gamma 1.25"]
    assert blackened.sensitivity == 0
    assert blackened.changed == blackened.reversed == 0.5
    assert darker.sensitivity == darker.specificity == 1
    assert darker.changed == 0
    worst = stress_table.worst_mild(table.reset_index())
    assert worst.changed == table[table.strength == "mild"].changed.max() > 0.03


def test_verdicts_that_become_uncertain_changed_but_were_not_reversed(drawn: pd.DataFrame) -> None:
    def greyed(pixels: np.ndarray) -> np.ndarray:
        return np.full_like(pixels, 128)

    shifts = [Shift("grey", "exposure", "mild", greyed)]
    table = stress.measure(EdgeReader(), drawn, split="test", shifts=shifts)
    assert table.changed[1] == 1
    assert table.reversed[1] == 0


def test_refusals_are_counted_as_changed_and_apart(drawn: pd.DataFrame) -> None:
    shifts = [Shift("black", "exposure", "mild", np.zeros_like)]
    table = stress.measure(EdgeReader(), drawn, split="test", shifts=shifts)
    assert table.refused.tolist() == [0, 1]
    assert table.changed[1] == 1
    assert table.reversed[1] == 0


def test_images_from_elsewhere_are_read_as_they_are(drawn: pd.DataFrame) -> None:
    normal = drawn[drawn.label == "NORMAL"].assign(label="PNEUMONIA")
    others = pd.concat([normal, drawn[drawn.label == "NORMAL"].assign(label="NORMAL")])
    others.attrs["root"] = drawn.attrs["root"]
    table = stress.measure(
        EdgeReader(), drawn, split="test", shifts=[], elsewhere={"abroad": others}
    )
    abroad = table.set_index("pictures_of").loc["abroad"]
    assert abroad.sensitivity == 0
    assert np.isnan(abroad.changed)
    assert abroad.pictures == len(others)


def test_an_image_that_cannot_be_read_is_named(drawn: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    table = pd.DataFrame({"path": ["broken.png"], "label": ["NORMAL"], "patient": ["1"]})
    table.attrs["root"] = str(tmp_path)
    with pytest.raises(ValueError, match=r"broken\.png"):
        stress.measure(EdgeReader(), table, split="test", shifts=[])


# --- where other images come from ---------------------------------------------------------------


@pytest.fixture
def abroad(tmp_path: Path) -> Path:
    """Another hospital's images, in a folder by label and in a table by finding."""
    lines = ["file,finding,patient"]
    for number, (label, finding) in enumerate(
        [("NORMAL", "clear"), ("PNEUMONIA", "opacity"), ("PNEUMONIA", "rib")]
    ):
        (tmp_path / "far" / label).mkdir(parents=True, exist_ok=True)
        pixels = phantom.phantom(number, pneumonia=label == "PNEUMONIA", size=96).pixels
        cv2.imwrite(str(tmp_path / "far" / label / f"{number}.png"), pixels)
        lines.append(f"{label}/{number}.png,{finding},{number}")
    (tmp_path / "far" / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path / "far"


def test_a_folder_by_label_and_a_table_by_finding(abroad: Path) -> None:
    by_folder = external.read([str(abroad)])
    assert by_folder.label.tolist() == ["NORMAL", "PNEUMONIA", "PNEUMONIA"]
    by_table = external.read([str(abroad / "labels.csv"), "finding", "opacity", "clear"])
    assert by_table.path.tolist() == ["NORMAL/0.png", "PNEUMONIA/1.png"]
    assert by_table.label.tolist() == ["NORMAL", "PNEUMONIA"]
    for source, table in ((abroad, by_folder), (abroad / "labels.csv", by_table)):
        assert all((Path(table.attrs["root"]) / path).is_file() for path in table.path)
        assert external.name([str(source)]) == "far"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere"], "There are no images in"),
        (["labels.csv", "finding"], "four words"),
        (["none.csv", "finding", "opacity", "clear"], "cannot be read"),
        (["labels.csv", "verdict", "opacity", "clear"], "It has: file, finding, patient"),
        (["labels.csv", "finding", "opacity", "fine"], "It says: clear, opacity, rib"),
    ],
)
def test_other_images_that_are_not_there_are_answered_in_a_sentence(
    abroad: Path, words: list[str], says: str
) -> None:
    with pytest.raises(DatasetError, match=says):
        external.read([str(abroad / words[0]), *words[1:]])


def test_a_listed_image_that_is_missing_is_named(abroad: Path) -> None:
    (abroad / "NORMAL/0.png").unlink()
    with pytest.raises(DatasetError, match=r"1 of 2 images .* NORMAL/0\.png"):
        external.read([str(abroad / "labels.csv"), "finding", "opacity", "clear"])


# --- the command ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_keeps_the_table_in_the_run_and_its_card(
    taught: Classifier,
    phantoms: Path,
    abroad: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(taught.run.folder, tmp_path / "copy")
    run = runs.Run(tmp_path / "copy")
    assert run.stress is None
    data = ["--data", str(phantoms), "--run", str(run.folder), "--split", "test"]
    assert main(["stress", *data, "--also", str(abroad), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    *steps, opacities, far = rows
    assert [record["step"] for record in steps] == [s.name for s in (UNCHANGED, *SHIFTS)]
    assert far["pictures_of"] == "far"
    # Half of them are the normal ones as they are, and half with what the run learned to find.
    assert opacities["pictures"] == 2 * opacities["pneumonia"] > 0
    assert opacities["roc_auc"] > 0.7

    kept = run.stress
    assert kept.roc_auc.tolist() == pytest.approx([record["roc_auc"] for record in rows], 1e-4)
    table = [line for line in run.card.splitlines() if line.startswith("| ")]
    assert sum(line.startswith("| test |") for line in table) == 1 + len(SHIFTS)
    assert sum(line.startswith("| far |") for line in table) == 1
    assert f"into the lungs of the {opacities['pneumonia']} normal images" in run.card
    # The rest of the card is as it was, but for what is now known of images from elsewhere.
    before = taught.run.card.replace(
        "errors; not measured here.", "errors, as on the external data above."
    )
    assert run.card.replace("\n".join(stress_table.card_section(kept)) + "\n", "") == before
    unchanged = pd.Series(rows[0])
    measured = records.estimates(
        {"splits": {"test": judge.measure(_predictions(taught, phantoms), taught.points)}},
        "test",
        taught.point.name,
    )
    assert unchanged.roc_auc == pytest.approx(measured["roc_auc"].value, abs=1e-3)
    assert unchanged.sensitivity == pytest.approx(measured["sensitivity"].value, abs=1e-3)


def _predictions(reader: Classifier, phantoms: Path) -> pd.DataFrame:
    rows = []
    for file in sorted(phantoms.glob("test/*/*.jpeg")):
        pixels = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        probability = reader.predict(pixels).probability
        rows.append({"label": file.parent.name, "patient": file.stem, "probability": probability})
    return pd.DataFrame(rows).assign(score=0.5)
