"""Parameters in safetensors files: names and numbers, no code."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from jaxdl.core import bad_value
from jaxdl.core.children import check_name
from jaxdl.core.extras import need
from jaxdl.core.files import whole_file


def save_params(
    path: str | os.PathLike[str], params: Mapping[str, Any], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a tree of parameters to a safetensors file, each leaf under its path (``conv/kernel``).

    The file appears whole or not at all: it is written beside its place and then renamed.

    Example:
        >>> import tempfile, numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_params(f"{folder}/a.safetensors", {"dense": {"kernel": np.ones((2, 3))}})
        ...     load_params(f"{folder}/a.safetensors")["dense"]["kernel"].shape
        (2, 3)
    """
    numpy_file = need("safetensors.numpy", "interop.save_params", extra="export")
    paths = traverse_util.flatten_dict(jax.device_get(dict(params)))
    if not paths:
        raise bad_value("save_params", "params must hold at least one array", params)
    flat = {"/".join(check_name("save_params", name) for name in path): leaf for path, leaf in paths.items()}
    arrays = {name: np.asarray(leaf, order="C") for name, leaf in flat.items()}
    with whole_file(Path(path)) as part:
        part.write_bytes(numpy_file.save(arrays, metadata=dict(metadata or {})))


def load_params(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The tree of parameters in a safetensors file that :func:`save_params` wrote, as NumPy arrays.

    **Raises** ``ValueError`` for a file that is no sound safetensors file.
    """
    safetensors = need("safetensors", "interop.load_params", extra="export")
    numpy_file = need("safetensors.numpy", "interop.load_params", extra="export")
    try:
        flat = numpy_file.load_file(path)
    except safetensors.SafetensorError as error:
        raise bad_value(f"load_params({str(path)!r})", "the file must be sound safetensors", str(error)) from None
    return traverse_util.unflatten_dict(flat, sep="/")
