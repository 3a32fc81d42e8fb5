"""python -m cxrlib, as a person or a script calls it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from PIL import Image

from cxrlib import runs
from cxrlib.__main__ import main
from cxrlib.data import dataset
from cxrlib.evaluation.run_on_split import Measured
from cxrlib.runs import config, records
from cxrlib.synthetic.phantom import phantom
from cxrlib.training import jobs

pytestmark = pytest.mark.slow


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(3):
        picture = phantom(seed, pneumonia=bool(seed % 2), size=300).pixels
        cv2.imwrite(str(folder / f"{seed}.png"), picture)
    return folder


def test_predict_a_folder(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(pictures)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [Path(line.split(":")[0]).name for line in lines] == ["0.png", "1.png", "2.png"]
    assert all(line.split()[-1] in {"likely", "unlikely", "uncertain"} for line in lines)


def test_predict_json_goes_on_after_a_bad_file_and_exits_1(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "1.png").write_bytes(b"not a image")
    assert main(["predict", str(pictures), str(pictures / "none.jpg"), "--json"]) == 1
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    good = [record for record in records if "error" not in record]
    assert [Path(record["file"]).name for record in good] == ["0.png", "2.png"]
    for record in good:
        assert set(record) == {"file", "probability", "verdict", "operating_point", "run"}
        assert 0 <= record["probability"] <= 1
        assert record["run"] == runs.SHIPPED
    bad = [record for record in records if "error" in record]
    assert [set(record) for record in bad] == [{"file", "error"}] * 2
    assert "JPEG, PNG" in bad[0]["error"]
    assert "No such file" in bad[1]["error"]


def test_format_is_told_by_content_not_by_name(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(pictures / "0.png", pictures / "odd.txt")
    assert main(["predict", str(pictures / "odd.txt"), str(pictures / "0.png")]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split(": ")[1] == second.split(": ")[1]


def test_predict_in_batches_says_what_it_says_one_by_one(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(40):
        shutil.copy(pictures / f"{number % 3}.png", pictures / f"copy{number:02}.png")
    main(["predict", str(pictures), "--json"])
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    by_name = {Path(record["file"]).name: record["probability"] for record in records}
    assert len(by_name) == 43
    for number in range(40):
        assert by_name[f"copy{number:02}.png"] == pytest.approx(
            by_name[f"{number % 3}.png"], abs=2e-4
        )


def test_explain_writes_an_image_of_the_same_size(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.png"
    arguments = ["explain", str(pictures / "1.png"), "--method", "scorecam"]
    assert main([*arguments, "--out", str(out)]) == 0
    with Image.open(out) as picture:
        assert picture.size == (300, 300)
        assert picture.mode == "RGB"
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{out}: Score-CAM")


def test_train_evaluate_and_predict_with_the_new_run(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))
    models = tmp_path / "models"
    arguments = ["--data", str(phantoms), "--network", "cnn", "--size", "96"]
    schedule = ["--fine-tune-epochs", "2", "--batch", "8", "--name", "tiny"]
    assert main(["train", *arguments, *schedule, "--models", str(models)]) == 0
    run = runs.find("tiny", models=models)
    assert list(run.history.epoch) == [1, 2]
    capsys.readouterr()

    for split in ("test", "validation"):
        data = ["--data", str(phantoms), "--run", str(models / "tiny"), "--split", split]
        assert main(["evaluate", *data, "--json"]) == 0
        measured = json.loads(capsys.readouterr().out)
        stored = run.metrics["splits"][split]
        assert measured["pictures"] == stored["pictures"]
        for point, summary in stored["points"].items():
            for metric, value in summary.items():
                expected = value["value"]
                found = measured["points"][point][metric]["value"]
                assert found == (expected and pytest.approx(expected, abs=1e-3)), (point, metric)
    assert main(["evaluate", *data, "--keep", "hospital B", "--split", "all"]) == 0
    assert "roc_auc" in capsys.readouterr().out
    again = Measured(run, "hospital B")
    everything = dataset.index(phantoms)
    assert again.counts["pictures"] == len(again.predictions) == len(everything)
    threshold = again.points["youden"].threshold
    assert again.results["counts"]["youden"] == vars(again.confusion(threshold))
    assert "### hospital B" in run.card and "hospital B" in records.set_titles(run)
    assert main(["evaluate", *data, "--keep", "hospital B", "--split", "test"]) == 0
    assert len(run.kept) == 1 and set(run.kept_predictions.path) < set(everything.path)
    assert main(["evaluate", *data, "--keep", "test"]) == 2
    assert main(["evaluate", *data, "--keep", "a/b"]) == 2

    assert main(["predict", str(phantoms / "test"), "--run", str(models / "tiny")]) == 0


def test_a_run_goes_on_where_its_images_are_now(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))
    asked = config.for_network("cnn", name="tiny", size=96, fine_tune_epochs=1, batch_size=8)
    jobs.create(config.TrainingConfig(**asked), tmp_path / "gone", on=["cpu"], models=tmp_path)
    resume = ["train", "--resume", "tiny", "--models", str(tmp_path)]
    assert main([*resume, "--rate", "0.1"]) == 2
    assert "keeps the run's configuration" in capsys.readouterr().err
    assert main(resume) == 2
    assert str(tmp_path / "gone") in capsys.readouterr().err
    assert main([*resume, "--data", str(phantoms)]) == 0
    assert runs.find("tiny", models=tmp_path).finished


def test_a_folder_without_images_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "notes.txt").write_text("no image", "utf-8")
    assert main(["predict", str(tmp_path)]) == 1
    assert "no images" in capsys.readouterr().err.lower()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["predict", "x.jpg", "--run", "nowhere"], "There is no run called nowhere"),
        (["train", "--learning-rate", "0"], "--learning-rate: Should be greater than 0"),
        (["train", "--name", "a/b"], "--name: A run's name has"),
        (["train", "--network", "cnn", "--classes", "3"], "softmax"),
        (["evaluate"], "set CXR_DATA_DIR"),
        (["evaluate", "--data", "."], "should look like this"),
    ],
)
def test_mistakes_are_answered_in_a_sentence(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("CXR_DATA_DIR", raising=False)
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    assert main(arguments) == 2
    assert says in capsys.readouterr().err


def test_download_out_of_reach_says_how_to_get_it_by_hand(tmp_path: Path) -> None:
    """The real call: where the set can be reached, there is nothing to say."""
    command = [sys.executable, "-m", "cxrlib", "download"]
    offline = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    result = subprocess.run(
        command,
        cwd=runs.MODELS.parent,
        env={"PATH": "", "HOME": str(tmp_path)} | offline,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 2
    assert f"kaggle.com/datasets/{dataset.KAGGLE_HANDLE}" in result.stderr
    assert "Traceback" not in result.stderr


def test_shipped_run_on_real_images(real, capsys: pytest.CaptureFixture[str]) -> None:
    """Two clear cases of the training set at their original size."""
    folder = real("uploads")
    main(["predict", str(folder), "--json"])
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    verdicts = {Path(record["file"]).name: record["verdict"] for record in records}
    normal = [verdict for name, verdict in verdicts.items() if "IM-" in name]
    ill = [verdict for name, verdict in verdicts.items() if name.startswith("person")]
    assert normal.count("unlikely") >= 7
    assert ill.count("likely") >= 7
