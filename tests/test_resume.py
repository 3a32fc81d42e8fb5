"""Which unfinished runs cannot be resumed: their images, or what those mean, have changed."""

import shutil
from pathlib import Path

import pytest

from cxrlib import runs
from cxrlib.__main__ import main
from cxrlib.data import classes
from cxrlib.runs.config import TrainingConfig, for_network
from cxrlib.runs.folder import StoppedError
from cxrlib.synthetic import phantom
from cxrlib.training import jobs
from cxrlib.training.errors import TrainingError

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))


def small(**values: object) -> TrainingConfig:
    return TrainingConfig(**for_network("cnn", **{"size": 96, "batch_size": 4} | values))


def stop_at_once(run: runs.Run, config: TrainingConfig, data: Path) -> None:
    from cxrlib.training.train import train

    run.request_stop()
    with pytest.raises(StoppedError):
        train(config, data, run=run)


def test_run_is_not_resumed_on_other_images(phantoms: Path, tmp_path: Path) -> None:
    run = runs.create("moved", models=tmp_path)
    from cxrlib.training.train import train

    stop_at_once(run, small(), phantoms)
    others = tmp_path / "others"
    phantom.write_dataset(others, patients=30, seed=1, size=100)
    with pytest.raises(TrainingError, match="not those that this run was started with"):
        train(small(), others, run=run)


def test_run_is_not_resumed_where_classes_have_changed(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from cxrlib.training.train import train

    data = tmp_path / "data"
    for file in (phantoms / "train").rglob("*.jpeg"):
        normal, viral = file.parent.name == "NORMAL", "virus" in file.name
        folder = data / ("Normal" if normal else "COVID" if viral else "Pneumonia")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder)
    classes.give(data, {"COVID": "viral"})
    config = small(classes=3, head="softmax")
    run = jobs.create(config, data, on=["cpu"], models=tmp_path / "models")
    stop_at_once(run, config, data)
    resume = ["train", "--resume", run.name, "--models", str(run.folder.parent)]
    assert main([*resume, "--meaning", "COVID=bacterial"]) == 2
    assert "--meaning 'COVID=viral'" in capsys.readouterr().err
    classes.give(data, {"COVID": "viral"})
    # The same images in the same order, of which one says now that it is viral.
    names = [file.name.split("_")[0] for file in (data / "Pneumonia").iterdir()]
    single = next(name for name in names if names.count(name) == 1)
    (file,) = (data / "Pneumonia").glob(f"{single}_*")
    file.rename(file.with_name(file.name.replace("bacteria", "virus")))
    with pytest.raises(TrainingError, match="labels of some images"):
        train(config, data, run=run)
