"""The parts of the data-set page, a tab each; `pages/dataset.py` puts them together."""
