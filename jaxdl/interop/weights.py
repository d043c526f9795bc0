"""Parameters in safetensors files: names and numbers, no code."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from jaxdl.core import bad_type, bad_value
from jaxdl.core.children import check_name
from jaxdl.core.extras import need
from jaxdl.core.files import whole_file
from jaxdl.core.processes import is_shared, whole_on_host
from jaxdl.interop.tensors import DIGESTS, digests_of, read_tensors


def save_params(
    path: str | os.PathLike[str], params: Mapping[str, Any], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a tree of parameters to a safetensors file, each leaf under its path (``conv/kernel``).

    The file appears whole or not at all: it is written beside its place and then renamed. Its metadata hold a digest of
    each array as well, which is checked when jaxdl reads it; other programs read the file as any other. Where params
    lie over devices of several processes, all call this, and the first writes.

    **Args** ``metadata``: texts by name, for :func:`load_metadata`.

    Example:
        >>> import tempfile, numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_params(f"{folder}/a.safetensors", {"dense": {"kernel": np.ones((2, 3))}})
        ...     load_params(f"{folder}/a.safetensors")["dense"]["kernel"].shape
        (2, 3)
    """
    numpy_file = need("safetensors.numpy", "interop.save_params", extra="export")
    elsewhere = is_shared(params) and jax.process_index() > 0
    paths = traverse_util.flatten_dict(_on_host(dict(params)))
    if not paths:
        raise bad_value("save_params", "params must hold at least one array", params)
    flat = {"/".join(check_name("save_params", name) for name in path): leaf for path, leaf in paths.items()}
    arrays = {name: _native(name, leaf) for name, leaf in flat.items()}
    noted = dict(metadata or {})
    for name, text in noted.items():
        if not (isinstance(name, str) and isinstance(text, str)) or name == DIGESTS:
            raise bad_type("save_params", f"metadata must be texts by name, none of them {DIGESTS}", {name: text})
    if elsewhere:
        return
    noted[DIGESTS] = json.dumps(digests_of(arrays, noted))
    with whole_file(Path(path)) as part:
        part.write_bytes(numpy_file.save(arrays, metadata=noted))


def _on_host(params: Any) -> Any:
    return jax.tree.map(whole_on_host, params) if is_shared(params) else jax.device_get(params)


def _native(name: str, leaf: Any) -> np.ndarray:
    array = np.asarray(leaf, order="C")
    if array.dtype.kind in "OSU":
        raise bad_type("save_params", f"{name} must be an array of numbers", array)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def load_params(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The tree of parameters in a safetensors file, as NumPy arrays; :func:`load_into` fills a model with some of them.

    What :func:`save_params` wrote is checked against its digests; of files of others, the structure alone.

    **Raises** ``ValueError`` for a file that is no sound safetensors file.
    """
    arrays = read_tensors("load_params", path).arrays
    for name in arrays:
        folder = name
        while "/" in folder:
            folder = folder.rpartition("/")[0]
            if folder in arrays:
                got = f"{folder!r} beside {name!r}"
                raise bad_value(f"load_params({str(path)!r})", "no array's name may be another's folder", got)
    return traverse_util.unflatten_dict(arrays, sep="/")


def load_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The texts that whoever wrote a safetensors file noted in it.

    Example:
        >>> import tempfile, numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_params(f"{folder}/a.safetensors", {"gain": np.ones(3)}, metadata={"epochs": "3"})
        ...     load_metadata(f"{folder}/a.safetensors")
        {'epochs': '3'}
    """
    return read_tensors("load_metadata", path, lambda name: False).metadata
