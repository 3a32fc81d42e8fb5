"""The operating points' names. On their own, so that a page can offer them at once."""

DEFAULT_POINT = "youden"
POINT_TITLES = {
    "youden": "balanced (Youden)",
    "sensitivity_95": "sensitivity ≥ 0.95",
    "sensitivity_99": "screening, sensitivity ≥ 0.99",
    "fixed_50": "0.5",
}
