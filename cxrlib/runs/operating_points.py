"""The operating points' names. On their own, so that a page can offer them at once."""

DEFAULT_POINT = "youden"
# By what they do, on the images that they were chosen on.
POINT_TITLES = {
    "youden": "Balanced",
    "sensitivity_95": "Finds 95 % of pneumonias",
    "sensitivity_99": "Finds 99 % of pneumonias",
    "fixed_50": "Probability of 50 %",
}
