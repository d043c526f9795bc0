"""Bare functions as layers."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.core.contract import LayerLike, Params, State
from jaxdl.core.errors import bad_type, bad_value
from jaxdl.core.identity import identity
from jaxdl.core.layer import MAKES_A_LAYER, Layer, each_position
from jaxdl.core.ragged import Ragged
from jaxdl.core.show import function_name, function_text

_FOREIGN = {"flax", "equinox", "torch", "keras", "haiku"}


class Lifted(Layer):
    """A bare function as a layer without parameters; it prints as the function's name."""

    def __repr__(self) -> str:
        return function_text(self.args[0][1])


def lift(call: str, value: Any) -> LayerLike:
    """A layer as it is; a bare function of arrays as a layer without parameters, named after the function."""
    if isinstance(value, Layer):
        return value
    home = {cls.__module__.partition(".")[0] for cls in type(value).__mro__}
    if home & _FOREIGN and not isinstance(value, functools.partial):
        raise bad_type(
            call,
            "each child must be a layer or a function of arrays",
            f"{type(value).__module__}.{type(value).__qualname__}, a module that keeps its parameters in its own way",
            "Write it as a layer (init, apply); jaxdl.interop is the room for other libraries' weights",
        )
    if hasattr(value, "init") and hasattr(value, "apply"):
        return value
    if not callable(value) or isinstance(value, type) or hasattr(value, MAKES_A_LAYER):
        hint = f"Did you mean {function_name(value)}(…)?" if callable(value) else ""
        raise bad_type(call, "each child must be a layer, a function of arrays, or a (name, layer) pair", value, hint)

    def init(key: jax.Array, x: Any, /) -> tuple[Params, State]:
        return {}, {}

    def apply(
        params: Params, state: State, x: Any, /, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        return (_over_real(call, value, x) if isinstance(x, Ragged) else value(x)), state

    args = (("function", value),)
    return Lifted(function_name(value), args, init, apply, identity(value), decoding=each_position(apply))


def _over_real(call: str, value: Any, x: Ragged) -> Ragged:
    """The function of a ragged batch, where padding is 1 before it and 0 after it: what the function or its derivative
    is at a padded position, such as the infinity of log at 0, reaches nothing."""

    def padded_with(array: jax.Array, filler: int) -> jax.Array:
        real = x.mask().reshape(*x.x.shape[:2], *[1] * (array.ndim - 2))
        return jnp.where(real, array, jnp.asarray(filler, array.dtype))

    y = value(padded_with(x.x, 1) if jnp.issubdtype(x.x.dtype, jnp.inexact) else x.x)
    if any(leaf.shape[:2] != x.x.shape[:2] for leaf in jax.tree.leaves(y)):
        needs = f"a function of a ragged batch must keep its batch and time, {function_name(value)} here"
        raise bad_value(call, needs, y, "Write what mixes positions as a layer that heeds the lengths")
    return Ragged(jax.tree.map(lambda leaf: padded_with(leaf, 0), y), x.lengths)
