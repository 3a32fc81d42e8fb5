"""Heatmaps against boxes: right where the place is known, clear about tables that are no use."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from cxrlib.__main__ import main
from cxrlib.data.dataset import DatasetError
from cxrlib.evaluation import boxes
from cxrlib.inference.explain import Explanation
from cxrlib.inference.methods import SAME_PLACE

HEADER = "file,left,top,width,height\n"


@dataclass
class Marks:
    """Stands in for a run: its maps are bright where the image is, or everywhere."""

    methods: tuple[str, ...] = ("evidence", "gradcam", "occlusion")

    def read(self, pixels: np.ndarray, methods: list[str]) -> tuple[None, dict[str, Explanation]]:
        assert methods == ["evidence", "gradcam"], "the quick ones"
        bright = (pixels > 128).astype(np.float32)
        maps = {"evidence": bright, "gradcam": np.ones_like(bright)}
        return None, {name: Explanation(name, map_, pixels.shape) for name, map_ in maps.items()}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two images, each bright in its box; the second has another box too."""
    (tmp_path / "images").mkdir()
    rows = []
    for number, (left, top) in enumerate([(0.25, 0.5), (0.625, 0.125)]):
        image = np.full((320, 480), 40, np.uint8)
        image[int(320 * top) :, int(480 * left) :][:80, :60] = 220  # a quarter by an eighth
        cv2.imwrite(str(tmp_path / f"images/{number}.png"), image)
        rows.append(f"images/{number}.png,{left},{top},0.125,0.25")
    rows.append("images/1.png,0,0.75,0.125,0.25")
    file = tmp_path / "boxes.csv"
    file.write_text(HEADER + "\n".join(rows))
    return file


def test_maps_are_judged_by_the_boxes(table: Path) -> None:
    found = boxes.measure(Marks(), table).set_index(["method", "measure"]).value
    assert found["evidence", "box_pointing"] == 1
    assert found["evidence", "box_share"] > 0.97  # edges are resampled
    # One image has all of its two boxes' pixels bright, one of them half.
    assert found["evidence", "box_auc"] == pytest.approx((1 + 0.75) / 2, abs=0.02)
    # A map that is everywhere the same has in boxes what they cover of the image.
    assert found["gradcam", "box_share"] == pytest.approx((1 + 2) / 2 / 32, rel=0.05)
    assert found["gradcam", "box_auc"] == pytest.approx(0.5)
    # The mean of both images' maps is bright in either's box.
    assert found[SAME_PLACE, "box_pointing"] == 0.5
    assert found[SAME_PLACE, "box_share"] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (None, "boxes.csv"),
        ("file,left,top,width\nimages/0.png,0,0,1", "height"),
        (HEADER + "images/0.png,0.5,0.5,0.6,0.1", "shares"),
        (HEADER + "images/0.png,120,80,200,200", "shares"),
        (HEADER + "images/none.png,0,0,0.5,0.5", "none.png"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(table: Path, text: str | None, named: str) -> None:
    table.unlink()
    if text is not None:
        table.write_text(text)
    with pytest.raises(DatasetError, match=named):
        boxes.read(table)


@pytest.mark.slow
def test_the_command_adds_them_to_the_run_s_table(
    taught, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["faithfulness", "--run", str(taught.run.folder), "--boxes", str(table)]) == 0
    assert "Pointing at boxes" in capsys.readouterr().out
    kept = taught.run.faithfulness
    assert set(kept.measure) == {"box_pointing", "box_share", "box_auc"}
    assert (kept.pictures == 2).all()
    (taught.run.folder / "faithfulness.csv").unlink()
