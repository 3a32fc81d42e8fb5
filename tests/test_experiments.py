"""The usual experiments as `docs/training.md` lists them, and the cells of `docs/notebook.md`."""

import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from cxrlib import arguments, runs
from cxrlib.__main__ import main
from cxrlib.runs.config import TrainingConfig, for_network
from cxrlib.synthetic import phantom
from cxrlib.training import jobs

ROOT = Path(__file__).resolve().parent.parent
ROWS = re.findall(
    r"^\| ([^|]+) \| `python train\.py ([^`]+)` \|$",
    (ROOT / "docs" / "training.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)
APPLICATIONS = {"mobilenetv2": "MobileNetV2", "vgg16": "VGG16", "resnet50": "ResNet50"}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXR_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many phantoms as train, validate and test a run; it is not asked how well it learns."""
    folder = tmp_path_factory.mktemp("few") / "chest_xray"
    phantom.write_dataset(folder, patients=15, size=128)
    return folder


def test_the_table_is_there() -> None:
    assert len(ROWS) >= 9


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[TrainingConfig]:
    """The configurations that runs are made with; nothing is trained."""
    configs: list[TrainingConfig] = []

    def create(config: TrainingConfig, data: Path, **options: object) -> SimpleNamespace:
        configs.append(config)
        return SimpleNamespace(name="asked", folder=tmp_path, card="", finished=True, pending=False)

    monkeypatch.setattr(jobs, "create", create)
    monkeypatch.setattr(jobs, "launch", lambda run: None)
    monkeypatch.setattr(jobs, "work", lambda run: None)
    return configs


@pytest.mark.parametrize(("title", "line"), ROWS, ids=[title for title, _ in ROWS])
def test_form_asks_for_what_the_command_does(
    title: str,
    line: str,
    phantoms: Path,
    asked: list[TrainingConfig],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A person who sets on *Train* what the command names starts the same run."""
    command = ["train", *shlex.split(line)]
    assert main([*command, "--data", str(phantoms)]) == 0
    (by_command,) = asked
    named = [option[2:].replace("-", "_") for option in command if option.startswith("--")]

    monkeypatch.setenv("CXR_DATA_DIR", str(phantoms))
    monkeypatch.setenv("CXR_TRAINING", "on")
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=90)
    page.switch_page("pages/training.py").run()
    for name in named:
        widgets = [*page.selectbox, *page.toggle, *page.number_input]
        (widget,) = (widget for widget in widgets if widget.key == f"new_{name}")
        if widget.value != getattr(by_command, name):
            widget.set_value(getattr(by_command, name)).run()
    next(button for button in page.button if button.label == "Start training").click().run()
    assert not page.exception
    assert asked[1:] == [by_command]


@pytest.mark.slow
@pytest.mark.parametrize(("title", "line"), ROWS, ids=[title for title, _ in ROWS])
def test_experiment(title: str, line: str, few: Path, tmp_path: Path) -> None:
    """What the table says, with an epoch at most of each phase, on small images."""
    command = ["train", *shlex.split(line)]
    given = vars(arguments.parser().parse_args(command))
    fields = {name: given[name] for name in TrainingConfig.model_fields if name in given}
    asked = TrainingConfig(**for_network(fields.pop("network"), **fields))
    command += ["--data", str(few), "--models", str(tmp_path), "--name", "tried"]
    command += ["--batch-size", "8", "--head-epochs", str(min(1, asked.head_epochs))]
    command += ["--fine-tune-epochs", str(min(1, asked.fine_tune_epochs))]
    size = asked.size if "--size" in line else 96
    if pretrained := APPLICATIONS.get(asked.network):
        import keras

        build = getattr(keras.applications, pretrained)
        # Stands for ImageNet's, which are out of reach; what is in it does not matter here, but
        # statistics of what it makes of images would.
        file = tmp_path / "backbone.weights.h5"
        build(include_top=False, weights=None, input_shape=(size, size, 3)).save_weights(file)
        command += ["--weights", str(file), "--batchnorm-recalibration", "none"]
    assert main([*command, "--size", str(size)]) == 0
    run = runs.find("tried", models=tmp_path)
    history = run.history
    assert set(history.phase) == {
        phase
        for phase, epochs in (("head", asked.head_epochs), ("fine-tune", asked.fine_tune_epochs))
        if epochs
    }
    assert history[["accuracy", "val_accuracy", "loss", "val_loss"]].notna().all(axis=None)
    assert {"validation", "test"} == set(run.metrics["splits"])


@pytest.mark.slow
def test_the_notebook_trains_judges_and_explains(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "docs" / "notebook.md").read_text(encoding="utf-8")
    cells = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(cells) == 3
    (tmp_path / "chest_xray").symlink_to(phantoms, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    for cell in cells:
        assert len([line for line in cell.splitlines() if line.strip()]) <= 12
        exec(compile(cell, "notebook.md", "exec"), found)
    assert isinstance(found["metrics"], pd.DataFrame) and found["run"].finished
    assert found["picture"].shape == (*found["image"].pixels.shape, 3)
