"""How much memory uploads take: a budget a session and a server, and decoding one at a time."""

import gc
import io
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
from PIL import Image
from streamlit.runtime.memory_session_storage import MemorySessionStorage
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.session_manager import SessionInfo
from streamlit.runtime.uploaded_file_manager import UploadedFileRec
from streamlit.runtime.websocket_session_manager import WebsocketSessionManager

from cxrlib.images.radiograph import RadiographError
from pages.shared import memory, uploads

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> MemoryUploadedFileManager:
    """A server that holds 100 kB, of which 50 for one visitor."""
    monkeypatch.setattr(uploads, "_SERVER", 100_100)
    monkeypatch.setattr(uploads, "_SESSION", 50_050)
    monkeypatch.setattr(MemoryUploadedFileManager, "add_file", uploads._add_within_bounds)
    monkeypatch.setattr(uploads, "_held", weakref.WeakSet())  # not what other tests' pages hold
    return MemoryUploadedFileManager("/upload")


def kept(manager: MemoryUploadedFileManager, session: str, name: str, kilobytes: int) -> bool:
    """Whether the server keeps a file of that size."""
    manager.add_file(session, UploadedFileRec(name, name, "image/jpeg", b"x" * 1000 * kilobytes))
    (file,) = manager.get_files(session, [name])
    return len(file.data) == 1000 * kilobytes


def hold(
    manager: MemoryUploadedFileManager, session: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> uploads.Upload:
    """What a page does with an upload."""
    (file,) = manager.get_files(session, [name])
    monkeypatch.setattr(uploads, "get_script_run_ctx", lambda: SimpleNamespace(session_id=session))
    return uploads.Upload(SimpleNamespace(file_id=name, getvalue=lambda: file.data))


def test_one_visitor_has_a_budget_and_all_together_another(manager) -> None:
    assert kept(manager, "ada", "a", 30)
    assert not kept(manager, "ada", "b", 30)
    assert kept(manager, "bo", "c", 50)
    assert not kept(manager, "cy", "d", 40)
    manager.remove_file("ada", "a")
    assert kept(manager, "ada", "b", 30)
    manager.remove_session_files("bo")
    assert kept(manager, "cy", "d", 40)


def test_what_a_page_keeps_counts_when_its_uploader_is_gone(manager, monkeypatch) -> None:
    assert kept(manager, "ada", "a", 30)
    upload = hold(manager, "ada", "a", monkeypatch)
    assert kept(manager, "ada", "b", 20), "it counts once"
    manager.remove_session_files("ada")
    assert not kept(manager, "ada", "c", 30)
    del upload
    gc.collect()
    assert kept(manager, "ada", "c", 30)


def test_a_closed_page_is_let_go_though_no_other_is_closed(manager) -> None:
    pages = WebsocketSessionManager(
        MemorySessionStorage(ttl_seconds=0), manager, MagicMock(), MagicMock()
    )
    page = MagicMock(id="ada")
    closed = weakref.ref(page)
    pages._session_storage.save(SessionInfo(client=None, session=page))
    del page
    assert closed()
    memory.let_closed_pages_go(pages)
    gc.collect()
    assert not closed()


@pytest.mark.parametrize(("session", "says"), [("ada", "your uploads"), ("cy", "server")])
def test_who_is_refused_is_told_what_to_do(manager, monkeypatch, session: str, says: str) -> None:
    assert kept(manager, "ada", "a", 50)
    assert kept(manager, "bo", "b", 50)
    assert not kept(manager, session, "more", 40)
    with pytest.raises(RadiographError, match=says):
        hold(manager, session, "more", monkeypatch).read()


FOUR_AT_ONCE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from cxrlib.images import radiograph
from pages.shared import memory

memory.set_up()
data = sys.stdin.buffer.read()
with ThreadPoolExecutor(4) as pool:
    images = list(pool.map(lambda _: radiograph.read(data).pixels.nbytes, range(4)))
(line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x]
print(int(line.split()[1]) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's account of memory")
@pytest.mark.parametrize("mode", ["RGB", "I;16"])
def test_four_images_of_60_megapixels_at_once_take_what_two_do(mode: str) -> None:
    grey = np.tile(np.arange(10_000) // 40, (6_000, 1)).astype(np.uint8)
    image = Image.fromarray(grey.astype(np.uint16) * 257)
    if mode == "RGB":
        image = Image.merge("RGB", [Image.fromarray(grey)] * 3)
    file = io.BytesIO()
    image.save(file, "JPEG" if mode == "RGB" else "PNG")
    ran = subprocess.run(
        [sys.executable, "-c", FOUR_AT_ONCE],
        input=file.getvalue(), capture_output=True, check=True, timeout=300, cwd=ROOT,
    )  # fmt: skip
    assert float(ran.stdout) < 550
