"""The package as pip installs it."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import cxrlib

ROOT = Path(__file__).resolve().parent.parent
NAME = re.compile(r"[A-Za-z0-9._-]+")


def test_what_is_installed_is_what_requirements_and_version_say() -> None:
    try:
        installed = importlib.metadata.distribution("cxrlib")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs the package installed: pip install -r requirements-dev.txt")
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = {NAME.match(line)[0] for line in lines if line and line[0] not in "#-"}
    required = {NAME.match(line)[0] for line in installed.requires if "extra ==" not in line}
    assert required == wanted
    assert installed.version == cxrlib.__version__


def test_what_is_pinned_is_all_that_is_required_and_within_its_bounds() -> None:
    files = [ROOT / "requirements.txt", ROOT / "constraints.txt"]
    required, pinned = (
        [
            Requirement(line.partition("  #")[0])
            for line in file.read_text(encoding="utf-8").splitlines()
            if line and line[0] not in "#-"
        ]
        for file in files
    )
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for lines in extras["optional-dependencies"].values():
        required += [Requirement(line) for line in lines if not line.startswith("cxrlib")]
    versions: dict[str, list[str]] = {}
    for pin in pinned:
        (exact,) = pin.specifier
        versions.setdefault(canonicalize_name(pin.name), []).append(exact.version)
    for one in required:
        found = versions.get(canonicalize_name(one.name))
        assert found, f"{one.name} is not pinned"
        assert all(one.specifier.contains(version, prereleases=True) for version in found), one


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
