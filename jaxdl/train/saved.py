"""The leaves of a train state on their way into a checkpoint and back: names, copies on the host, checks, places."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core import bad_value, flat_paths


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves by path; an error where two have one path."""
    named, count = flat_paths(tree), len(jax.tree.leaves(tree))
    if len(named) != count:
        raise bad_value("checkpoint", "the paths of the train state's leaves must differ", f"{count} leaves")
    return named


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def stored(leaf: Any) -> Any:
    """The array of numbers that is stored for a leaf: itself, or a key's data."""
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def host_copy(leaf: Any) -> tuple[np.ndarray, str]:
    """A copy of the whole of a leaf on the host, from however many devices, and its dtype's name; a key as its data."""
    return np.array(stored(leaf)), str(leaf.dtype)


def stored_dtype(kind: str) -> Any:
    """The dtype of the numbers that are stored for a leaf of that dtype."""
    return np.uint32 if kind.startswith("key<") else jnp.dtype(kind)


def differing(described: dict[str, Any], named: dict[str, Any]) -> list[str]:
    """A line for each path where the shape or dtype that was saved is not that of the leaf here: both sides."""
    here = {path: _kind(leaf) for path, leaf in named.items()}
    there = {path: f"{leaf['dtype']}{leaf['shape']}" for path, leaf in described.items()}
    return [
        f"  {path}: {there.get(path, 'nothing')} in the checkpoint, {here.get(path, 'nothing')} in the train state"
        for path in dict.fromkeys([*here, *there])
        if here.get(path) != there.get(path)
    ]


def _kind(leaf: Any) -> str:
    shape = jax.eval_shape(jax.random.key_data, leaf).shape if _is_key(leaf) else leaf.shape
    return f"{leaf.dtype}{list(shape)}"


def filled(like: Any, named: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    """The tree ``like`` with those numbers: a leaf that was put on certain devices is spread over them again."""

    def fill(path: str, leaf: Any) -> jax.Array:
        array = jnp.asarray(arrays[path])
        if _is_key(leaf):
            array = jax.random.wrap_key_data(array, impl=jax.random.key_impl(leaf))
        if not array.is_fully_addressable:
            return array
        # What nobody put anywhere stays free to go where the rest of a program is.
        return jax.device_put(array, leaf.sharding) if getattr(leaf, "committed", False) else array

    return jax.tree.unflatten(jax.tree.structure(like), [fill(path, leaf) for path, leaf in named.items()])
