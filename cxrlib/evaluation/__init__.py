"""Judging runs: metrics, model cards, robustness, faithfulness of heatmaps, comparisons."""
