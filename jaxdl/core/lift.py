"""Bare functions as layers."""

import functools
from typing import Any

import jax

from jaxdl.core.contract import LayerLike, Params, State
from jaxdl.core.errors import bad_type
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
        return (Ragged(value(x.x), x.lengths) if isinstance(x, Ragged) else value(x)), state

    args = (("function", value),)
    return Lifted(function_name(value), args, init, apply, identity(value), decoding=each_position(apply))
