"""One array in several places."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxdl.combine.rewrite import nested, rewritten
from jaxdl.core import bad_type, bad_value, describe, flat_paths, wrapper
from jaxdl.core.lift import lift
from jaxdl.core.select import near

Source = str | tuple[str, Callable[[jax.Array], jax.Array]]


@wrapper
def tie(layer: Any, ties: Mapping[str, Source]) -> Any:
    """The layer with parameters that are read from where others lie: one path owns the array, and gets all gradients.

    **Params** those of ``layer`` without the tied ones.

    **Args** ``ties``: ``{tied path: owner's path}``, or ``{tied path: (owner's path, function of the owner's array)}``,
    such as ``jnp.transpose`` for an embedding ``(vocabulary, features)`` that is the kernel ``(features, vocabulary)``
    of the logits as well.

    **Raises** ``ValueError`` for a path that is not there (it lists the nearest), an owner that is itself tied, and
    arrays of different shape or dtype.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxdl import layers, sequential
        >>> autoencoder = sequential(("encode", layers.dense(2)), jnp.tanh, ("decode", layers.dense(5)))
        >>> tied = tie(autoencoder, {"decode/kernel": ("encode/kernel", jnp.transpose)})
        >>> params, state = tied.init(jax.random.key(0), jnp.ones((1, 5)))
        >>> jax.tree.map(jnp.shape, params)
        {'decode': {'bias': (5,)}, 'encode': {'bias': (2,), 'kernel': (5, 2)}}

    **References** Press and Wolf, Using the output embedding to improve language models, 2017.
    """
    sources = _sources(ties)

    def begin(key: jax.Array, params: Any) -> tuple[Any, Any]:
        flat = flat_paths(params)
        for tied, (owner, function) in sources.items():
            for path in (tied, owner):
                if path not in flat:
                    raise bad_value("tie", f"{path!r} must be a parameter's path", f"paths such as {near(path, flat)}")
            _check_fit(tied, flat[tied], owner, flat[owner], function)
        return nested({path: leaf for path, leaf in flat.items() if path not in sources}), {}

    def make(params: Any, own: Any, update: bool) -> tuple[Any, Any]:
        flat = flat_paths(params)
        read = {tied: function(flat[owner]) for tied, (owner, function) in sources.items()}
        return nested({**flat, **read}), own

    return rewritten("tie", lift("tie", layer), begin, make)


def _itself(array: jax.Array) -> jax.Array:
    return array


def _sources(ties: Any) -> dict[str, tuple[str, Any]]:
    """The owner's path and a function of its array, for each tied path."""
    needs = "ties must be {tied path: owner's path, or (owner's path, function)}"
    if not isinstance(ties, Mapping) or not ties:
        raise bad_type("tie", needs, ties)
    sources = {tied: (source, _itself) if isinstance(source, str) else source for tied, source in ties.items()}
    for tied, source in sources.items():
        pair = isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], str) and callable(source[1])
        if not pair or not isinstance(tied, str):
            raise bad_type("tie", needs, {tied: ties[tied]})
        if source[0] in sources:
            hint = f"Did you mean the owner of {source[0]!r}?" if source[0] != tied else ""
            raise bad_value("tie", f"the owner of {tied!r} must not be tied itself", repr(source[0]), hint)
    return sources


def _check_fit(tied: str, array: Any, owner: str, source: Any, function: Any) -> None:
    found = jax.eval_shape(function, source)
    if (found.shape, found.dtype) != (array.shape, array.dtype):
        turned = function is _itself and source.shape == array.shape[::-1]
        hint = f"Did you mean ({owner!r}, jnp.transpose)?" if turned else ""
        raise bad_value("tie", f"what {owner!r} gives must be as {tied!r}, {describe(array)}", found, hint)
