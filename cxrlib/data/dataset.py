"""A folder of X-rays in the layout of the Kaggle set: index, patients, splits, download.

The set is ``paultimothymooney/chest-xray-pneumonia`` (Kermany et al., Cell 2018, CC BY 4.0).
"""

import hashlib
import io
import os
import re
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from tarfile import TarError
from typing import TYPE_CHECKING
from zipfile import BadZipFile

from cxrlib.data import layout
from cxrlib.data.entries import (
    LAYOUT,
    SPLITS,
    DatasetError,
    class_files,
    find_root,
    list_entries,
    official_root,
)
from cxrlib.images import files
from cxrlib.images.limits import RadiographError
from cxrlib.labels import BINARY, NORMAL, PNEUMONIA

# What takes long to load is imported where it is used, NumPy too: the app's first page, which needs
# this module for its examples, should not wait for it.
if TYPE_CHECKING:
    import pandas as pd

KAGGLE_HANDLE = "paultimothymooney/chest-xray-pneumonia"
# The version is named, so that everybody gets the same images, and what was fetched before is
# found again without a connection.
_KAGGLE_VERSION = f"{KAGGLE_HANDLE}/versions/2"
KAGGLE_PICTURES = {"train": 5216, "val": 16, "test": 624}
# A few images of the official test folder that are worth fetching singly.
KAGGLE_EXAMPLES = (
    ("test", "PNEUMONIA", "person100_bacteria_475.jpeg"),
    ("test", "NORMAL", "IM-0001-0001.jpeg"),
    ("test", "PNEUMONIA", "person1_virus_6.jpeg"),
    ("test", "NORMAL", "NORMAL2-IM-0007-0001.jpeg"),
)
INSTRUCTIONS = f"""\
To get the data set by hand:
  1. open https://www.kaggle.com/datasets/{KAGGLE_HANDLE} and press Download (2.3 GB);
  2. unpack it, so that there is a folder
{LAYOUT}
  3. set CXR_DATA_DIR to that folder, or pass it with --data."""

_ENDS = (b"\xff\xd9", b"IEND\xaeB`\x82")  # of a whole JPEG and PNG file
_QUICK = (b"\xff\xd8\xff", b"\x89PNG")  # whose size is told without decoding them
# Of a whole name; the ending is left out.
_PICTURE = re.compile(
    r"((?:NORMAL2-)?IM-\d{4}-\d{4}(?:-\d{4})?|person\d{1,5}_(?:bacteria|virus)_\d{1,5})(?:\.jpeg)?",
    re.ASCII,
)


def configured_place() -> str | None:
    """The path or URL that ``CXR_DATA_DIR`` names, else where `download` put the set, else None."""
    if place := os.environ.get("CXR_DATA_DIR"):
        return place
    folder = downloaded_folder()
    return str(folder) if folder else None


def examples(folder: Path, count: int = 4) -> list[Path]:
    """A few images of each class, held out ones where the folder has them.

    Raises:
        DatasetError: wrong layout.
    """
    entries = list_entries(find_root(folder))
    splits = {entry.split for entry in entries}
    split = next(name for name in ("test", "val", "train") if name in splits)
    found: list[Path] = []
    for label in BINARY:
        images = (
            entry.file
            for entry in entries
            if (entry.split, entry.label) == (split, label) and not files.problem(entry.file)
        )
        found += islice(images, count)
    return found


def picture_file(folder: Path, path: str) -> Path:
    """The file of one image of the data set.

    Args:
        folder: as for `find_root`.
        path: as in `index`: ``train/NORMAL/IM-0115-0001.jpeg``. It may come from a stranger:
            nothing but an image of the data set is ever named.

    Raises:
        DatasetError: wrong layout, or no such image.
    """
    root = find_root(folder)
    split, _, rest = path.partition("/")
    label, _, name = rest.partition("/")
    # The name is looked up among those that are there, never joined to a path as it came.
    if official_root(root) and split in SPLITS and label in BINARY:
        for file in class_files(root, split, label):
            if file.name == name and not files.problem(file):
                return file
    elif found := layout.known(root):
        for entry in found.entries:
            if entry.file == root / path and not files.problem(entry.file):
                return entry.file
    raise DatasetError(f"The data set in {root} has no image {path}.")


def fingerprint(folder: Path) -> str:
    """A digest of the names, sizes and modification times of a data set's files.

    It changes whenever a file is added, removed, renamed or written, and costs no reading: what
    was derived from the files can be kept under it.

    Raises:
        DatasetError: wrong layout.
    """
    root = find_root(folder)
    key = hashlib.blake2b(digest_size=12)
    for entry in list_entries(root, checked=False):
        status = entry.file.lstat()
        name = entry.file.relative_to(root).as_posix()
        facts = f"{name}|{status.st_size}|{status.st_mtime_ns}"
        if not entry.official:
            facts += f"|{entry.split}|{entry.label}|{entry.subtype}|{entry.patient}"
        key.update(os.fsencode(facts + "\n"))
    return key.hexdigest()


def index(folder: Path) -> "pd.DataFrame":
    """Everything that is known of each image without a network, one row an image.

    Returns:
        Columns ``path`` (below `find_root`'s folder, with slashes), ``split`` (train, val,
        test: the official one), ``label`` (NORMAL, PNEUMONIA), ``subtype`` (bacterial, viral
        or empty), ``patient`` (from the class and the file name; numbers start again in the
        official test folder), ``width`` and ``height`` in pixels, ``digest`` (of the file's
        bytes). Sorted by path; ``attrs["root"]`` is the folder that the paths start from, and
        ``attrs["left_out"]`` says of each file that is no image why not.

    Raises:
        DatasetError: wrong layout, an empty class folder, or files that are no images or cut
            off; the message names them.
    """
    import pandas as pd

    root = find_root(folder)
    entries = {entry.file: entry for entry in list_entries(root)}
    images, left_out = files.sort_out(list(entries))
    with ThreadPoolExecutor() as pool:
        facts = list(pool.map(_facts, images))
    broken = [
        file.relative_to(root).as_posix()
        for file, fact in zip(images, facts, strict=True)
        if fact is None
    ]
    if broken:
        others = f" and {len(broken) - 3} others" if len(broken) > 3 else ""
        raise DatasetError(
            f"{len(broken)} of {len(images)} files in {root} are damaged or cut off: "
            f"{', '.join(broken[:3])}{others}. The download or copy may have broken off: fetch "
            "them again, or delete them."
        )
    table = pd.DataFrame(
        {
            "path": file.relative_to(root).as_posix(),
            "split": entries[file].split,
            "label": entries[file].label,
            "subtype": entries[file].subtype,
            "patient": entries[file].patient,
            "width": width,
            "height": height,
            "digest": digest,
        }
        for file, (width, height, digest) in zip(images, filter(None, facts), strict=True)
    )
    filled = set(zip(table["split"], table["label"], strict=True)) if len(table) else set()
    for split in SPLITS if official_root(root) else ():
        for label in BINARY:
            if (root / split).is_dir() and (split, label) not in filled:
                raise DatasetError(
                    f"The folder {root / split / label} has no images. It should look like "
                    f"this:\n{LAYOUT}"
                )
    if missing := set(BINARY) - {label for _, label in filled}:
        raise DatasetError(
            f"The folder {root} has no image that means {' or '.join(sorted(missing)).lower()}. "
            f"It should look like this:\n{LAYOUT}"
        )
    table = table.sort_values("path", ignore_index=True)
    table.attrs["root"] = str(root)
    table.attrs["left_out"] = {
        files.printable(file.relative_to(root).as_posix()): why for file, why in left_out.items()
    }
    return table


def warnings(table: "pd.DataFrame") -> list[str]:
    """What to know of an index before it is trained on or measured with, a sentence each."""
    found = [files.sentence(table.attrs["left_out"])]
    copies = duplicates(table)
    both = copies[copies.groupby("group").label.transform("nunique") > 1]
    if len(both):
        first = both[both.group == both.group.iloc[0]].drop_duplicates("label").path
        images = both.group.nunique()
        found.append(
            f"{images} image{' is' if images == 1 else 's are'} there under both labels, such as "
            f"{' and '.join(first)}: the label of one of them is wrong. Remove it."
        )
    return [sentence for sentence in found if sentence]


def _facts(file: Path) -> tuple[int, int, str] | None:
    """Width, height and digest; None of a damaged file."""
    from PIL import Image

    from cxrlib.images import radiograph

    try:
        data = files.load(file)
        if not data.startswith(_QUICK):
            height, width = radiograph.read(data).pixels.shape
            return width, height, _digest(data)
        with Image.open(io.BytesIO(data)) as picture:
            width, height = picture.size
            # Some programs pad or append to a whole file; decoding tells, but is slow.
            if not data.endswith(_ENDS):
                picture.load()
    except (OSError, SyntaxError, RadiographError):
        return None
    return width, height, _digest(data)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def duplicates(table: "pd.DataFrame") -> "pd.DataFrame":
    """The rows of `index` whose bytes another row has too, with a ``group`` number."""
    repeated = table[table.duplicated("digest", keep=False)]
    return repeated.assign(group=repeated.groupby("digest", sort=False).ngroup())


def is_kaggle_name(name: str) -> bool:
    """Whether a file is called as the images of the Kaggle set are.

    >>> is_kaggle_name("person1_virus_6.jpeg"), is_kaggle_name("patient7.jpeg")
    (True, False)
    """
    return _PICTURE.fullmatch(name) is not None


def is_kaggle(table: "pd.DataFrame") -> bool:
    """Whether an index has all that the Kaggle set has to train on, going by the numbers."""
    counts = table.split.value_counts()
    return all(counts.get(split, 0) == KAGGLE_PICTURES[split] for split in ("train", "val"))


def download() -> Path:
    """Fetch the whole set with kagglehub (2.3 GB); returns its root folder.

    An interrupted download goes on where it stopped; what is there already is not fetched again.

    Raises:
        DatasetError: it could not be fetched; the message tells how to do it by hand.
    """
    return find_root(_fetch(None))


def downloaded_folder() -> Path | None:
    """Where an earlier `download` put the whole set, or None. Needs no connection."""
    cache = os.environ.get("KAGGLEHUB_CACHE", Path.home() / ".cache" / "kagglehub")
    if not Path(cache, "datasets", _KAGGLE_VERSION).is_dir():
        return None  # without kagglehub, whose import the app's first page would wait for
    from kagglehub.cache import Cache
    from kagglehub.handle import parse_dataset_handle

    folder = Cache().load_from_cache(parse_dataset_handle(_KAGGLE_VERSION))
    return Path(folder) if folder else None


def download_picture(split: str, label: str, name: str) -> bytes:
    """Fetch one image of the set by its name with kagglehub.

    A name may come from a stranger, or be that of a patient: what is not called as the set's
    images are is never asked for.

    Raises:
        DatasetError: there is none of that name, or it could not be fetched.
    """
    if split not in SPLITS or label not in BINARY or not _PICTURE.fullmatch(name):
        raise DatasetError(f"The Kaggle set has no image {split}/{label}/{name}.")
    return _fetch(f"chest_xray/{split}/{label}/{name}").read_bytes()


def is_picture_name(name: str) -> bool:
    """Whether an image of the set could be called so, such as ``person1_virus_6.jpeg``."""
    return _PICTURE.fullmatch(name.strip()) is not None


def download_test_picture(name: str) -> bytes:
    """Fetch an image of the official test folder by its name, which says what it shows.

    Args:
        name: as in the set, ``IM-0001-0001.jpeg`` or ``person1_virus_6.jpeg``; the ending may be
            missing. It may come from a stranger: nothing but such a name is ever asked for.

    Raises:
        DatasetError: no image of the set is called so, or it could not be fetched.
    """
    found = _PICTURE.fullmatch(name.strip())
    if found is None:
        raise DatasetError(
            "No image of the Kaggle set has such a name. They are called like "
            "IM-0001-0001.jpeg (normal), person1_virus_6.jpeg or person100_bacteria_475.jpeg."
        )
    label = PNEUMONIA if name.strip().startswith("person") else NORMAL
    return download_picture("test", label, f"{found[1]}.jpeg")


def _fetch(path: str | None) -> Path:
    import kagglehub
    from kagglehub.exceptions import DataCorruptionError, UnauthenticatedError
    from requests import HTTPError, RequestException

    refused = (RequestException, UnauthenticatedError)
    # What kagglehub lets out where an archive is damaged, or is none: a login page of a network.
    damaged = (DataCorruptionError, BadZipFile, TarError, ValueError)
    try:
        return Path(kagglehub.dataset_download(_KAGGLE_VERSION, path=path))
    except (*refused, *damaged, OSError) as error:
        answer = error.response if isinstance(error, HTTPError) else None
        if path and answer is not None and answer.status_code == 404:
            raise DatasetError(
                f"The Kaggle set has no image {path}. Check the name: the list is at "
                f"https://www.kaggle.com/datasets/{KAGGLE_HANDLE}."
            ) from error
        raise DatasetError(
            f"kagglehub could not fetch the {'image' if path else 'data set'} "
            f"({type(error).__name__}). Is this machine online, and is there room on its disk?"
            + ("" if path else f"\n{INSTRUCTIONS}")
        ) from error
