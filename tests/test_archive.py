"""Any number of files read into one table: whole, once each, whatever happens meanwhile."""

import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pandas as pd
import pytest
from PIL import Image

from cxrlib import runs
from cxrlib.__main__ import main
from cxrlib.inference import archive, file_reader
from cxrlib.synthetic.phantom import phantom

pytestmark = pytest.mark.slow

DRAWN = 40


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Radiographs in two folders, one damaged, and what is no image."""
    folder = tmp_path_factory.mktemp("archive")
    (folder / "more").mkdir()
    for seed in range(DRAWN):
        pixels = phantom(seed, pneumonia=bool(seed % 2), size=128).pixels
        cv2.imwrite(str(folder / ("more" if seed % 3 else ".") / f"{seed:02}.png"), pixels)
    (folder / "damaged.png").write_bytes((folder / "00.png").read_bytes()[:200])
    (folder / "notes.txt").write_text("no image", encoding="utf-8")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def test_a_folder_becomes_a_table_that_says_what_predict_says(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, heatmaps = tmp_path / "results.parquet", tmp_path / "heatmaps"
    assert main(["predict", str(drawn), "--out", str(out), "--heatmaps", str(heatmaps)]) == 0
    assert f"{DRAWN + 2} files" in capsys.readouterr().out
    table = pd.read_parquet(out)
    assert table.file.is_monotonic_increasing
    assert table.file.is_unique
    assert set(table.run) == {runs.SHIPPED}
    assert set(table.run_version) == {archive.version(runs.find(runs.SHIPPED))}

    main(["predict", str(drawn), "--json"])
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = {record["file"]: record for record in records}
    for row in table.itertuples():
        record = expected.get(row.file, {})
        assert row.verdict == record.get("verdict", "")
        assert bool(row.error) == ("probability" not in record and "reason" not in record)
        if "probability" in record:
            assert row.probability == pytest.approx(record["probability"], abs=2e-4)
            with Image.open(heatmaps / row.heatmap) as small:
                assert small.size == (128, 128)
    assert table.error[table.file.str.endswith("notes.txt")].item() == "Left out: no image."
    assert set(tmp_path.iterdir()) == {out, heatmaps}, "something was left behind"


def test_manifests_name_files_once_and_csv_holds_the_same(drawn: Path, tmp_path: Path) -> None:
    lines = ["00.png", "03.png", str(drawn / "00.png"), "gone.png"]
    (drawn / "list.txt").write_text("\n".join(lines), encoding="utf-8")
    (drawn / "list.csv").write_text("id,file\n" + "\n".join(f"1,{line}" for line in lines), "utf-8")
    tables = []
    try:
        for ending in ("txt", "csv"):
            out = tmp_path / f"{ending}.csv"
            assert main(["predict", str(drawn / f"list.{ending}"), "--out", str(out)]) == 0
            tables.append(pd.read_csv(out, keep_default_na=False))
    finally:
        (drawn / "list.txt").unlink()
        (drawn / "list.csv").unlink()
    pd.testing.assert_frame_equal(*tables)
    assert [Path(file).name for file in tables[0].file] == ["00.png", "03.png", "gone.png"]
    assert "No such file" in tables[0].error[2]


def test_killed_in_the_middle_the_same_command_goes_on(drawn: Path, tmp_path: Path) -> None:
    many, out = tmp_path / "many", tmp_path / "results.csv"
    for number in range(10):
        shutil.copytree(drawn / "more", many / str(number))
    command = [sys.executable, "-m", "cxrlib", "predict", str(many), "--out", str(out)]
    killed = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert killed.stderr
    shown = b""
    while not re.search(rb"\| [1-9]\d+/", shown):
        more = killed.stderr.read(1)
        assert more, "it ended before it could be stopped"
        shown += more
    killed.send_signal(signal.SIGINT)
    assert killed.wait(timeout=60) == 1
    assert not out.exists()
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert " 0/" not in again.stderr, "it began from the beginning"
    table = pd.read_csv(out)
    assert table.file.is_unique
    assert len(table) == sum(file.is_file() for file in many.rglob("*.png"))


def test_a_process_that_dies_takes_no_file_along(drawn: Path) -> None:
    paths = [str(file) for file in sorted(drawn.rglob("[0-9]*.png"))]
    settings = file_reader.Settings(runs.find(runs.SHIPPED).folder)
    results = []
    for result in file_reader.read_in_processes(iter(paths), settings, 2):
        results.append(result)
        if len(results) == 5:
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
            time.sleep(0.5)
    assert sorted(result.file for result in results) == paths
    assert not any(result.error for result in results)


def test_what_cannot_be_done_is_said_before_anything_is_read(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(*arguments: object) -> str:
        assert main(["predict", *map(str, arguments)]) == 2
        return capsys.readouterr().err

    there = tmp_path / "there.csv"
    there.touch()
    assert "already exists" in refusal(drawn, "--out", there)
    assert "must end in" in refusal(drawn, "--out", tmp_path / "x.xlsx")
    assert "no file or folder" in refusal(drawn / "gone", "--out", tmp_path / "x.csv")
    (tmp_path / "odd.csv").write_text("name\nx.png\n", encoding="utf-8")
    assert "no column file or path" in refusal(tmp_path / "odd.csv", "--out", tmp_path / "x.csv")
    (tmp_path / "empty").mkdir()
    assert "no files" in refusal(tmp_path / "empty", "--out", tmp_path / "x.csv")
