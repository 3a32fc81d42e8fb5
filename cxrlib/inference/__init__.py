"""Reading radiographs with a finished run: probability, heatmaps, refusal, reports."""
