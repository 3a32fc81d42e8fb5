"""Data sets and archives at a URL: copied once, read where they are, and known by the URL."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pandas as pd
import pytest

from cxrlib import runs, urls
from cxrlib.__main__ import main
from cxrlib.data import classes, dataset, entries, remote
from cxrlib.data.entries import DatasetError
from cxrlib.synthetic.phantom import phantom
from cxrlib.training import jobs

ROOT = Path(__file__).resolve().parent.parent
fsspec = pytest.importorskip("fsspec", reason="an optional extra")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A file system in memory; what is fetched from it is listed in ``fetched``."""
    files = fsspec.filesystem("memory", use_listings_cache=False)
    files.store.clear()
    files.fetched = []
    get = files.get_file

    def noted(source: str, target: str, **options: Any) -> None:
        files.fetched.append(source)
        get(source, target, **options)

    monkeypatch.setattr(files, "get_file", noted)
    yield files
    files.store.clear()


@pytest.fixture
def stored(bucket: Any, phantoms: Path) -> str:
    """The URL of a data set."""
    bucket.put(str(phantoms), "/bucket/chest_xray", recursive=True)
    return "memory://bucket/chest_xray"


def test_the_copy_is_the_data_set_and_only_what_changes_is_fetched_again(
    stored: str, bucket: Any, phantoms: Path
) -> None:
    progress: list[tuple[int, int]] = []
    folder = remote.fetch(stored, lambda *now: progress.append(now))
    there = dataset.index(phantoms)
    assert dataset.index(folder).digest.tolist() == there.digest.tolist()
    assert progress[0] == (0, len(bucket.fetched))
    before = dataset.fingerprint(folder)

    bucket.fetched.clear()
    assert remote.fetch(stored) == folder
    assert not bucket.fetched
    first, second, *_ = there.path
    bucket.rm(f"/bucket/chest_xray/{first}")
    bucket.pipe(f"/bucket/chest_xray/{second}", (phantoms / there.path.iloc[-1]).read_bytes())
    remote.fetch(stored)
    assert bucket.fetched == [f"/bucket/chest_xray/{second}"]
    now = dataset.index(folder)
    assert first not in set(now.path)
    assert now.digest[now.path == second].item() == there.digest.iloc[-1]
    assert dataset.fingerprint(folder) != before


def test_machines_that_copy_the_same_have_the_same_fingerprint(
    stored: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = dataset.fingerprint(remote.fetch(stored))
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "elsewhere"))
    there = remote.fetch(stored)
    assert not there.is_relative_to(cache)
    assert dataset.fingerprint(there) == here


def test_an_interrupted_copy_resumes_and_shows_no_half_file(stored: str, bucket: Any) -> None:
    def stop(done: int, of: int) -> None:
        if done:
            raise runs.StoppedError

    with pytest.raises(runs.StoppedError):
        remote.fetch(stored, stop)
    done, all_files = len(bucket.fetched), bucket.find("/bucket/chest_xray")
    assert 0 < done < len(all_files)
    half = next(remote.folder(stored).rglob("*.jpeg"))
    half.with_name(f".partial-{half.name}").write_bytes(half.read_bytes()[:10])
    bucket.fetched.clear()
    folder = remote.fetch(stored)
    assert len(bucket.fetched) == len(all_files) - done
    assert sum(file.is_file() for file in folder.rglob("*")) == len(all_files)


def test_what_cannot_be_copied_is_said_with_the_remedy(
    stored: str, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusal(url: str) -> str:
        with pytest.raises((DatasetError, urls.UrlError)) as refused:
            remote.fetch(url)
        return str(refused.value)

    assert "There is nothing at memory://bucket/gone" in refusal("memory://bucket/gone")
    assert "nosuch" in refusal("nosuch://bucket/x")
    a_file = bucket.find("/bucket/chest_xray")[0]
    assert "is a file" in refusal(f"memory:/{a_file}")
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    assert "CXR_CACHE_DIR" in refusal(stored)
    assert not bucket.fetched

    monkeypatch.setitem(sys.modules, "s3fs", None)
    assert "Install s3fs" in refusal("s3://me:secret@bucket/chest_xray")
    assert "secret" not in refusal("s3://me:secret@bucket/chest_xray")
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    assert "pip install fsspec" in refusal(stored)


def test_no_file_is_written_outside_the_copy(
    bucket: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.pipe("/bucket/set/a.jpeg", b"abc")
    facts = bucket.info("/bucket/set/a.jpeg") | {"name": "/bucket/set/../../../escaped.jpeg"}
    found = [("/bucket/set", {}, {"escaped.jpeg": facts})]
    monkeypatch.setattr(bucket, "walk", lambda *_, **__: found)
    with pytest.raises(DatasetError, match="rename it"):
        remote.fetch("memory://bucket/set")
    assert not list(cache.rglob("*.jpeg"))


def test_meanings_of_classes_belong_to_the_url(bucket: Any, tmp_path: Path) -> None:
    made = tmp_path / "covid"
    for name in ("NORMAL", "COVID"):
        (made / name).mkdir(parents=True)
        pixels = phantom(1, pneumonia=name == "COVID", size=128).pixels
        cv2.imwrite(str(made / name / "1.png"), pixels)
    bucket.put(str(made), "/bucket/covid", recursive=True)
    url = "memory://bucket/covid"
    classes.give(remote.folder(url), {"COVID": "pneumonia"})
    assert entries.meanings(remote.fetch(url)) == {
        "COVID": (1, "pneumonia"),
        "NORMAL": (1, "normal"),
    }


@pytest.mark.slow
def test_a_run_knows_its_data_set_by_the_url(
    served: tuple[Path, str], phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, server = served
    shutil.copytree(phantoms, folder / "chest_xray")
    asked = ["--network", "cnn", "--size", "96", "--batch-size", "8", "--fine-tune-epochs", "1"]
    login = server.replace("//", "//me:secret@")
    place = ["--data", f"{login}/chest_xray", "--models", str(tmp_path / "models")]
    assert main(["train", *asked, *place, "--name", "far"]) == 0, capsys.readouterr().err
    run = runs.find("far", models=tmp_path / "models")
    url = f"{server}/chest_xray"
    assert run.environment["data"] == url
    assert url in run.card
    assert "cache" not in run.card
    assert len(run.predictions) > 0
    for file in run.folder.rglob("*"):
        assert file.is_dir() or b"secret" not in file.read_bytes(), file
    assert main(["download", url]) == 0
    assert "chest_xray" in capsys.readouterr().out


@pytest.mark.slow
def test_an_archive_is_read_where_it_is(
    served: tuple[Path, str], cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, server = served
    (folder / "more").mkdir()
    for seed in range(6):
        pixels = phantom(seed, pneumonia=bool(seed % 2), size=128).pixels
        cv2.imwrite(str(folder / ("more" if seed % 2 else ".") / f"{seed}.png"), pixels)
    (folder / "notes.md").write_text("no image", encoding="utf-8")
    (folder / "damaged.png").write_bytes((folder / "0.png").read_bytes()[:200])
    listed = tmp_path / "list.txt"
    listed.write_text(f"{server}/more/1.png\n{server}/gone.png\n", encoding="utf-8")
    tables = {}
    for name, source in (("there", server), ("here", str(folder)), ("list", str(listed))):
        out = tmp_path / f"{name}.csv"
        assert main(["predict", source, "--out", str(out)]) == 0, capsys.readouterr().err
        tables[name] = pd.read_csv(out, keep_default_na=False)
    there, here = tables["there"], tables["here"]
    assert list(there.file) == [
        file.replace(str(folder), server).replace(os.sep, "/") for file in here.file
    ]
    columns = ["probability", "verdict", "reason", "error"]
    pd.testing.assert_frame_equal(there[columns], here[columns])
    assert there.error[there.file.str.endswith("notes.md")].item() == "Left out: no image."
    assert tables["list"].error.str.contains("gone.png").sum() == 1
    assert not (cache / "remote").exists(), "an archive was copied"

    assert main(["predict", server]) == 2
    assert "--out" in capsys.readouterr().err
    assert main(["predict", f"{server}/none", "--out", str(tmp_path / "none.csv")]) == 2
    assert f"{server}/none" in capsys.readouterr().err


def test_the_page_says_how_to_copy_a_data_set_and_then_starts_runs_by_its_url(
    stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamlit.testing.v1 import AppTest

    started = []
    monkeypatch.setenv("CXR_DATA_DIR", stored)
    monkeypatch.setenv("CXR_TRAINING", "on")
    monkeypatch.setattr(jobs, "create", lambda _, data, **__: started.append(data))
    monkeypatch.setattr(jobs, "launch", lambda run: None)
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    page.switch_page("pages/training.py").run()
    assert not page.exception
    assert f"python -m cxrlib download {stored}" in [code.value for code in page.code]
    remote.fetch(stored)
    page.run()
    assert not page.exception
    assert any(stored in one.value.replace("\\", "") for one in page.caption)
    (start,) = (button for button in page.button if button.label == "Start training")
    start.click().run()
    assert started == [stored]
