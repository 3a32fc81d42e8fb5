"""A verdict and its probability, in words and as a bar."""

from typing import Literal

from cxrlib.formatting import percent, rate
from cxrlib.metrics import OperatingPoint, Verdict

ACCENT = "#3fb6c9"

# A verdict is a word and a mark, so that no colour has to tell it.
VERDICTS: dict[Verdict | Literal["refused"], tuple[str, str]] = {
    "likely": ("+", "Pneumonia likely"),
    "unlikely": ("−", "Pneumonia unlikely"),
    "uncertain": ("?", "Uncertain"),
}
REFUSED = ("⊘", "Rejected")


def verdict_bar(probability: float, point: OperatingPoint) -> str:
    """Where a probability lies between 0 and 1, as HTML that takes the page's text colour.

    The operating point is a line, the interval in which nothing can be told from it a hatched
    band, the probability a filled dot.
    """
    label = (
        f"Probability {percent(probability)} on a bar from 0 to 100 %, "
        f"operating point at {rate(point.threshold)}"
    )
    line = "position:absolute;background:currentColor"
    ticks = "".join(
        f'<span style="position:absolute;left:{value}%;transform:translateX(-50%);'
        f'white-space:nowrap">{value} %</span>'
        for value in (0, 25, 50, 75, 100)
    )
    return f"""\
<div role="img" aria-label="{label}" style="padding:0 1.2rem">
<div style="position:relative;height:.9rem;margin:.8rem 0 .6rem">
<div style="{line};inset:0;border-radius:.45rem;opacity:.15"></div>
<div style="{line};left:0;top:0;bottom:0;width:{probability:.2%};border-radius:.45rem;
opacity:.3"></div>
<div style="position:absolute;left:{point.low:.2%};width:{point.high - point.low:.2%};top:0;
bottom:0;opacity:.55;background:repeating-linear-gradient(45deg,currentColor 0 2px,transparent
2px 6px)"></div>
<div style="{line};left:{point.threshold:.2%};width:2px;top:-.3rem;bottom:-.3rem"></div>
<div style="position:absolute;left:{probability:.2%};top:50%;width:1.3rem;height:1.3rem;
border-radius:50%;transform:translate(-50%,-50%);background:{ACCENT};
border:2px solid currentColor"></div>
</div>
<div style="position:relative;height:1.2rem;font-size:.8rem;opacity:.75">{ticks}</div>
</div>"""
