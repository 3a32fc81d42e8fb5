"""What a small server has to hold: one gigabyte."""

import gc
import json
import subprocess
import sys
import weakref

import pytest

from pages.shared import memory

pytestmark = pytest.mark.slow

ROUTINE = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from cxrlib import runs
from cxrlib.synthetic import phantom
from cxrlib.inference.classifier import Classifier
from cxrlib.inference.methods import METHODS
from pages.shared import memory

def resident():
    lines = open("/proc/self/status").read().splitlines()
    wanted = [line.split() for line in lines if "rss" in line.lower()]
    return {name.rstrip(":"): int(number) / 1024 for name, number, _ in wanted}

memory.set_up_heaps()
pixels = phantom.phantom(1, pneumonia=True, size=600).pixels
reader = Classifier(runs.find(runs.SHIPPED))
before = reader.read(pixels)[0].probability
loaded = resident()
memory.give_back_memory()
trimmed = resident()
after = reader.read(pixels)[0].probability
for method in METHODS:
    reader.explain(pixels, method)
with ThreadPoolExecutor(10) as people:
    list(people.map(lambda _: reader.explain(pixels, "layercam"), range(10)))
json.dump([before, after, loaded, trimmed, resident()], sys.stdout)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's account of memory")
def test_a_loaded_server_is_trimmed_and_every_heatmap_fits_and_ten_peoples_at_once() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", ROUTINE], capture_output=True, text=True, check=True, timeout=300
    )
    before, after, loaded, trimmed, explained = json.loads(ran.stdout)
    assert after == before, "what was given back comes again"
    assert trimmed["RssFile"] < loaded["RssFile"] - 250
    assert explained["VmRSS"] < 900  # Streamlit and its pages take some 60 MB more


HEAPS = """
import ctypes, threading
from pathlib import Path
from tempfile import TemporaryDirectory
from pages.shared import memory

memory.set_up_heaps()
together = threading.Barrier(20)

def visit():
    together.wait()
    kept = [bytes(10_000) for _ in range(100)]
    together.wait()

threads = [threading.Thread(target=visit) for _ in range(20)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = (ctypes.c_int, ctypes.c_void_p)
libc.fclose.argtypes = (ctypes.c_void_p,)
with TemporaryDirectory() as folder:
    file = Path(folder) / "heaps.xml"
    stream = libc.fopen(str(file).encode(), b"w")
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(file.read_text().count("<heap nr="))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heaps")
def test_twenty_at_once_have_no_heap_of_their_own() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", HEAPS], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(ran.stdout) <= 8


LARGE = """
from pathlib import Path
from pages.shared import memory

def resident():
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in x]
    return int(line.split()[1]) / 1024

memory.set_up_heaps()
bytearray(30_000_000)  # once this is freed, glibc would put what is as large into a heap
before = resident()
large, small = [], []
for _ in range(20):
    large.append(bytes([1]) * 6_000_000)
    small.append(bytes([1]) * 60_000)
large.clear()
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heaps")
def test_what_is_large_is_given_back_whatever_small_things_are_kept() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", LARGE], capture_output=True, text=True, check=True, timeout=60
    )
    assert float(ran.stdout) < 20


def test_what_a_visitor_left_is_freed_at_the_next_look() -> None:
    class Visitor:
        pass

    visitor = Visitor()
    visitor.session = visitor  # as Streamlit's sessions are, part of a circle
    left = weakref.ref(visitor)
    memory.spare_from_collection()
    del visitor
    gc.collect()
    assert left(), "left out of Streamlit's collections"
    memory.spare_from_collection()
    assert not left()
    gc.unfreeze()
