"""What reads and writes one kind of layer: a table of these for each source of weights."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxdl.core import LayerLike

Arrays = dict[str, np.ndarray]
"""Arrays by name: a leaf's own (``kernel``, ``query/bias``) or a module's (``weight``)."""


class Leaf(NamedTuple):
    """What one module of the other side fills: a layer that has parameters or state, a part of one, or of a stack.

    **Fields** ``kind``: of the converter; ``member``: which, in each stack that it is in; ``params``, ``state``: the
    specs by name; ``places``: where in the model each lies, by name.
    """

    path: str
    kind: str
    layer: LayerLike
    input: Any
    member: tuple[int, ...]
    params: dict[str, Any]
    state: dict[str, Any]
    places: dict[str, str]

    def option(self, name: str, default: Any = None) -> Any:
        """An argument that the layer's constructor was given, or its default."""
        return dict(getattr(self.layer, "args", ())).get(name, default)

    def __str__(self) -> str:
        member = "".join(f"[{i}]" for i in self.member)
        return f'{self.kind} "{self.path}"{member}' if self.path else f"{self.kind}{member}"


class Converter(NamedTuple):
    """The two layouts of one kind of layer: a leaf's arrays from a module's, and back."""

    read: Callable[[Leaf, Arrays], Arrays]
    write: Callable[[Leaf, Arrays], Arrays]


def same(array: Any) -> Any:
    return array


class Entry(NamedTuple):
    """One array that both sides have: its name on the other side, and how its layout changes on the way."""

    name: str
    to_ours: Callable[[Any], Any] = same
    to_theirs: Callable[[Any], Any] = same


def entries(**table: Entry | str) -> Converter:
    """The converter of a layer whose arrays have one counterpart each; those that the layer lacks are left out."""
    moves = {ours: Entry(entry) if isinstance(entry, str) else entry for ours, entry in table.items()}

    def read(leaf: Leaf, arrays: Arrays) -> Arrays:
        return {ours: move.to_ours(arrays[move.name]) for ours, move in moves.items() if move.name in arrays}

    def write(leaf: Leaf, arrays: Arrays) -> Arrays:
        return {move.name: move.to_theirs(arrays[ours]) for ours, move in moves.items() if ours in arrays}

    return Converter(read, write)


def without(arrays: Arrays, *names: str) -> Arrays:
    return {name: array for name, array in arrays.items() if name not in names}


SIDES = ("query", "key", "value")


def merge_heads(leaf: Leaf, arrays: Arrays) -> Arrays:
    """Attention's ``(in, heads, size)`` in one row, as ours."""
    return {name: np.reshape(array, leaf.params[name].shape) for name, array in arrays.items()}


def split_heads(leaf: Leaf, arrays: Arrays) -> Arrays:
    """Attention's kernels and biases by head: ``(in, heads, size)``, and for the output ``(heads, size, out)``."""
    size = arrays["query/kernel"].shape[-1] // leaf.option("heads")
    found = {}
    for name, array in arrays.items():
        if not name.startswith("out/"):
            found[name] = array.reshape(*array.shape[:-1], -1, size)
        else:
            found[name] = array.reshape(-1, size, array.shape[-1]) if name == "out/kernel" else array
    return found
