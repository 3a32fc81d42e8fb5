"""The PDF report: one page that says everything and keeps to itself what it must."""

import re
import shutil
import subprocess
from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from cxrlib import plots
from cxrlib.inference import pdf_report
from cxrlib.inference.classifier import Prediction
from cxrlib.inference.lung_fields import Lungs
from cxrlib.metrics import OperatingPoint
from cxrlib.networks.lungs import SIZE
from cxrlib.synthetic.phantom import phantom

POINT = OperatingPoint("youden", 0.3, 0.2, 0.4)


def page(
    name: str = "chest.jpg",
    probability: float = 0.87,
    *,
    height: int = 183,
    trust: str = "It was tested on little.",
    warnings: Sequence[str] = ("The picture is small.",),
) -> bytes:
    pixels = cv2.resize(phantom(1, pneumonia=True, size=256).pixels, (256, height))
    heat = np.linspace(0, 1, pixels.size, dtype=np.float32).reshape(pixels.shape)
    overlays = {method: plots.overlay(pixels, heat) for method in ("gradcam", "saliency")}
    return pdf_report.pdf(
        name,
        pixels,
        overlays,
        Prediction(
            probability,
            {"NORMAL": 1 - probability, "PNEUMONIA": probability},
            POINT,
            "a",
            Lungs(np.zeros((SIZE, SIZE), np.float32)),
        ),
        trust=trust,
        warnings=warnings,
    )


def pdftotext(data: bytes, tmp_path, *options: str) -> str:
    if shutil.which("pdftotext") is None:
        pytest.skip("needs pdftotext: install poppler-utils")
    file = tmp_path / "page.pdf"
    file.write_bytes(data)
    command = ["pdftotext", *options, file, "-"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def words(data: bytes, tmp_path) -> str:
    return " ".join(pdftotext(data, tmp_path).split())


def test_it_says_what_the_page_said(tmp_path) -> None:
    text = words(page(), tmp_path)
    for part in (
        "Pneumonia likely",
        "87 %",
        "Balanced",
        "Threshold 30.0 %",
        "Grad-CAM",
        "Saliency",
        "The picture is small.",
        "It was tested on little.",
        "Not for diagnosis",
        "chest.jpg",
    ):
        assert part in text, part


def test_a_file_name_is_text_not_mathematics(tmp_path) -> None:
    assert "a$b^c$_{x}.jpg" in words(page("a$b^c$_{x}.jpg"), tmp_path)


@pytest.mark.parametrize(
    ("probability", "says"), [(0.05, "Pneumonia unlikely"), (0.35, "Uncertain")]
)
def test_verdicts(probability: float, says: str, tmp_path) -> None:
    assert says in words(page(probability=probability), tmp_path)


@pytest.mark.parametrize(
    "name", ["a" * 300, "x\n\0y.png", "$\\frac{1}{0}$", "<b>name</b>", "=cmd|'/c calc'!A1", ""]
)
def test_any_name_fits(name, tmp_path) -> None:
    assert "Pneumonia likely" in words(page(name), tmp_path)


@pytest.mark.parametrize("height", [128, 300, 700])
def test_however_much_there_is_to_say_it_fits_and_ends_with_what_it_is_not_for(
    height: int, tmp_path
) -> None:
    long = "Only so much of the heat lies inside the lungs, which may be by chance alone. " * 2
    data = page(height=height, trust=long * 5, warnings=[long] * 6)
    place = r'yMin="([\d.]+)" xMax="[\d.]+" yMax="([\d.]+)">([^<]*)<'
    found = re.findall(place, pdftotext(data, tmp_path, "-bbox"))
    said = [word for *_, word in found]
    foot = len(said) - said[::-1].index("For")
    assert " ".join(said[foot - 1 :]).startswith("For education and research. Not for diagnosis")
    a4 = 842  # points
    assert max(float(bottom) for _, bottom, _ in found) < a4 - 10
    assert max(float(bottom) for _, bottom, _ in found[: foot - 1]) < float(found[foot - 1][0])
