"""Data sets: an index of radiographs with labels and patients, and where they come from."""
