"""Images of one look are put in one group, whatever they show."""

import cv2
import numpy as np
import pandas as pd

from cxrlib.evaluation import machines, stress_table
from cxrlib.runs.contents import STRESS_ESTIMATES
from cxrlib.synthetic import phantom


def test_images_are_grouped_by_how_they_look_not_by_what_they_show() -> None:
    rng = np.random.default_rng(0)
    looks = {
        "sharp": lambda pixels: pixels,
        "blurred": lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 3),
        "noisy": lambda pixels: np.clip(pixels + rng.normal(0, 25, pixels.shape), 0, 255),
    }
    looked, images = [], []
    for name, count in (("sharp", 8), ("blurred", 6), ("noisy", 4)):
        for number in range(count):
            drawn = phantom.phantom(7100 + number, pneumonia=number % 2 == 0, size=256)
            images.append(looks[name](drawn.pixels).astype(np.uint8))
            looked.append(name)
    found = machines.groups(images, count=3)
    assert found.tolist() == [["sharp", "blurred", "noisy"].index(name) for name in looked]


def test_the_worst_group_is_named_among_those_that_say_something() -> None:
    estimates = {f"{name}{end}": 0.5 for name in STRESS_ESTIMATES for end in ("", "_low", "_high")}
    rows = [
        estimates | {
            "pictures_of": f"validation, machine group {number}", "group": stress_table.MACHINES,
            "pictures": ill + well, "pneumonia": ill,
            "sensitivity": sensitivity, "specificity": specificity,
        }
        for number, (ill, well, sensitivity, specificity) in enumerate(
            [(80, 40, 0.96, 0.91), (60, 5, 0.93, 0.2), (4, 30, 0.25, 0.98)], start=1
        )
    ]  # fmt: skip
    sentence = stress_table.by_machine(pd.DataFrame(rows))
    assert "sensitivity 93.0" in sentence and "(machine group 2)" in sentence
    assert "specificity 91.0" in sentence and "(machine group 1)" in sentence
