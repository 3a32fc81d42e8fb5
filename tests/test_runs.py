"""The run folder: whole or plainly unfinished, whatever happens to the process that writes it."""

import errno
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import pictures

from cxrlib import runs
from cxrlib.evaluation import judge
from cxrlib.runs.config import TrainingConfig


@pytest.fixture
def unfinished(tmp_path: Path) -> runs.Run:
    run = runs.create("trial", models=tmp_path)
    run.save_config(TrainingConfig(name="trial").model_dump_json())
    run.save_task({"queued": 1.0})
    return run


@cache
def results() -> tuple[pd.DataFrame, dict[str, object]]:
    table = pictures(24)
    score = np.linspace(0.1, 0.9, len(table))
    return judge.evaluate(table, np.column_stack([1 - score, score]), ("NORMAL", "PNEUMONIA"))


def finish(run: runs.Run) -> None:
    run.finish(*results(), "# Model card\n")


def test_new_run_is_unfinished_until_its_end(unfinished: runs.Run, tmp_path: Path) -> None:
    assert not unfinished.finished
    assert [run.name for run in runs.unfinished(tmp_path)] == ["trial"]
    with pytest.raises(runs.RunError, match="unfinished"):
        runs.find("trial", models=tmp_path)
    finish(unfinished)
    assert unfinished.finished
    assert runs.unfinished(tmp_path) == []
    assert runs.find("trial", models=tmp_path).name == "trial"


def test_finished_run_keeps_nothing_of_this_machine(unfinished: runs.Run) -> None:
    unfinished.save_task({"data": "/home/somebody/pictures", "queued": 1.0})
    finish(unfinished)
    kept = "".join(file.read_text() for file in unfinished.folder.iterdir())
    assert "/home/somebody" not in kept


class Killed(BaseException):
    """Stands in for SIGKILL between two calls to the system."""


def test_a_run_killed_anywhere_in_finishing_is_whole_or_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in range(100):
        run = runs.create(f"run{step}", models=tmp_path)
        run.save_config(TrainingConfig(name=run.name).model_dump_json())
        run.save_task({"queued": 1.0})
        run.save_checkpoint(lambda file: file.write_bytes(b"whole"))
        left = step

        def killed_at_step(call: Callable[..., object]) -> Callable[..., object]:
            def counted(*arguments: object, **options: object) -> object:
                nonlocal left
                if left == 0:
                    raise Killed
                left -= 1
                return call(*arguments, **options)

            return counted

        with monkeypatch.context() as patch:
            for name in ("write_text", "replace", "rename", "unlink"):
                patch.setattr(Path, name, killed_at_step(getattr(Path, name)))
            try:
                finish(run)
                break
            except Killed:
                pass
        if run.finished:
            assert len(run.predictions) and run.metrics and run.card
        else:
            assert run.task and run.has_checkpoint
    assert step > 5


def test_write_that_fails_leaves_the_old_file_and_frees_the_space(unfinished: runs.Run) -> None:
    unfinished.save_checkpoint(lambda file: file.write_bytes(b"whole"))

    def run_out_of_space(file: Path) -> None:
        file.write_bytes(b"ha")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        unfinished.save_checkpoint(run_out_of_space)
    assert unfinished.checkpoint_file.read_bytes() == b"whole"
    assert not list(unfinished.folder.glob("partial-*"))


def test_what_a_killed_process_left_half_written_is_cleared(unfinished: runs.Run) -> None:
    (unfinished.folder / "partial-1-model.keras").write_bytes(b"half")
    unfinished.request_stop()
    unfinished.save_failure("No luck.")
    unfinished.clear_marks()
    assert not list(unfinished.folder.glob("partial-*"))
    assert not unfinished.stop_requested
    assert unfinished.failure == ""


@pytest.mark.parametrize("name", ["a/b", "../up", "", ".hidden", "with space", "x" * 65])
def test_name_that_is_no_folder_name_is_refused(unfinished: runs.Run, name: str) -> None:
    with pytest.raises(runs.RunError, match="letters, digits"):
        runs.rename(unfinished, name)
    assert unfinished.folder.is_dir()


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True))
def test_any_allowed_name_stays_inside_the_models_folder(name: str) -> None:
    assert (Path("/models") / runs.check_name(name)).resolve().parent == Path("/models")


def test_renamed_run_is_found_under_its_new_name(unfinished: runs.Run, tmp_path: Path) -> None:
    finish(unfinished)
    renamed = runs.rename(unfinished, "better")
    assert renamed.config["name"] == "better"
    assert [run.name for run in runs.finished(tmp_path)] == ["better"]


def test_rename_never_overwrites_another_run(unfinished: runs.Run, tmp_path: Path) -> None:
    runs.create("other", models=tmp_path)
    with pytest.raises(runs.RunError, match="Choose another name"):
        runs.rename(unfinished, "other")


def test_deleted_run_is_gone(unfinished: runs.Run, tmp_path: Path) -> None:
    runs.delete(unfinished)
    assert list(tmp_path.iterdir()) == []


def test_shipped_run_can_be_neither_deleted_nor_renamed(tmp_path: Path) -> None:
    shipped = runs.create(runs.SHIPPED, models=tmp_path)
    with pytest.raises(runs.RunError, match="shipped"):
        runs.delete(shipped)
    with pytest.raises(runs.RunError, match="shipped"):
        runs.rename(shipped, "mine")
    assert shipped.folder.is_dir()


def test_log_shows_a_progress_bar_once(unfinished: runs.Run) -> None:
    unfinished.log_file.write_bytes(b"begin\nhead:  0%\rhead: 50%\rhead: 100%\nend\n")
    assert unfinished.log_tail() == "begin\nhead: 100%\nend"
    assert unfinished.log_tail(lines=1) == "end"


def test_run_to_go_on_with_is_named_or_the_choices_are(
    unfinished: runs.Run, tmp_path: Path
) -> None:
    assert runs.find_unfinished("trial", models=tmp_path).name == "trial"
    with pytest.raises(runs.RunError, match="Unfinished runs: trial"):
        runs.find_unfinished("trail", models=tmp_path)
    finish(unfinished)
    with pytest.raises(runs.RunError, match="finished"):
        runs.find_unfinished("trial", models=tmp_path)
