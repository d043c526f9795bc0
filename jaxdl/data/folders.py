"""Data that stay in files until they are asked for: folders of images, and arrays mapped into memory."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxdl.core import bad_value
from jaxdl.core.checks import per_axis
from jaxdl.core.extras import need
from jaxdl.data.split import count_examples

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
_MODES = {1: "L", 3: "RGB"}


class ImageFolder:
    """What :func:`image_folder` gives: a source of examples, with ``classes`` and ``paths`` (one for each example)."""

    def __init__(self, paths: Sequence[Path], y: np.ndarray, classes: tuple[str, ...], decode: Any):
        self.paths, self.y, self.classes, self._decode = tuple(paths), y, classes, decode

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {"x": self._decode(index, self.paths[index]), "y": self.y[index]}

    def __repr__(self) -> str:
        return f"image_folder of {len(self):,} images in {len(self.classes)} classes"


def image_folder(
    path: str | os.PathLike[str],
    size: int | Sequence[int],
    *,
    channels: int = 3,
    fit: str = "crop",
    dtype: Any = np.float32,
    classes: Sequence[str] | None = None,
) -> ImageFolder:
    """The images in a folder that has a folder for each class, read when they are asked for.

    It is a source as :func:`jaxdl.fit` takes it: images are decoded as the batches need them, beside the training, and
    the memory does not grow with their number. Their order, and the numbers of the classes, are those of the sorted
    names. Images within deeper folders belong to the class of the uppermost one; files that are no images by their name
    are passed over.

    **Shapes** an example is ``{"x": (height, width, channels), "y": ()}``: x is in [0, 1], y an int32.

    **Args** ``size``: to which each image is brought, ``(height, width)`` or one figure for both. ``channels``: 3 for
    colour, 1 for grey. ``fit``: ``"crop"`` keeps the proportions and cuts off what is too long, around the middle;
    ``"stretch"`` does not. ``dtype``: ``np.uint8`` gives numbers from 0 to 255, a quarter of the bytes, for a
    ``transform=`` within the program to scale. ``classes``: the folders to take, in that order; by default all.

    **Raises** ``ImportError`` without Pillow; ``FileNotFoundError`` for a folder that is not there; ``ValueError`` for
    one without classes or images, and, when it is asked for, for an image that cannot be read, with its index and path.

    Example:
        >>> import tempfile, pathlib
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, shade in [("night", 0), ("day", 255)]:
        ...         (pathlib.Path(folder) / name).mkdir()
        ...         Image.new("L", (40, 30), shade).save(pathlib.Path(folder) / name / "a.png")
        ...     images = image_folder(folder, 16)
        ...     example = images[0]
        >>> images, images.classes, example["x"].shape, int(example["y"]), float(example["x"].min())
        (image_folder of 2 images in 2 classes, ('day', 'night'), (16, 16, 3), 0, 1.0)
    """
    call = f"image_folder({os.fspath(path)!r})"
    pillow = need("PIL.Image", "data.image_folder", extra="data")
    operations = need("PIL.ImageOps", "data.image_folder", extra="data")
    height, width = per_axis(call, "size", size, 2)
    if channels not in _MODES:
        raise bad_value(call, "channels must be 1 or 3", channels)
    if fit not in ("crop", "stretch"):
        raise bad_value(call, 'fit must be "crop" or "stretch"', repr(fit))
    whole = np.dtype(dtype) == np.uint8
    if not whole and np.dtype(dtype).kind != "f":
        raise bad_value(call, "dtype must be np.uint8 or floating", np.dtype(dtype))
    names, paths, y = _listed(call, Path(path), classes)

    def decode(index: int, file: Path) -> np.ndarray:
        try:
            with pillow.open(file) as picture:
                turned = operations.exif_transpose(picture).convert(_MODES[channels])
        except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
            got = f"{type(error).__name__}: {error}"
            raise bad_value(call, f"example {index}, {str(file)!r}, must be an image that Pillow reads", got) from error
        brought = operations.fit(turned, (width, height)) if fit == "crop" else turned.resize((width, height))
        array = np.asarray(brought, np.uint8).reshape(height, width, channels)
        return array if whole else (array / np.float32(255)).astype(dtype)

    return ImageFolder(paths, y, names, decode)


def _listed(call: str, folder: Path, classes: Sequence[str] | None) -> tuple[tuple[str, ...], list[Path], np.ndarray]:
    """The names of the classes, and the path and the class of each image."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{call}: must be a folder with a folder for each class; got no folder")
    there = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    names = tuple(there if classes is None else classes)
    missing = [name for name in names if name not in there]
    if not names or missing:
        needs = "each class must have a folder" if missing else "the folder must hold a folder for each class"
        raise bad_value(call, needs, f"none for {', '.join(map(repr, missing))}" if missing else "none")
    found = [_images(folder / name) for name in names]
    empty = [name for name, images in zip(names, found, strict=True) if not images]
    if empty:
        raise bad_value(call, "each class must have images", f"none in {', '.join(map(repr, empty))}")
    y = np.repeat(np.arange(len(names), dtype=np.int32), [len(images) for images in found])
    return names, [image for images in found for image in images], y


def _images(folder: Path) -> list[Path]:
    files = (Path(root) / name for root, _, names in os.walk(folder) for name in names)
    return sorted(file for file in files if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith("."))


def memmap(
    files: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]],
) -> dict[str, np.ndarray]:
    """Arrays in ``.npy`` files as a data set that is mapped into memory, not read: what is asked for is read from disk.

    A set larger than the memory is written piece by piece with ``np.lib.format.open_memmap(path, "w+", dtype, shape)``.
    What ``np.memmap`` maps, a file of bare numbers of a known shape, can be given to :func:`jaxdl.fit` as it is, as any
    array.

    **Args** ``files``: the file of each array, by name, or a folder, whose ``x.npy`` is the array ``x``.

    **Raises** ``ValueError`` for a file that is no array of numbers, one that is shorter than it says, arrays with
    different numbers of examples, or a folder without any; ``FileNotFoundError`` for a file that is not there.

    Example:
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, array in [("x", np.ones((5, 3))), ("y", np.arange(5))]:
        ...         np.save(pathlib.Path(folder) / f"{name}.npy", array)
        ...     data = memmap(folder)
        ...     print(type(data["x"]).__name__, data["x"].shape, data["y"][[4, 1]])
        memmap (5, 3) [4 1]
    """
    if not isinstance(files, Mapping):
        folder = Path(files)
        if not folder.is_dir():
            raise FileNotFoundError(f"memmap({str(folder)!r}): must be a folder; got none, or a file")
        files = {path.stem: path for path in sorted(folder.glob("*.npy"))}
        if not files:
            raise bad_value(f"memmap({str(folder)!r})", "the folder must hold .npy files", "none")
    arrays = {name: _mapped(Path(path)) for name, path in files.items()}
    count_examples("memmap", arrays)
    return arrays


def _mapped(path: Path) -> np.ndarray:
    call = f"memmap({str(path)!r})"
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise FileNotFoundError(f"{call}: must be a file; got none") from None
    except (ValueError, OSError, EOFError) as error:
        raise bad_value(call, "must be a whole .npy file of numbers", f"{type(error).__name__}: {error}") from error
    if array.dtype.kind not in "biufcV":
        raise bad_value(call, "must hold numbers", array)
    return array
