"""Colours that figures and charts share.

Figures are drawn in the ink of the light theme, which `figures.svg` can change. Series stand out by
3 : 1 or more on both themes' backgrounds, and differ in their dashes too.
"""

INK = {"light": "#16191b", "dark": "#e6eaec"}
SERIES = ("#1f94a8", "#d4732a", "#9a6fd6", "#4f9a4a", "#d1568f", "#8a8f3c")
CORNER = 0.2  # share of the axes that is shown larger where good runs crowd in it
