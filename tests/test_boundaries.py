"""The floors of the package: who may import whom, and what must open without TensorFlow does."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# From the top: a folder, or file, of the package imports only what stands on a lower floor.
FLOORS = [
    {"__main__"},
    {"arguments", "commands"},
    {"training"},
    {"evaluation"},
    {"inference", "reviews"},
    {"plots"},
    {"data"},
    {"networks"},
    {"runs", "synthetic"},
    {"images", "metrics"},
    {"cluster", "formatting", "labels", "tables"},
    {"urls"},
    {"__init__"},
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
LIGHT_ROOMS = [
    "cxrlib",
    "cxrlib.training.augment",
    "cxrlib.runs.config",
    "cxrlib.data.dataset",
    "cxrlib.data.external",
    "cxrlib.evaluation.judge",
    "cxrlib.data.examples",
    "cxrlib.evaluation.faithfulness",
    "cxrlib.inference.ensemble",
    "cxrlib.inference.methods",
    "cxrlib.metrics",
    "cxrlib.synthetic.phantom",
    "cxrlib.images.preprocess",
    "cxrlib.plots",
    "cxrlib.images.radiograph",
    "cxrlib.inference.pdf_report",
    "cxrlib.runs",
    "cxrlib.evaluation.perturbations",
    "cxrlib.evaluation.stress",
    "cxrlib.__main__",
]
HEAVY = ("tensorflow", "keras")
SLOW = (
    *HEAVY,
    "cv2",
    "matplotlib",
    "numpy",
    "onnxruntime",
    "pandas",
    "PIL",
    "pydantic",
    "scipy",
    "sklearn",
)


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """Full names of what a file imports, anywhere in it, with the line."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((name.name, node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} imports relatively"
            yield from ((f"{node.module}.{name.name}", node.lineno) for name in node.names)


def module_file(name: str) -> Path | None:
    """The file of the project that an imported name comes from."""
    path = ROOT.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.exists():
            return candidate
    return module_file(name.rpartition(".")[0]) if "." in name else None


def edges(folder: str) -> Iterator[tuple[Path, Path, int]]:
    """Which file of a folder imports which of the project, and on what line."""
    for file in sorted((ROOT / folder).rglob("*.py")):
        for name, line in imports(file):
            if name.partition(".")[0] in ("cxrlib", "pages") and (target := module_file(name)):
                yield file, target, line


def part(file: Path) -> str:
    """The folder of the package that a file is in; the file's name where it is in none."""
    inside = file.relative_to(ROOT / "cxrlib")
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def test_a_folder_imports_only_what_is_below_it() -> None:
    wrong = []
    for file, target, line in edges("cxrlib"):
        allowed = target.is_relative_to(ROOT / "cxrlib") and (
            part(file) == part(target) or FLOOR[part(file)] < FLOOR[part(target)]
        )
        if not allowed:
            wrong.append(f"{file.relative_to(ROOT)}:{line} imports {target.relative_to(ROOT)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", ["cxrlib", "pages"])
def test_no_files_import_each_other_in_a_circle(folder: str) -> None:
    graph: dict[str, set[str]] = {}
    for file, target, _ in edges(folder):
        # A package that hands on the names of its own files is no circle.
        if target.name != "__init__.py":
            known = graph.setdefault(str(file.relative_to(ROOT)), set())
            known.add(str(target.relative_to(ROOT)))
    graphlib.TopologicalSorter(graph).prepare()


def test_pages_do_not_compute_and_the_package_does_not_draw_pages() -> None:
    forbidden = {
        "pages": {"keras", "scipy", "sklearn", "tensorflow"},
        "cxrlib": {"pages", "streamlit"},
    }
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for folder, names in forbidden.items()
        for file in sorted((ROOT / folder).rglob("*.py"))
        for name, line in imports(file)
        if name.partition(".")[0] in names
    ]
    assert not wrong, "\n".join(wrong)


def loaded_after(code: str, watched: tuple[str, ...] = HEAVY) -> str:
    """Which of the modules ``watched`` a process has loaded that has run ``code``."""
    look = f"import sys; print(sorted({set(watched)} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\n{look}"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1]


def test_light_rooms_do_not_load_tensorflow() -> None:
    assert loaded_after("import " + ", ".join(LIGHT_ROOMS)) == "[]"


@pytest.mark.parametrize("page", sorted(file.name for file in (ROOT / "pages").glob("*.py")))
def test_opening_a_page_does_not_load_tensorflow(page: str) -> None:
    code = (
        "from streamlit.testing.v1 import AppTest\n"
        f"app = AppTest.from_file('{ROOT}/app.py', default_timeout=60).run()\n"
        f"app.switch_page('pages/{page}').run()\n"
        "assert not app.exception, app.exception"
    )
    assert loaded_after(code) == "[]"


def test_only_networks_and_training_know_keras() -> None:
    knowing = {
        part(file)
        for file in (ROOT / "cxrlib").rglob("*.py")
        for name, _ in imports(file)
        if name.partition(".")[0] in HEAVY
    }
    assert knowing == {"networks", "training"}


def test_a_radiograph_is_read_and_explained_on_the_page_without_tensorflow() -> None:
    code = (
        "from streamlit.testing.v1 import AppTest\n"
        f"app = AppTest.from_file('{ROOT}/app.py', default_timeout=60)\n"
        "app.query_params['example'] = 'Drawn, with an opacity'\n"
        "app.run()\n"
        "assert not app.exception, app.exception\n"
        "import sys\n"
        "assert 'onnxruntime' in sys.modules, 'nothing was read'"
    )
    assert loaded_after(code) == "[]"


def test_the_command_line_reads_and_explains_without_tensorflow(tmp_path: Path) -> None:
    code = (
        "import cv2\n"
        "from cxrlib.__main__ import main\n"
        "from cxrlib.synthetic.phantom import phantom\n"
        f"file = '{tmp_path}/image.png'\n"
        "cv2.imwrite(file, phantom(1, pneumonia=True).pixels)\n"
        "assert main(['predict', file]) == 0\n"
        f"assert main(['explain', file, '--out', '{tmp_path}/heat.png']) == 0"
    )
    assert loaded_after(code) == "[]"


def test_the_empty_first_page_waits_for_no_slow_import() -> None:
    # AppTest would load pandas itself: the script is run as plain Python, which ends at the page.
    code = "import runpy; runpy.run_path('app.py'); import pages.diagnose_parts.intake"
    assert loaded_after(code, SLOW) == "[]"


@pytest.mark.slow
def test_the_app_and_training_do_without_the_tests_oracles() -> None:
    rooms = (
        "cxrlib.inference.classifier, cxrlib.training.train, cxrlib.reviews.agreement, "
        "cxrlib.__main__"
    )
    loaded_after(f"import sys; sys.modules['sklearn'] = None; import {rooms}")
