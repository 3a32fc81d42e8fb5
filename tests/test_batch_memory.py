"""What a training step's memory costs the processor."""

import subprocess
import sys

import pytest

BATCHES = """
import resource
import numpy as np
from cxrlib.training import devices

{first}

def step():
    return np.ones(20_000_000, np.float32).sum()  # 80 MB

step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_the_memory_of_a_batch_is_kept_for_the_next() -> None:
    def faults(first: str) -> int:
        ran = subprocess.run(
            [sys.executable, "-c", BATCHES.format(first=first)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return int(ran.stdout)

    assert faults("devices.keep_memory()") < faults("") / 20
