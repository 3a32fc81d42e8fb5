"""Files that hold an image: found in folders by their content, and loaded within bounds.

The one home of what is looked at in a folder: for the data set, ``predict FOLDER``, and a
reviewer's own images. Imports nothing that takes long.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from cxrlib.images import formats
from cxrlib.images.limits import MAX_BYTES, RadiographError

# Files that are called so are meant to be images: if they hold none, they are damaged.
_ENDINGS = {
    ".jpeg", ".jpg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp",
    ".dcm", ".dicom", ".ima",
}  # fmt: skip
_HEAD = 1024  # bytes, by which a kind is told
_NAMED = 3  # of the files that were left out


def load(file: Path) -> bytes:
    """What a file holds.

    Raises:
        RadiographError: it cannot be opened, or is larger than is read.
    """
    try:
        if file.stat().st_size > MAX_BYTES:
            raise too_large()
        return file.read_bytes()
    except OSError as error:
        raise RadiographError(f"The file cannot be opened: {error.strerror}.") from error


def too_large() -> RadiographError:
    """The error for a file of more bytes than are read."""
    return RadiographError(
        f"The file is larger than the limit of {MAX_BYTES >> 20} MB. Save the X-ray as JPEG or PNG."
    )


def find(folder: Path) -> tuple[list[Path], dict[Path, str]]:
    """The images in a folder and the folders in it.

    Returns:
        Their files, sorted; and why each of the others was left out. Hidden files are in neither.
    """
    left_out: dict[Path, str] = {}

    def not_opened(error: OSError) -> None:
        left_out[Path(os.fsdecode(error.filename))] = f"cannot be opened: {error.strerror}"

    there = [
        Path(parent, name)
        for parent, _, names in os.walk(folder, onerror=not_opened)
        for name in names
    ]
    images, others = sort_out(there)
    return images, left_out | others


def sort_out(files: list[Path]) -> tuple[list[Path], dict[Path, str]]:
    """The images among some files, and why each of the others is left out."""
    found = {file: problem(file) for file in sorted(files) if not file.name.startswith(".")}
    return [file for file, why in found.items() if not why], {
        file: why for file, why in found.items() if why
    }


def problem(file: Path) -> str:
    """Why a file is not taken for an image, in a few words; empty where it is.

    A damaged image is one: reading it says what is wrong.
    """
    if file.name != printable(file.name):
        return "its name is not UTF-8"
    if file.name == "DICOMDIR":
        return "a list of DICOM files"
    try:
        status = file.stat()
        if stat.S_ISDIR(status.st_mode):
            return "a folder"
        if not stat.S_ISREG(status.st_mode):
            return "no file"
        if status.st_size > MAX_BYTES:
            return f"larger than {MAX_BYTES >> 20} MB"
        with file.open("rb") as opened:
            head = opened.read(_HEAD)
    except OSError as error:
        return "a link to nothing" if file.is_symlink() else f"cannot be opened: {error.strerror}"
    return kind_problem(file.name, head)


def kind_problem(name: str, data: bytes) -> str:
    """Why a file is not taken for an image by its name and what it begins with; else empty."""
    try:
        formats.identify(data[:_HEAD])
    except RadiographError:
        return "" if Path(name).suffix.lower() in _ENDINGS else "no image"
    return ""


def sentence(left_out: Mapping[str, str] | Mapping[Path, str]) -> str:
    """How many files were left out and why, for a person; empty where none was."""
    if not left_out:
        return ""
    some = [f"{printable(str(file))} ({why})" for file, why in left_out.items()][:_NAMED]
    more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
    count = "1 file was" if len(left_out) == 1 else f"{len(left_out)} files were"
    return f"{count} left out: {', '.join(some)}{more}."


def printable(name: str) -> str:
    """A file's name with what is not UTF-8 in it replaced."""
    return os.fsencode(name).decode("utf-8", "replace")
