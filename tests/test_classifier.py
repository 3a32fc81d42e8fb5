"""The shipped run reads what it was measured on as it was measured, and says where it looked."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_runs import shipped_member

from cxrlib.images import radiograph
from cxrlib.inference.classifier import Classifier
from cxrlib.synthetic import phantom


@pytest.fixture(scope="module")
def shipped() -> Classifier:
    return Classifier(shipped_member())


@pytest.mark.slow
def test_radiographs_are_read_as_the_run_was_measured_on_them(
    shipped: Classifier, real: Callable[[str], Path]
) -> None:
    root = real("chest_xray")
    rows = shipped.run.predictions.query("split == 'validation'")
    rows = rows[[(root / path).exists() for path in rows.path]].sample(40, random_state=0)
    files = [root / path for path in rows.path]
    pixels = [radiograph.read(file.read_bytes()).pixels for file in files]
    served = [one.probability for one in shipped.predict_all(pixels)]
    np.testing.assert_allclose(served, rows.probability, atol=0.01)
    from_files = dict(shipped.predict_files(files))
    np.testing.assert_allclose(
        [from_files[file].probability for file in files], rows.probability, atol=0.01
    )
    # Without calibration these would not be the same.
    assert np.abs(rows.score - rows.probability).max() > 0.03


@pytest.mark.parametrize("method", ["evidence", "gradcam", "saliency"])
def test_a_heatmap_lies_where_the_network_looked(shipped: Classifier, method: str) -> None:
    pixels = phantom.phantom(13, pneumonia=True, size=512, aspect=1.2).pixels
    height, width = pixels.shape
    sides = width, height, width, height
    left, top, right, bottom = np.array(shipped.predict(pixels).seen) * sides
    assert left > 2 and top > 2 and right < width - 2 and bottom < height - 2, "not cropped"
    heatmap = shipped.explain(pixels, method).heatmap
    rows, columns = np.nonzero(heatmap)
    assert rows.size
    assert top - 1 <= rows.min() and rows.max() <= bottom + 1
    assert left - 1 <= columns.min() and columns.max() <= right + 1
