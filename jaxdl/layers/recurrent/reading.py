"""How every recurrent layer reads a sequence: whole, to its last output, or piece by piece."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxdl.core import Decoding, Ragged, bad_value, child_key
from jaxdl.core.contract import Params, State
from jaxdl.layers.initializers import Initializer

Outputs = Literal["all", "last"]

Run = Callable[..., tuple[jax.Array, Any]]
"""``run(params, x, lengths=…, initial=…) -> (y, carry)``: a recurrence of :mod:`jaxdl.functional` and its weights."""


def check_outputs(call: str, outputs: Outputs) -> None:
    """Raise unless ``outputs`` is one of the two."""
    if outputs not in ("all", "last"):
        raise bad_value(call, 'outputs must be "all" or "last"', repr(outputs))


def array_of(x: Any) -> Any:
    """The array under a ragged batch, or the array."""
    return x.x if isinstance(x, Ragged) else x


def reading(call: str, run: Run, outputs: Outputs, reverse: bool) -> tuple[Callable[..., Any], Decoding]:
    """The ``apply`` and the decoding of a recurrent layer: the cache is the carry."""

    def read(params: Params, x: Any, initial: Any = None) -> tuple[Any, Any]:
        if not isinstance(x, Ragged):
            return run(params, x, lengths=None, initial=initial)
        y, carry = run(params, x.x, lengths=x.lengths, initial=initial)
        return Ragged(y, x.lengths), carry

    def apply(params: Params, state: State, x: Any, *, train: bool, key: jax.Array | None = None) -> tuple[Any, State]:
        y, carry = read(params, x)
        return (y if outputs == "all" else jax.tree.leaves(carry)[0]), state

    def check_pieces() -> None:
        if outputs != "all" or reverse:
            got = f"outputs={outputs!r}, reverse={reverse}"
            raise bad_value(call, 'to read piece by piece, outputs must be "all" and reverse False', got)

    def prefill(params: Params, state: State, x: Any, /, *, length: int) -> tuple[Any, Any]:
        check_pieces()
        return read(params, x)

    def decode(params: Params, cache: Any, x: Any, /) -> tuple[Any, Any]:
        check_pieces()
        return read(params, x, cache)

    return apply, Decoding(prefill, decode)


def each_gate(init: Initializer, gates: int) -> Initializer:
    """An initializer of packed gates that draws each of them alone, as the map that it is."""

    def packed(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
        one = (*shape[:-1], shape[-1] // gates)
        return jnp.concatenate([init(child_key(key, str(gate)), one, dtype) for gate in range(gates)], axis=-1)

    return packed


def orthogonal(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """A matrix (all axes but the last as one) with orthogonal columns or rows, of norm 1: a product with it neither
    shrinks nor grows. Drawn in float32 or wider, which its decomposition needs."""
    wide = jnp.promote_types(dtype, jnp.float32)
    return jax.nn.initializers.orthogonal()(key, shape, wide).astype(dtype)


def forget_one(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Zeros, and ones for the forget gate, the second of the four."""
    return jnp.zeros(shape, dtype).at[shape[0] // 4 : shape[0] // 2].set(1)
