"""The package as pip installs it."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import cxrlib

ROOT = Path(__file__).resolve().parent.parent
NAME = re.compile(r"[A-Za-z0-9._-]+")


def test_what_is_installed_is_what_requirements_and_version_say() -> None:
    try:
        installed = importlib.metadata.distribution("cxrlib")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs the package installed: pip install -r requirements-dev.txt")
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = {NAME.match(line)[0] for line in lines if line and not line.startswith("#")}
    required = {NAME.match(line)[0] for line in installed.requires if "extra ==" not in line}
    assert required == wanted
    assert installed.version == cxrlib.__version__


def test_the_command_answers_from_any_folder(tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, function = project["scripts"]["cxrlib"].split(":")
    # As the script that pip writes, in a folder that is not the project's.
    code = f"import sys; sys.path.append({str(ROOT)!r}); from {module} import {function} as main; "
    result = subprocess.run(
        [sys.executable, "-c", code + "sys.exit(main(['--help']))"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "predict" in result.stdout
