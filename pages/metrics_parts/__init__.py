"""The tabs of the metrics page, each a function of the runs that it shows."""
