"""Who the patient is stays in the file: searched for wherever the app could have left it."""

import csv
import io
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from made_files import dicom, to_bytes

from cxrlib.synthetic.phantom import phantom

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parent.parent
NETWORK_LOADED = 240_000


def telling_dicom(secret: str) -> bytes:
    """A DICOM that says on every occasion whom it shows."""
    digits = str(int(secret, 16))
    return to_bytes(
        dicom(
            phantom(1, pneumonia=True, size=600).pixels,
            PatientName=f"{secret}^Ottilie",
            PatientID=secret,
            PatientBirthDate="19331224",
            PatientAddress=secret,
            OtherPatientIDs=secret,
            AccessionNumber=secret,
            InstitutionName=secret,
            ReferringPhysicianName=secret,
            StudyDescription=secret,
            StudyID=secret,
            StudyInstanceUID=f"1.2.{digits}",
            DeviceSerialNumber=secret,
            ImageComments=secret,
            SpecificCharacterSet="ISO_IR 192",
        )
    )


def written_since(moment: float, *folders: Path) -> dict[Path, bytes]:
    """Every file in these folders that was written since then."""
    return {
        file: file.read_bytes()
        for folder in folders
        for file in folder.rglob("*")
        if file.is_file() and file.stat().st_mtime >= moment
    }


def leaks(text: bytes, *secret: str) -> list[str]:
    """Which of these words are in there, in any of the ways they could be written."""
    lower = text.lower()
    return [
        word
        for word in secret
        if any(word.encode(code) in lower for code in ("utf-8", "utf-16-le", "utf-32-le"))
    ]


def read(page, name: str) -> None:
    """Wait until an uploaded file is shown with its verdict."""
    viewer = page.locator(f".viewer[aria-label='Radiograph {name}'][data-ready]")
    viewer.wait_for(timeout=NETWORK_LOADED)
    page.get_by_text("How far to trust this").wait_for()


def test_a_telling_dicom_leaves_no_trace(app, page, tmp_path: Path, capfd) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("needs pdftotext: install poppler-utils")
    # Made up anew, so that no source or cache of this test can hold them.
    identity, called = secrets.token_hex(6), f"zz{secrets.token_hex(6)}"
    digits = str(int(identity, 16))
    data = telling_dicom(identity)
    pixels = data[-400:-300]
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    for folder in (home, temporary):
        folder.mkdir()
    started = time.time() - 1
    url = app(
        HOME=str(home),
        TMPDIR=str(temporary),
        XDG_CACHE_HOME=str(home / "cache"),
        CXR_CACHE_DIR=str(home / "pixels"),
        CXR_REVIEWS=str(home / "reviews.db"),
    )
    page.goto(url)
    files = [
        {"name": f"{called}.dcm", "mimeType": "application/dicom", "buffer": data},
        {"name": f"{called}2.dcm", "mimeType": "application/dicom", "buffer": data[:-9000]},
    ]
    page.locator("input[type=file]").first.set_input_files(files)
    read(page, f"{called}.dcm")
    page.get_by_text("More", exact=True).click()
    page.get_by_text(re.compile("^DICOM, ")).wait_for()
    exports = {}
    page.get_by_text("Table of all files").click()
    for kind in ("Table as CSV", "Save as PNG", "Report as PDF"):
        with page.expect_download(timeout=NETWORK_LOADED) as download:
            page.get_by_role("button", name=kind).click()
        exports[kind] = Path(download.value.path()).read_bytes()
    report = tmp_path / "report.pdf"
    report.write_bytes(exports["Report as PDF"])
    exports["text of the PDF"] = subprocess.run(
        ["pdftotext", report, "-"], capture_output=True, check=True
    ).stdout
    exports["page"] = page.content().encode()
    report.unlink()

    assert b"DICOM" in exports["page"]
    assert len(list(csv.reader(io.StringIO(exports["Table as CSV"].decode())))) == 3
    for kind, export in exports.items():
        assert not leaks(export, identity, digits, "ottilie", "19331224"), kind
    log = "".join(capfd.readouterr())
    assert re.search(r"Local URL|You can now view", log), "the server's log was not seen"
    assert not leaks(log.encode(), identity, digits, "ottilie", called)
    for file, content in written_since(started, home, temporary, ROOT).items():
        assert not leaks(content, identity, digits, called), file
        assert not leaks(str(file).encode(), identity, called)
        assert pixels not in content, file
    app.kill(url)


def test_a_name_is_neither_markup_nor_formula_nor_path(app, page) -> None:
    script = "<img src=x onerror='window.ran=1'>"
    picture = to_bytes(dicom(phantom(1, pneumonia=True, size=600).pixels))
    names = [f"=1+1{script}.dcm", f"..\\..\\{script}\n'\".dcm"]
    page.goto(app())
    page.locator("input[type=file]").first.set_input_files(
        [
            {"name": name, "mimeType": "application/dicom", "buffer": data}
            for name, data in zip(names, (picture, picture[:900]), strict=True)
        ]
    )
    page.locator(".viewer[aria-label^='Radiograph =1+1'][data-ready]").wait_for(
        timeout=NETWORK_LOADED
    )
    page.get_by_text("Table of all files").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Table as CSV").click()
    rows = list(csv.reader(io.StringIO(Path(download.value.path()).read_text())))
    assert [row[0][:3] for row in rows[1:]] == ["'=1", "..\\"]
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as PNG").click()
    assert re.fullmatch(r"1_1_img src_x onerror_[\w .-]+\.png", download.value.suggested_filename)
    assert page.evaluate("window.ran") is None
    assert page.locator("img[src=x]").count() == 0


class Proxy(ThreadingHTTPServer):
    """Notes what it is asked to fetch, and answers with an address."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), self.Handler)

    class Handler(BaseHTTPRequestHandler):
        server: "Proxy"

        def do_GET(self) -> None:
            self.server.asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"203.0.113.9")

        do_CONNECT = do_GET  # noqa: N815 - named by the base class

        def log_message(self, *args: object) -> None: ...


def test_neither_the_start_nor_a_foreign_page_makes_the_server_ask_elsewhere(app, page) -> None:
    proxy = Proxy()
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{proxy.server_port}"
    url = app(STREAMLIT_SERVER_ADDRESS="0.0.0.0", http_proxy=address, https_proxy=address)
    # Another name is another origin; nobody has opened a page of the app yet.
    page.goto(f"{url.replace('127.0.0.1', 'foreign.localhost')}/_stcore/health")
    opened = page.evaluate(
        """address => new Promise(done => {
            const socket = new WebSocket(address);
            socket.onopen = () => done(true);
            socket.onerror = () => done(false);
        })""",
        f"{url.replace('http', 'ws')}/_stcore/stream",
    )
    app.kill(url)
    proxy.shutdown()
    proxy.server_close()
    assert not opened
    assert proxy.asked == []


def test_the_runtime_that_reads_reports_to_nobody(tmp_path: Path) -> None:
    """ONNX Runtime sends telemetry unless told not to; on CI it does not by itself."""
    (tmp_path / "home").mkdir()
    (tmp_path / "temporary").mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home")}
    subprocess.run(
        [sys.executable, "-c", "import cxrlib.inference.session"],
        env=environment | {"TMPDIR": str(tmp_path / "temporary")},
        check=True,
        cwd=ROOT,
    )
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []
