"""What the tests share: real material, a phantom data set, a trained run, a browser."""

import gc
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import cv2
import pytest
from filelock import FileLock

from cxrlib import runs
from cxrlib.synthetic import phantom

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from cxrlib.inference.classifier import Classifier

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Count as slow what drives a browser, or needs the network that tests train.

    Files with slow tests come first: quick ones fill the time while the last of them ends.
    """
    for item in items:
        if item.get_closest_marker("browser") or "taught" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(autouse=True, scope="module")
def imports_are_no_garbage() -> None:
    """Streamlit resets Keras, where it is loaded, after every run of a page.

    That looks for garbage among all that is loaded, half a second each time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def at_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit's `AppTest` has no connection that could tell where its visitor sits."""
    if "pages.shared.permissions" not in sys.modules and "streamlit.testing.v1" not in sys.modules:
        return
    from pages.shared import memory, permissions

    monkeypatch.setattr(permissions, "local_visitor", lambda: True)
    monkeypatch.setattr(memory, "set_up", lambda: None)  # there is no server to keep tidy


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and its URL on a web server, which other processes reach too."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(_Files, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def real() -> Callable[[str], Path]:
    """Path of real material by name (``chest_xray``, ``dicom``, ``uploads``, ``weights`` …).

    Looked for in ``CXR_DATA_DIR`` and beside it; the test is skipped where it is not.
    """

    def find(name: str) -> Path:
        configured = os.environ.get("CXR_DATA_DIR")
        if not configured:
            pytest.skip("needs real X-rays: set CXR_DATA_DIR to the data-set folder")
        folder = Path(configured).resolve()
        for candidate in (folder / name, folder.parent / name):
            if candidate.exists():
                return candidate
        pytest.skip(f"needs {name}/ in or beside CXR_DATA_DIR ({folder})")

    return find


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set of phantoms in the Kaggle layout."""
    folder = tmp_path_factory.mktemp("phantoms") / "chest_xray"
    phantom.write_dataset(folder, patients=40, size=128)
    return folder


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> "Classifier":
    """A small network taught on pairs of phantoms that differ by the opacity alone."""
    from cxrlib.inference.classifier import Classifier

    # Workers of pytest-xdist share the network: one trains it, the others wait.
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if session else folder) / "taught"
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "models").exists():
            _train_on_pairs(folder)
    return Classifier(runs.find("taught", models=folder / "models"))


def _train_on_pairs(folder: Path) -> None:
    from cxrlib.runs.config import TrainingConfig
    from cxrlib.training.train import train

    for label in ("NORMAL", "PNEUMONIA"):
        (folder / "train" / label).mkdir(parents=True)
    for seed in range(350):
        for label, name in (("NORMAL", f"IM-{seed}-0001"), ("PNEUMONIA", f"person{seed}_virus_1")):
            drawn = phantom.phantom(seed, pneumonia=label == "PNEUMONIA", size=96)
            cv2.imwrite(str(folder / "train" / label / f"{name}.jpeg"), drawn.pixels)
    config = TrainingConfig(
        name="taught",
        network="cnn",
        weights="none",
        size=96,
        augmentation="none",
        imbalance="none",
        head_epochs=0,
        fine_tune_epochs=24,
        patience=24,
        learning_rate=1e-2,
        batch_size=16,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXR_CACHE_DIR", str(folder / "cache"))
        train(config, folder, models=folder / "models")


class Servers:
    """The app as servers of its own: ``servers(NAME="value") -> url``, one an environment."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._urls: dict[frozenset[tuple[str, str]], str] = {}

    def __call__(self, **environment: str) -> str:
        """The address of the server with that environment; it is started where none runs."""
        wanted = frozenset(environment.items())
        if self._urls.get(wanted) not in self._running:
            self._urls[wanted] = self._start(environment)
        return self._urls[wanted]

    def open_files(self, url: str) -> set[str]:
        """Where the open files of a server lie (Linux)."""
        return {str(file.readlink()) for file in self._open_files(url) if file.is_symlink()}

    def _open_files(self, url: str) -> Iterator[Path]:
        return Path(f"/proc/{self._running[url].pid}/fd").iterdir()

    def loaded(self, url: str, packages: Collection[str]) -> set[str]:
        """Which packages a server has loaded a library of (Linux)."""
        lines = Path(f"/proc/{self._running[url].pid}/maps").read_text().splitlines()
        parts = {part for line in lines for part in Path(line.split(maxsplit=5)[-1]).parts}
        return parts & {*packages}

    def kill(self, url: str) -> None:
        """End a server as a crash would."""
        server = self._running.pop(url)
        server.kill()
        server.wait()

    def stop(self) -> None:
        """End them all."""
        for server in self._running.values():
            server.terminate()
        for server in self._running.values():
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()  # on a busy machine, while it loads a network
                server.wait()

    def _start(self, environment: dict[str, str]) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless=true"]
        url = f"http://127.0.0.1:{port}"
        self._running[url] = subprocess.Popen(
            [*command, f"--server.port={port}"],
            cwd=ROOT,
            env=os.environ
            | {"TF_CPP_MIN_LOG_LEVEL": "2", "STREAMLIT_SERVER_ADDRESS": "127.0.0.1"}
            | environment,
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{url}/_stcore/health", timeout=1):
                    return url
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.2)
        raise TimeoutError(f"the app did not start within {START_SECONDS} seconds")


@pytest.fixture(scope="session")
def app() -> Iterator[Servers]:
    """Starts the app, ``app(NAME="value") -> url``."""
    servers = Servers()
    yield servers
    servers.stop()


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """Headless Chromium; the test is skipped where none is installed."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium: install the package chromium")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=60_000)  # other tests, and what they train, have the same cores
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield running
        running.close()


@pytest.fixture
def page(browser: "Browser") -> "Iterator[Page]":
    """A fresh page that accepts downloads and waits up to two minutes."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, accept_downloads=True)
    context.set_default_timeout(120_000)
    yield context.new_page()
    context.close()


def _postgres_program(name: str) -> str:
    found = shutil.which(name) or next(
        (str(file) for file in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None
    )
    if found is None:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up("needs PostgreSQL: install the package postgresql")
    return found


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server of our own, in a temporary folder, without a port."""
    initdb, pg_ctl = _postgres_program("initdb"), _postgres_program("pg_ctl")
    # A socket's path may have no more than about 100 characters.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    # The server refuses to run as root.
    user = {"user": "postgres"} if os.geteuid() == 0 else {}
    if user:
        shutil.chown(folder, "postgres")

    def run(*command: str) -> None:
        subprocess.run(
            command, check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=120, **user
        )

    data = str(folder / "data")
    run(initdb, "-D", data, "-U", "reader", "--auth=trust", "-E", "UTF8", "--no-sync")
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    run(pg_ctl, "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
    yield f"postgresql+psycopg://reader@/postgres?host={folder}"
    run(pg_ctl, "-D", data, "-m", "immediate", "stop")
    shutil.rmtree(folder)
