"""The table of a stress test (`stress.measure`), for people: estimates, sentences, card."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cxrlib import formatting, metrics, tables

if TYPE_CHECKING:
    import pandas as pd

DRAWN = "drawn opacities"  # the group of that row
MACHINES = "machines"  # the group of the rows by machine
_LEAST = 20  # radiographs of a class that say something of a machine group


def shown(row: Mapping[Any, Any], name: str) -> str:
    """One of `STRESS_ESTIMATES` from a row of the table, for people."""
    return formatting.metric(name, metrics.from_columns(name, row))


def worst_mild(table: "pd.DataFrame") -> "pd.Series":
    """The row of the mild step that changes the most verdicts."""
    mild = table[table.strength == "mild"]
    return mild.loc[mild.changed.idxmax()]


def on_drawn_opacities(table: "pd.DataFrame") -> str:
    """What became of the normal images with opacities drawn in, a sentence; empty if unknown."""
    found = table[table.group == DRAWN]
    if found.empty:
        return ""
    (row,) = found.to_dict("records")
    return (
        f"Opacities were drawn into the lungs of the {row['pneumonia']} normal images. The run "
        f"calls {shown(row, 'sensitivity')} of these pneumonia, and separates them from the "
        f"originals with a ROC-AUC of {shown(row, 'roc_auc')}. Only the opacity differs, not "
        "shape, sharpness or exposure."
    )


def external(table: "pd.DataFrame") -> "pd.DataFrame":
    """The rows of images from elsewhere."""
    first = table.iloc[0]
    unchanged = (table.step == first.step) & (table.group != MACHINES)
    return table[unchanged & (table.pictures_of != first.pictures_of)]


def by_machine(table: "pd.DataFrame") -> str:
    """The worst sensitivity and specificity of a machine group, a sentence; empty if unknown."""
    rows = table[table.group == MACHINES]
    positive, negative = rows.pneumonia, rows.pictures - rows.pneumonia
    found = []
    for name, of_class in (("sensitivity", positive), ("specificity", negative)):
        large = rows[of_class >= _LEAST]
        if large.empty:
            return ""
        worst = large.loc[large[name].idxmin()]
        found.append(f"{name} {shown(worst, name)} ({worst.pictures_of.split(', ')[-1]})")
    return (
        "By machine, as far as sharpness and noise reveal it, the worst are "
        f"{' and '.join(found)}, among groups with at least {_LEAST} such images."
    )


def readable(table: "pd.DataFrame") -> "pd.DataFrame":
    """The table as text for people, an estimate with its interval in a cell."""
    import pandas as pd  # reading an image does not wait for it

    texts = pd.DataFrame(
        {
            "images": table.pictures_of,
            "perturbation": table.step,
            "strength": table.strength.where(table.strength != "none", ""),
        }
    )
    titles = {
        "roc_auc": "ROC-AUC",
        "sensitivity": "sensitivity",
        "specificity": "specificity",
        "ece": "calibration error",
        "refused": "rejected",
        "changed": "verdicts changed",
        "reversed": "verdicts reversed",
    }
    for name, title in titles.items():
        known = [shown(row, name) for row in table.to_dict("records")]
        texts[title] = [text if text != formatting.UNDEFINED else "" for text in known]
    # Against itself nothing can change.
    texts.loc[table.strength == "none", ["verdicts changed", "verdicts reversed"]] = ""
    return texts


def card_section(table: "pd.DataFrame") -> list[str]:
    """The model card's lines on a stress test, Markdown."""
    first = table.iloc[0]
    worst = worst_mild(table)
    return [
        "",
        "## Robustness",
        f"The {first.pictures} {first.pictures_of} images, perturbed before the run reads them, at "
        "the default operating point. A verdict (likely, uncertain, unlikely or rejected) has "
        "changed if it differs from that on the unchanged image, and is reversed if it went from "
        "likely to unlikely or back. Most changed under a mild perturbation: "
        f"{shown(worst, 'changed')} ({worst.step}).",
        "",
        *tables.markdown(readable(table[table.group != DRAWN])),
        *(["", drawn] if (drawn := on_drawn_opacities(table)) else []),
        *(["", worst_group] if (worst_group := by_machine(table)) else []),
    ]
