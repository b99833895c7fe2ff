"""Finds a data set in its folder, whatever public layout it lies in."""

import os
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from absa.data.arrays import ARRAYS
from absa.data.cifar import BINARY_BATCHES, PYTHON_BATCHES
from absa.data.config import DataConfig
from absa.data.digits import read_digits
from absa.data.idx import IDX
from absa.data.image_set import ImageSet, make_image_set
from absa.data.layout import Layout
from absa.data.normalisation import Normalisation, measure
from absa.errors import DataError

ROOT_VARIABLE = "ABSA_DATA"


@dataclass(frozen=True)
class _Published:
    """A known set: where it may lie, and what it must look like."""

    folders: tuple[str, ...]
    layouts: tuple[Layout, ...]
    at: str
    image_shape: tuple[int, int, int]
    num_classes: int
    normalisation: Normalisation


_PUBLISHED = {
    "mnist": _Published(
        ("mnist", "MNIST/raw", "MNIST", "."),
        (IDX, ARRAYS),
        "https://ossci-datasets.s3.amazonaws.com/mnist/ (from http://yann.lecun.com/exdb/mnist)",
        (1, 28, 28),
        10,
        Normalisation((0.1307,), (0.3081,)),
    ),
    "cifar10": _Published(
        ("cifar10", "cifar-10-batches-py", "cifar-10-batches-bin", "CIFAR10", "."),
        (ARRAYS, PYTHON_BATCHES, BINARY_BATCHES),
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        (3, 32, 32),
        10,
        Normalisation((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    ),
}


def open_data(config: DataConfig, seed: int) -> ImageSet:
    """Return the data set that the job names.

    Args:
        config: ``root`` may be the set's folder or one that contains it.
        seed: Of the split of ``digits``; the other sets are split where they are published.

    Raises:
        DataError: The set is missing, incomplete, corrupt or not what it says.
    """
    if config.name == "digits":
        return read_digits(config.evaluation_fraction, seed)
    if config.name == "arrays":
        root = _root(config, f"; expected there: {ARRAYS.expected}")
        folder, layout, paths = _find(root, (".",), (ARRAYS,), "arrays", "")
        return make_image_set("arrays", *layout.read(paths), None, folder)
    known = _PUBLISHED[config.name]
    at = f"; {config.name} is published at {known.at}"
    root = _root(config, at)
    folder, layout, paths = _find(root, known.folders, known.layouts, config.name, at)
    found = make_image_set(config.name, *layout.read(paths), known.num_classes, folder)
    if found.image_shape != known.image_shape:
        raise DataError(
            f"{folder}: images are {found.image_shape} (channels, height, width), those of "
            f"{config.name} are {known.image_shape}; data.name: arrays takes images of any size"
        )
    return found


def normalisation_of(config: DataConfig, images: ImageSet) -> Normalisation:
    """Return the normalisation that the job gives, that is known for the set, or that is measured.

    The known ones are the usual published figures of the training images.
    """
    if config.mean is not None and config.std is not None:
        return Normalisation(config.mean, config.std)
    if config.name in _PUBLISHED:
        return _PUBLISHED[config.name].normalisation
    return measure(images.train.images)


def _root(config: DataConfig, advice: str) -> Path:
    root = config.root or os.environ.get(ROOT_VARIABLE)
    if not root:
        raise DataError(
            f"data.name is {config.name}, but data.root is not set; set it, or the environment "
            f"variable {ROOT_VARIABLE}, to the folder that holds the data set{advice}"
        )
    path = Path(os.path.expanduser(root))
    if not os.path.isdir(path):  # unlike Path.is_dir, no error where a parent is closed to us
        source = "data.root" if config.root else ROOT_VARIABLE
        raise DataError(f"{source} is {root}: there is no such folder{advice}")
    return path


def _find(
    root: Path, folders: tuple[str, ...], layouts: tuple[Layout, ...], name: str, at: str
) -> tuple[Path, Layout, list[Path]]:
    """Return the first folder that holds a whole layout, the layout and its files."""
    incomplete: list[str] = []
    for name_of_folder, layout in product(folders, layouts):
        folder = root / name_of_folder
        files = layout.find(folder)
        present = [path for path in files if path is not None]
        if len(present) == len(files):
            return folder, layout, present
        if present:
            lost = [names[0] for names, path in zip(layout.files, files, strict=True) if not path]
            incomplete.append(f"{folder} lacks {', '.join(lost)}")
    if incomplete:
        raise DataError(f"data set {name} is not whole: {'; '.join(incomplete)}{at}")
    expected = "; or ".join(layout.expected for layout in layouts)
    places = ", ".join(folder for folder in folders if folder != ".")
    within = f" and its folders {places}" if places else ""
    raise DataError(f"data set {name} is not in {root}{within}; expected there: {expected}{at}")
