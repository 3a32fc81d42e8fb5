"""Write the reading that the first page shows: ``python -m pages.diagnose_parts.store_example``.

To be run again whenever the shipped run, its heatmaps or the words about them change; a test
compares the file with what the page would say.
"""

import base64
import json
from dataclasses import asdict

from cxrlib import runs
from cxrlib.data import examples
from cxrlib.inference.ensemble import load
from pages.diagnose_parts import reading, stored
from pages.diagnose_parts.cases import Case
from pages.shared.viewer import encoding


def made() -> dict[str, object]:
    """The stored reading's content, computed by the shipped run."""
    drawn = [example for example in examples.all_examples() if example.synthetic]
    thumbnails = {}
    for example in drawn:
        thumbnail = Case(example.title, example.title, example.load).thumbnail
        assert thumbnail, "a drawn image can be opened"
        thumbnails[example.title] = base64.b64encode(thumbnail).decode()
    first = drawn[0]
    reader = load(runs.find(runs.SHIPPED))
    pixels = first.load().pixels
    prediction, explanations = reader.read(pixels)
    return {
        "title": first.title,
        "run": reader.run.name,
        "prevalence": reading.PREVALENCE,
        "image": asdict(encoding.encode(pixels)),
        "overlays": [
            asdict(overlay) for overlay in encoding.overlays_of(prediction, explanations.values())
        ],
        "contours": encoding.outlines(prediction.lungs),
        "panels": {
            name: asdict(
                reading.panel_of(
                    prediction.held_against(point), reader.run, first.label, reading.PREVALENCE
                )
            )
            for name, point in reader.points.items()
        },
        "thumbnails": thumbnails,
    }


if __name__ == "__main__":
    stored.FILE.write_text(json.dumps(made(), ensure_ascii=False), "utf-8")
