"""What made a program be compiled again."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core import describe
from jaxdl.core.show import function_text


class Change(NamedTuple):
    """One difference: the path of the argument, what of it changed, and both sides."""

    path: str
    what: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.path or 'the argument'}: {self.what} was {self.before}, is {self.after}"


class Changes(tuple[Change, ...]):
    """The differences; printed, one a line."""

    __slots__ = ()

    def __str__(self) -> str:
        alike = (
            "nothing that a program depends on: it was another function (a new lambda or partial), or a setting of JAX"
        )
        return "\n".join(map(str, self)) or alike


def why_recompiled(before: Any, after: Any) -> Changes:
    """What differs between two calls' arguments, as far as a compiled program depends on it.

    A program is compiled for shapes, dtypes, weak types (a Python number's), shardings and devices that arrays are
    committed to, the structure of trees, and the values of static arguments. What is no array is compared by value: it
    asks for another program only where it is static (a traced Python number does not).

    **Args** ``before``, ``after``: the arguments of the two calls, as trees: ``(args, kwargs)``, say.

    Example:
        >>> import jax.numpy as jnp
        >>> whole = {"x": jnp.ones((32, 3)), "rate": 0.1}
        >>> print(why_recompiled(whole, {"x": jnp.ones((7, 3)), "rate": jnp.float32(0.1)}))
        ['rate']: type was a Python float (weak float32), is float32[]
        ['x']: shape was float32[32,3], is float32[7,3]
    """
    trees = before, after
    leaves = [dict(_with_paths(tree)) for tree in trees]
    changes: list[Change] = []
    for path in dict.fromkeys((*leaves[0], *leaves[1])):
        sides = [_seen(found, path) for found in leaves]
        if any(side is None for side in sides):
            changes.append(Change(path, "the entry", *("absent" if side is None else side["text"] for side in sides)))
            continue
        what = next((what for what in _ORDER if sides[0][what] != sides[1][what]), None)
        if what is not None:
            shown = "text" if what in ("shape", "dtype", "type") else what
            changes.append(Change(path, what, *(str(side[shown]) for side in sides)))
    structures: list[Any] = [jax.tree.structure(tree, is_leaf=_is_none) for tree in trees]
    if not changes and structures[0] != structures[1]:
        changes.append(Change("", "structure", *map(str, structures)))
    return Changes(changes)


_ORDER = ("type", "shape", "dtype", "weak type", "sharding", "value")


def _is_none(leaf: Any) -> bool:
    return leaf is None


def _with_paths(tree: Any) -> list[tuple[str, Any]]:
    leaves = jax.tree.leaves_with_path(tree, is_leaf=_is_none)
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in leaves]


def _seen(leaves: dict[str, Any], path: str) -> Any:
    """What a program knows of a leaf, by the names of :data:`_ORDER`; None where there is none."""
    if path not in leaves:
        return None
    leaf = leaves[path]
    if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
        return _of_no_array(leaf)
    extended = jnp.issubdtype(leaf.dtype, jax.dtypes.extended)
    dtype = leaf.dtype if extended else jax.dtypes.canonicalize_dtype(leaf.dtype)
    weak = bool(getattr(leaf, "weak_type", False))
    committed = getattr(leaf, "committed", False) or isinstance(leaf, jax.ShapeDtypeStruct)
    sharding = getattr(leaf, "sharding", None) if committed else None
    spec = jax.ShapeDtypeStruct(np.shape(leaf), dtype)
    return {
        "type": "array",
        "shape": np.shape(leaf),
        "dtype": dtype,
        "weak type": weak,
        "sharding": sharding if sharding is not None else "not committed",
        "value": None,
        "text": f"weak {describe(spec)}" if weak else describe(spec),
    }


def _of_no_array(leaf: Any) -> dict[str, Any]:
    name = type(leaf).__name__
    text = function_text(leaf)
    if isinstance(leaf, int | float | complex):
        text = f"a Python {name} (weak {jax.dtypes.canonicalize_dtype(type(leaf))})" if name != "bool" else repr(leaf)
    return {
        "type": name,
        "shape": (),
        "dtype": name,
        "weak type": None,
        "sharding": None,
        "value": _Value(leaf),
        "text": text,
    }


class _Value:
    """A static value: equal as Python says, or the same object where it does not say."""

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Value) and (self.value is other.value or bool(self.value == other.value))

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return function_text(self.value)
