"""Heatmaps against the boxes that radiologists drew around opacities.

A heatmap points at something only if it does better than one that says of every image what is true
of most: that pneumonia is usually low in the lungs. Such a map stands beside the methods.
"""

from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from cxrlib import metrics
from cxrlib.data.dataset import DatasetError
from cxrlib.images import radiograph
from cxrlib.images.radiograph import RadiographError
from cxrlib.inference.ensemble import Reader
from cxrlib.inference.methods import METHODS, SAME_PLACE

COLUMNS = ["file", "left", "top", "width", "height"]
_SIDE = 256  # pixels of the grid on which heatmaps and boxes are compared


def read(file: Path) -> dict[Path, np.ndarray]:
    """The boxes of a table ``file,left,top,width,height``.

    Args:
        file: CSV; images are named from its folder, places as shares of their width and height.

    Returns:
        Of each image a mask of its boxes, ``bool [256, 256]``.

    Raises:
        DatasetError: the file is missing or no such table, or an image is missing.
    """
    try:
        table = pd.read_csv(file)
    except (OSError, ValueError) as error:
        raise DatasetError(f"The boxes {file} cannot be read: {error}") from error
    if missing := [name for name in COLUMNS if name not in table]:
        raise DatasetError(
            f"The boxes {file} lack the column {missing[0]}: there have to be "
            f"{', '.join(COLUMNS)}, places as shares of the image's width and height."
        )
    places = table[COLUMNS[1:]]
    inside = table.left + table.width <= 1.001, table.top + table.height <= 1.001
    if not ((places >= 0).all(axis=None) and all(one.all() for one in inside)):
        raise DatasetError(
            f"The boxes {file} reach beyond their image: places are shares of its width and "
            "height, from 0 to 1."
        )
    masks = {}
    for name, boxes in table.groupby("file"):
        image = file.parent / name
        if not image.is_file():
            raise DatasetError(f"The image {image} of the boxes {file} is not there.")
        mask = masks[image] = np.zeros((_SIDE, _SIDE), bool)
        for box in boxes.itertuples():
            right, bottom = box.left + box.width, box.top + box.height
            mask[
                int(box.top * _SIDE) : int(np.ceil(bottom * _SIDE)),
                int(box.left * _SIDE) : int(np.ceil(right * _SIDE)),
            ] = True
    return masks


def measure(reader: Reader, file: Path) -> pd.DataFrame:
    """How the quick heatmaps of a run lie to the boxes of a table.

    Args:
        reader: the run.
        file: as for `read`.

    Returns:
        One row a method and measure, as of `faithfulness.measure`: ``box_pointing``, the share of
        images whose brightest place is in a box (Zhang et al., IJCV 2018); ``box_share``, the mean
        share of the heat that is in boxes; ``box_auc``, the mean ROC-AUC of pixels, those in boxes
        against the rest. The method `methods.SAME_PLACE` is the mean of the first method's maps,
        for every image.

    Raises:
        DatasetError: as `read`; or an image cannot be read.
    """
    masks = read(file)
    quick = [method for method in reader.methods if not METHODS[method].slow]
    maps: dict[str, list[np.ndarray]] = defaultdict(list)
    for image in tqdm(masks, desc="images with boxes"):
        try:
            pixels = radiograph.read_file(image).pixels
        except RadiographError as error:
            raise DatasetError(f"The image {image} cannot be read: {error}") from error
        for method, explanation in reader.read(pixels, quick)[1].items():
            maps[method].append(_resized(explanation.heatmap))
    same = np.mean(maps[quick[0]], axis=0)
    maps[SAME_PLACE] = [same] * len(masks)
    return pd.concat([_against(heats, masks, method) for method, heats in maps.items()])


def _resized(heatmap: np.ndarray) -> np.ndarray:
    return cv2.resize(heatmap, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)


def _against(
    heatmaps: list[np.ndarray], masks: dict[Path, np.ndarray], method: str
) -> pd.DataFrame:
    hits, shares, areas = [], [], []
    for heat, mask in zip(heatmaps, masks.values(), strict=True):
        hits.append(bool(heat.any() and mask.flat[heat.argmax()]))
        # A map that is empty has nothing in a box.
        shares.append(float(heat[mask].sum() / heat.sum()) if heat.any() else 0.0)
        areas.append(metrics.roc_auc(mask.ravel(), heat.ravel()))
    found = {
        "box_pointing": metrics.wilson(sum(hits), len(hits)),
        "box_share": metrics.mean(shares),
        "box_auc": metrics.mean(areas),
    }
    return pd.DataFrame(
        {"method": method, "measure": name, **vars(estimate), "pictures": len(masks)}
        for name, estimate in found.items()
    )
