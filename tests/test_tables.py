"""Tables as CSV: nothing that was typed becomes a formula, and everything comes back."""

import csv
import io

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrlib import tables

FORMULAS = "=+-@\t\r"
TEXTS = st.text(st.sampled_from("=+-@\t\r'\n\",;a1 é"), min_size=1, max_size=6)


@settings(deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_no_text_is_a_formula_and_every_text_comes_back(texts: list[str]) -> None:
    table = pd.DataFrame({"file": texts, "probability": -0.5})
    data = tables.to_csv(table)
    for file, probability in list(csv.reader(io.StringIO(data.decode(), newline="")))[1:]:
        assert not file.startswith(tuple(FORMULAS))
        assert float(probability) == -0.5
    written = pd.read_csv(io.BytesIO(data), dtype=object, keep_default_na=False, na_values=[""])
    assert tables.from_csv(written).file.tolist() == texts
