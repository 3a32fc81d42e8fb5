"""An upload stays in the server's memory: no file of it is ever open on the disk."""

import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from made_files import dicom, to_bytes

pytestmark = pytest.mark.browser


@pytest.mark.skipif(sys.platform != "linux", reason="looks through /proc")
def test_six_megabytes_reach_no_file_while_they_arrive(app, page, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 4096, (1500, 2100), np.uint16)
    data = to_bytes(dicom(noise, bits=12))
    assert len(data) > 6_000_000
    url = app(TMPDIR=str(tmp_path))
    page.goto(url)
    page.locator("input[type=file]").first.wait_for(state="attached")
    seen: set[str] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            with suppress(FileNotFoundError):  # closed while it was looked at
                seen.update(app.open_files(url))
            seen.update(str(file) for file in tmp_path.iterdir())

    watching = threading.Thread(target=watch)
    watching.start()
    with page.expect_response(lambda answer: "upload_file" in answer.url) as answered:
        page.locator("input[type=file]").first.set_input_files(
            [{"name": "large.dcm", "mimeType": "application/dicom", "buffer": data}]
        )
    done.set()
    watching.join()
    app.kill(url)
    assert answered.value.ok
    assert not {file for file in seen if file.startswith(str(tmp_path))}
