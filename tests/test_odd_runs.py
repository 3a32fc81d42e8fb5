"""Run folders with anything in them: one `RunError` says what is wrong, and the rest goes on."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_runs import (
    faithfulness_table,
    make_run,
    pictures,
    shipped_member,
    stress_results,
)

from cxrlib import runs
from cxrlib.evaluation.run_on_split import Measured
from cxrlib.inference import out_of_distribution
from cxrlib.inference.classifier import Classifier

FEATURES = 20


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    run = make_run(folder, "good", pictures(60))
    run.save_stress(stress_results())
    run.save_faithfulness(faithfulness_table())
    rng = np.random.default_rng(0)
    fitted = out_of_distribution.fit(
        rng.normal(size=(90, 15)), rng.normal(size=(90, FEATURES)), range(60), range(60, 90)
    )
    run.save_out_of_distribution(fitted.save)
    return folder


@pytest.fixture
def changed(models: Path) -> "Callable[[str, bytes], runs.Run]":
    """The run with another content in one of its files, which is put back afterwards."""
    kept: dict[Path, bytes] = {}

    def change(name: str, content: bytes) -> runs.Run:
        file = models / "good" / name
        kept.setdefault(file, file.read_bytes())
        file.write_bytes(content)
        return runs.Run(models / "good")

    yield change
    for file, content in kept.items():
        file.write_bytes(content)


def use(run: runs.Run) -> None:
    """All that pages and commands do with a run's files, but for its network."""
    found = runs.find(run.name, models=run.folder.parent)
    for split in found.metrics["splits"]:
        measured = Measured(found, split)
        for point in measured.points:
            measured.table(point)
            measured.errors(measured.points[point].threshold)
    _ = found.history, found.stress, found.faithfulness, found.card
    out_of_distribution.load(found, FEATURES)


JSON = (b"[]", b"{}", b"", b"null", b"\xff\xfe", b"[" * 100_000, b'{"splits": {}}', b"1" * 5000)


@pytest.mark.parametrize("content", JSON, ids=range(len(JSON)))
@pytest.mark.parametrize("name", ["config.json", "metrics.json"])
def test_json_of_another_form_is_one_run_error(
    changed: Callable[[str, bytes], runs.Run], name: str, content: bytes
) -> None:
    run = changed(name, content)
    with pytest.raises(runs.RunError, match=name):
        use(run)
    assert name in run.problem


def places(value: object, path: tuple = ()) -> list[tuple]:
    """The ways to everything inside of JSON."""
    if not isinstance(value, dict):
        return [path]
    return [path, *(found for key in value for found in places(value[key], (*path, key)))]


ODD = (None, True, -1, 0, 2, 1e9, float("nan"), "x", [], {}, [[]])


@pytest.mark.parametrize("name", ["config.json", "metrics.json"])
def test_any_value_anywhere_is_used_or_one_run_error(
    changed: Callable[[str, bytes], runs.Run], models: Path, name: str
) -> None:
    rng = np.random.default_rng(0)
    text = (models / "good" / name).read_text()
    ways = places(json.loads(text))[1:]
    for way in rng.permutation(np.array(ways, object))[:60]:
        found = json.loads(text)
        *first, last = way
        inner = found
        for key in first:
            inner = inner[key]
        inner[last] = ODD[rng.integers(len(ODD))]
        try:
            use(changed(name, json.dumps(found).encode()))
        except runs.RunError:
            continue  # anything else is a fault


TABLES = (b"", b"a,b\n1,2\n", b'"', b"\xff\xfe\x00", b"split,path,label,subtype,patient,score\n")


@pytest.mark.parametrize("content", TABLES, ids=range(len(TABLES)))
@pytest.mark.parametrize(
    "name", ["predictions.csv", "history.csv", "stress.csv", "faithfulness.csv"]
)
def test_tables_of_another_form_are_one_run_error(
    changed: Callable[[str, bytes], runs.Run], name: str, content: bytes
) -> None:
    with pytest.raises(runs.RunError, match=name):
        use(changed(name, content))


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("0.", "x.", 3),
        lambda text: text.replace("PNEUMONIA", "ILL"),
        lambda text: text.replace("test,", "later,"),
        lambda text: "\n".join(text.splitlines()[:20]),
    ],
    ids=["no numbers", "another label", "another split", "half the rows"],
)
def test_predictions_that_are_not_the_runs_are_one_run_error(
    changed: Callable[[str, bytes], runs.Run], models: Path, damage: Callable[[str], str]
) -> None:
    text = (models / "good" / "predictions.csv").read_text()
    with pytest.raises(runs.RunError):
        use(changed("predictions.csv", damage(text).encode()))


def test_sizes_come_before_reading(models: Path, changed: Callable[[str, bytes], runs.Run]) -> None:
    run = changed("metrics.json", b"")
    os.truncate(run.folder / "metrics.json", 20 * 2**30)  # sparse: it takes no room
    with pytest.raises(runs.RunError, match="larger than"):
        use(run)


NOVELTY = {
    "numbers as text": lambda parts: parts | {"features_mean": np.array(["x"] * FEATURES)},
    "objects": lambda parts: parts | {"features_mean": np.array([{}] * FEATURES, object)},
    "another length": lambda parts: parts | {"features_mean": np.zeros(3, np.float32)},
    "not a number": lambda parts: parts | {"features_limit": np.float32("nan")},
    "no extent": lambda parts: parts | {"features_scale": np.zeros(FEATURES, np.float32)},
    "lacks one": lambda parts: {key: parts[key] for key in parts if key != "features_axes"},
    "a bomb": lambda parts: parts | {"more": np.zeros(2**26, np.float32)},
}


@pytest.mark.parametrize("odd", NOVELTY.values(), ids=NOVELTY)
def test_what_is_familiar_is_checked(
    models: Path, changed: Callable[[str, bytes], runs.Run], odd: Callable[[dict], dict]
) -> None:
    file = models / "good" / "novelty.npz"
    run = changed("novelty.npz", file.read_bytes())
    with np.load(file) as stored:
        parts = odd(dict(stored))
    with file.open("wb") as target:
        np.savez_compressed(target, **parts)
    with pytest.raises(runs.RunError, match=r"novelty\.npz"):
        out_of_distribution.load(run, FEATURES)


def test_a_flipped_bit_in_a_packed_file_is_one_run_error(
    models: Path, changed: Callable[[str, bytes], runs.Run]
) -> None:
    whole = (models / "good" / "novelty.npz").read_bytes()
    refused = 0
    for place in np.random.default_rng(0).integers(len(whole), size=60):
        flipped = bytearray(whole)
        flipped[place] ^= 4
        try:
            out_of_distribution.load(changed("novelty.npz", bytes(flipped)), FEATURES)
        except runs.RunError:
            refused += 1  # anything else is a fault
    assert refused > 30


def test_a_network_of_another_size_or_other_classes_is_not_read_with(tmp_path: Path) -> None:
    shipped = shipped_member()
    for name, key, value in (("config.json", "size", 96), ("metrics.json", "classes", None)):
        run = runs.Run(tmp_path / key / "copied")
        run.folder.mkdir(parents=True)
        for file in shipped.folder.iterdir():
            (run.folder / file.name).symlink_to(file)
        found = json.loads((shipped.folder / name).read_text())
        found[key] = value or ["NORMAL", "BACTERIAL", "VIRAL"]
        if key == "classes":
            found["calibration"]["offsets"] = [0, 0, 0]
        (run.folder / name).unlink()
        (run.folder / name).write_text(json.dumps(found))
        with pytest.raises(runs.RunError, match="does not match its configuration"):
            Classifier(runs.find(run.folder))
