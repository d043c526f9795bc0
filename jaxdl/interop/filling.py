"""Parameters from a file into a model that has them, or some of them: by path, with a report."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core import bad_value, describe, flat_paths
from jaxdl.core.select import globs, matches, near, select
from jaxdl.interop.tensors import read_tensors

Tree = TypeVar("Tree")


@dataclass(frozen=True)
class LoadReport:
    """What a file had for a model, as paths of the model; what is left over under the names in the file.

    ``matched``: filled from the file. ``missing``: asked for, and not in the file. ``left_over``: in the file, and
    filled nothing. ``metadata``: the texts that its writer noted. Print it.

    Example:
        >>> print(LoadReport("a.safetensors", matched=("stem/kernel",), left_over=("head/bias", "head/kernel")))
        a.safetensors
          matched    1: stem/kernel
          missing    0
          left over  2: head/bias, head/kernel
    """

    path: str
    matched: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = {"matched": self.matched, "missing": self.missing, "left over": self.left_over}
        return "\n".join([self.path, *(f"  {word:10} {_counted(names)}" for word, names in parts.items())])


def _counted(names: Sequence[str], most: int = 8) -> str:
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)}: {', '.join(names[:most])}{more}" if names else "0"


def load_into(
    params: Tree,
    path: str | os.PathLike[str],
    *,
    where: str | Sequence[str] = "*",
    rename: Mapping[str, str] | None = None,
    strict: bool = True,
) -> tuple[Tree, LoadReport]:
    """Parameters with those of a safetensors file in their places, and a report; all others stay as they are.

    Nothing is cast or cut to fit: shapes and dtypes must be those of ``params``. With ``dl.freeze`` this is how a model
    is tuned on top of what another has learnt.

    **Args**
    ``params``: nested dicts of arrays; each new one lies on the devices of the one it takes the place of.
    ``where``: a glob, or several, of the paths that are to be filled; ``"encoder/*"`` is all below ``encoder``.
    ``rename``: what a name in the file begins with, and what the path begins with instead: ``{"model": "encoder"}``,
    ``{"model": ""}`` or ``{"": "encoder"}``. Whole parts of a name only; the longest one that fits is taken.
    ``strict``: raise where a path of ``where`` is missing in the file, or where an array of the file would have one but
    ``params`` does not; otherwise this is said in the report alone.

    **Raises** ``ValueError`` for a file that is not sound, a glob or a prefix that matches nothing, and for all that
    does not fit, by path with both sides.

    Example:
        >>> import tempfile, numpy as np
        >>> from jaxdl.interop import save_params
        >>> params = {"stem": {"gain": np.zeros(2)}, "head": {"gain": np.zeros(3)}}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_params(f"{folder}/a.safetensors", {"stem": {"gain": np.ones(2)}, "top": {"gain": np.ones(9)}})
        ...     params, report = load_into(params, f"{folder}/a.safetensors", where="stem/*")
        >>> params["stem"]["gain"], report.left_over
        (array([1., 1.]), ('top/gain',))
    """
    call = f"load_into({str(path)!r})"
    here = flat_paths(params)
    chosen = [name for name, one in flat_paths(select(call, params, where)).items() if one]
    rename = {old.strip("/"): new.strip("/") for old, new in (rename or {}).items()}
    found = read_tensors("load_into", path, lambda name: _renamed(name, rename) in chosen)
    sources = _sources(call, found.names, rename)
    matched = {name: found.arrays[sources[name]] for name in chosen if name in sources}
    missing = [name for name in chosen if name not in sources]
    left_over = {new: old for new, old in sources.items() if new not in matched}
    lines = [
        f"  {name}: {describe(array)} in the file, {describe(here[name])} in params"
        for name, array in matched.items()
        if describe(array) != describe(here[name])
    ]
    if strict:
        lines += [f"  {name}: nothing in the file, {describe(here[name])} in params" for name in missing]
        asked = [new for new in left_over if any(matches(new, glob) for glob in globs(call, where))]
        lines += [f"  {new}: {left_over[new]!r} in the file, nothing in params" for new in asked]
    if lines:
        got = f"{len(lines)} that do not fit:\n" + "\n".join(lines)
        hint = "Did you mean where=…, rename=… or strict=False?"
        raise bad_value(call, "the arrays of the file must fit params", f"{got}\n{hint}")
    leaves = [_placed(matched[name], leaf) if name in matched else leaf for name, leaf in here.items()]
    report = LoadReport(str(path), tuple(matched), tuple(missing), tuple(left_over.values()), found.metadata)
    return jax.tree.unflatten(jax.tree.structure(params), leaves), report


def _renamed(name: str, rename: Mapping[str, str]) -> str:
    for old in sorted(rename, key=len, reverse=True):
        if _begins(name, old):
            rest = name.removeprefix(old).removeprefix("/")
            return "/".join(part for part in (rename[old], rest) if part)
    return name


def _begins(name: str, prefix: str) -> bool:
    return not prefix or name == prefix or name.startswith(f"{prefix}/")


def _sources(call: str, names: Sequence[str], rename: Mapping[str, str]) -> dict[str, str]:
    """The name in the file for each path in the model."""
    for old in rename:
        if not any(_begins(name, old) for name in names):
            needs = f"rename: {old!r} must begin a name in the file"
            raise bad_value(call, needs, f"names such as {near(old, names)}")
    sources: dict[str, str] = {}
    for name in names:
        path = _renamed(name, rename)
        if path in sources:
            got = f"{sources[path]} and {name} as {path}"
            raise bad_value(call, "rename must give each array a path of its own", got)
        sources[path] = name
    return sources


def _placed(array: np.ndarray, leaf: Any) -> Any:
    """The array as the leaf that it takes the place of: of NumPy, or on its devices."""
    if not isinstance(leaf, jax.Array):
        return array
    return jax.device_put(array, leaf.sharding) if leaf.committed else jnp.asarray(array)
