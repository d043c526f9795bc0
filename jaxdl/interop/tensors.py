"""Safetensors files, read with suspicion: whatever is in them, numbers that were saved or an error."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxdl.core import bad_value
from jaxdl.core.extras import need
from jaxdl.core.files import digest, digest_of_text

DIGESTS = "jaxdl_digests"
"""The name in the metadata under which the digests of our own files stand; that of the metadata itself has no name."""


class Tensors(NamedTuple):
    """What was read: the arrays, the names of all that there are, and what the writer noted."""

    arrays: dict[str, np.ndarray]
    names: list[str]
    metadata: dict[str, str]


def digests_of(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> dict[str, str]:
    """The digest of each array by name, and of the metadata."""
    return {name: digest(array) for name, array in arrays.items()} | {"": _of_metadata(metadata)}


def _of_metadata(metadata: Mapping[str, str]) -> str:
    return digest_of_text(json.dumps(dict(metadata), sort_keys=True))


def read_tensors(call: str, path: str | os.PathLike[str], wanted: Callable[[str], bool] = lambda name: True) -> Tensors:
    """The arrays of the names that are wanted. Files that jaxdl wrote hold digests, against which they are checked.

    **Raises** ``OSError`` where there is no such file, ``ValueError`` for a folder and for a file that is not sound.
    """
    safetensors = need("safetensors", call, extra="export")
    call = f"{call}({str(path)!r})"
    if Path(path).is_dir():
        raise bad_value(call, "path must be a file", "a folder")
    try:
        with safetensors.safe_open(path, "numpy") as file:
            # The library has found the header sound, and within its bounds: only now is it safe to look for more.
            metadata = _header(Path(path))
            names = list(file.keys())
            arrays = {name: file.get_tensor(name) for name in names if wanted(name)}
    except OSError:
        raise
    except Exception as error:  # whatever a damaged file makes the libraries raise
        reason = str(error) or type(error).__name__
        raise bad_value(call, "the file must be sound safetensors", reason) from None
    _verify(call, arrays, names, metadata)
    return Tensors(arrays, names, metadata)


def _header(path: Path) -> dict[str, str]:
    """The metadata; an error where a name stands twice, of which the library would take the last."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            raise ValueError(f"{sorted({name for name in names if names.count(name) > 1})} more than once")
        return found

    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length), object_pairs_hook=once)
    return dict(header.get("__metadata__") or {})


def _verify(call: str, arrays: Mapping[str, np.ndarray], names: list[str], metadata: dict[str, str]) -> None:
    """Take the digests out of the metadata, and raise where what was read has others; files of others have none."""
    text = metadata.pop(DIGESTS, None)
    if text is None:
        return
    try:
        saved = dict(json.loads(text))
    except (ValueError, TypeError):
        raise bad_value(call, "the file must be sound safetensors", "digests that are no table") from None
    found = {name: saved.get(name, "none") for name in names} | digests_of(arrays, metadata)
    differ = [name or "the metadata" for name in {**saved, **found} if saved.get(name) != found.get(name)]
    if differ:
        needs = "what the file holds must have the digests that were saved"
        raise bad_value(call, needs, f"others: {', '.join(differ)}")
