"""What a small server has to hold: 690 MB on Streamlit Community Cloud."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

TEN_AT_ONCE = """
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from cxrlib import runs
from cxrlib.synthetic import phantom
from cxrlib.inference.ensemble import load

def peak():
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x]
    return int(line.split()[1]) / 1024

pixels = phantom.phantom(1, pneumonia=True, size=600).pixels
reader = load(runs.find(runs.SHIPPED))
for method in reader.methods:
    reader.explain(pixels, method)
alone = peak()
with ThreadPoolExecutor(10) as people:
    methods = (3 * list(reader.methods))[:20]
    list(people.map(lambda method: reader.explain(pixels, method), methods))
print(alone, peak())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's account of memory")
def test_ten_readers_at_once_take_little_more_than_one() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", TEN_AT_ONCE], capture_output=True, text=True, check=True, timeout=300
    )
    alone, together = map(float, ran.stdout.split())
    assert together < 450  # Streamlit and its pages take some 60 MB more
    assert together < alone + 120
