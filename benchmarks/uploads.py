"""Memory while uploads are many or large: python benchmarks/uploads.py

First, by kind: what a process takes while four images of 60 megapixels are decoded at once. Then
what the server takes while one visitor drops twenty files of 45 MB, and when they are gone.
"""

import asyncio
import io
import subprocess
import sys

import numpy as np
from bare_visitors import bare_visitor
from PIL import Image
from serving_tools import ROOT, load_average, serve

WIDTH, HEIGHT = 10_000, 6_000
AT_ONCE = 4
FILES, FILE_BYTES = 20, 45 * 2**20

DECODE = """
import sys
from pages.shared import memory
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from cxrlib.images import radiograph

def peak():
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x]
    return int(line.split()[1]) / 1024

memory.set_up()
data = sys.stdin.buffer.read()
before = peak()
with ThreadPoolExecutor(int(sys.argv[1])) as pool:
    shapes = list(pool.map(lambda _: radiograph.read(data).pixels.shape, range(int(sys.argv[1]))))
assert len(shapes[0]) == 2
print(before, peak())
"""


def images() -> dict[str, bytes]:
    """Files of 60 megapixels, by what they are."""
    grey = np.tile(np.arange(WIDTH, dtype=np.uint32) // 40, (HEIGHT, 1)).astype(np.uint8)
    deep = grey.astype(np.uint16) * 257
    made = {
        "JPEG, grey": (Image.fromarray(grey), "JPEG"),
        "JPEG, colour": (Image.merge("RGB", [Image.fromarray(grey)] * 3), "JPEG"),
        "PNG, grey": (Image.fromarray(grey), "PNG"),
        "PNG, colour with transparency": (
            Image.merge("RGBA", [Image.fromarray(grey)] * 3 + [Image.fromarray(grey // 2 + 100)]),
            "PNG",
        ),
        "PNG, 16 bits": (Image.fromarray(deep), "PNG"),
        "TIFF, 16 bits": (Image.fromarray(deep), "TIFF"),
    }
    found = {}
    for kind, (image, name) in made.items():
        stream = io.BytesIO()
        image.save(stream, name, **({"compression": "tiff_lzw"} if name == "TIFF" else {}))
        found[kind] = stream.getvalue()
    sys.path.append(str(ROOT / "tests"))
    from made_files import dicom, to_bytes
    from pydicom.uid import RLELossless

    dataset = dicom(deep >> 4, bits=12)
    dataset.compress(RLELossless)  # 120 MB of pixels in a few
    found["DICOM, 12 bits"] = to_bytes(dataset)
    return found


def decoding() -> None:
    print(f"| {AT_ONCE} of {WIDTH * HEIGHT / 1e6:.0f} megapixels at once | MB more | MB in all |")
    print("|---|---|---|")
    for kind, data in images().items():
        ran = subprocess.run(
            [sys.executable, "-c", DECODE, str(AT_ONCE)],
            input=data, capture_output=True, check=True, cwd=ROOT,
        )  # fmt: skip
        before, peak = map(float, ran.stdout.split())
        print(f"| {kind} | {peak - before:.0f} | {peak:.0f} |", flush=True)


async def uploading() -> None:
    data = np.random.default_rng(0).bytes(FILE_BYTES)
    with serve(ROOT / "app.py") as server:
        start = server.memory()["VmRSS"]
        async with bare_visitor(server.url) as visitor:
            for number in range(FILES):
                await visitor.put(f"{number}.bin", data)
            held = server.memory()
    print(
        f"{FILES} files of {FILE_BYTES >> 20} MB: {start:.0f} MB before, {held['VmRSS']:.0f} MB "
        f"held, peak {held['VmHWM']:.0f} MB"
    )


if __name__ == "__main__":
    decoding()
    asyncio.run(uploading())
    print(f"load average {load_average()}")
