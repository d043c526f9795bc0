"""The loops over time with derivatives of their own: nothing is done twice, and little is carried through memory.

A round of a loop on CPU costs by its products, by the bytes that it reads and writes, and by its number of operations:

- The weights of the sigmoid gates come halved, as ``σ(z) = ½ tanh(½ z) + ½``, and one tanh serves all gates.
- The forward loop keeps no gates but what the backward loop makes of them, the coefficients of its products, while they
  are in cache; computed for all steps at once between the two loops, each of them would pass through memory again.
- They are written over the input's product ``z``, which is read by then, and the gradients of the gates over them: one
  array, in place, instead of three that are filled with zeros first. What is written stands behind a barrier, so that
  XLA does not read the array once more for it, which would copy the array in each round.
- The weights' gradients are formed after the loop, for all steps in one product.

Each takes and gives what :func:`jaxdl.functional.recurrent.steps.plain_scan` does, of at least one step; its ``z`` is
without the bias, which is the second of the weights. All halves are plain functions of arrays, so that they can be
differentiated again. The GRUs are in :mod:`jaxdl.functional.recurrent.fast_gru`.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl.functional.recurrent.steps import hidden, plain_scan
from jaxdl.functional.shape import along_last

Pair = tuple[jax.Array, jax.Array]

Cell = Callable[..., tuple[Any, tuple[jax.Array, ...]]]
"""``cell(carry, z, *weights) -> carry, coefficients``, of which the first has the shape of ``z``."""


def halved(sigmoids: tuple[bool, ...], *arrays: jax.Array | None) -> tuple[Any, ...]:
    """Packed gates, each that is a sigmoid halved (which is exact)."""

    def half(array: jax.Array) -> jax.Array:
        factors = np.repeat([0.5 if sigmoid else 1.0 for sigmoid in sigmoids], array.shape[-1] // len(sigmoids))
        return array * along_last(jnp.asarray(factors, array.dtype), array.ndim)

    return tuple(None if array is None else half(array) for array in arrays)


def _times(z: jax.Array) -> jax.Array:
    """The index of each step; unsigned, so that no round asks whether it counts from the end."""
    return jnp.arange(z.shape[0], dtype=jnp.uint32)


def value_scan(cell: Cell, reverse: bool, z: jax.Array, weights: Any, carry: Any, real: Any) -> tuple[jax.Array, Any]:
    """The loop of a cell without what only its derivative needs."""
    return plain_scan(lambda *arguments: cell(*arguments)[0], reverse, z, weights, carry, real)


def forward_scan(
    cell: Cell, padded: tuple[int, ...], reverse: bool, z: jax.Array, weights: Any, carry: Any, real: Any
) -> tuple[tuple[jax.Array, Any], tuple[jax.Array, ...]]:
    """The loop of a cell and its coefficients at each step; ``padded`` are theirs at a step that changes nothing."""

    def step(state: Any, inputs: Any) -> tuple[Any, Any]:
        carry, z = state
        t, real = inputs
        new, coefficients = cell(carry, lax.dynamic_index_in_dim(z, t, keepdims=False), *weights)
        if real is not None:
            new = jax.tree.map(lambda new, old: jnp.where(real, new, old), new, carry)
            coefficients = tuple(jnp.where(real, *pair) for pair in zip(coefficients, padded, strict=True))
        first, *others = coefficients
        z = lax.dynamic_update_index_in_dim(z, lax.optimization_barrier(first), t, 0)
        return (new, z), (hidden(new), *others)

    (carry, first), (hs, *others) = lax.scan(step, (carry, z), (_times(z), real), reverse=reverse)
    return (hs, carry), (first, *others)


def backward_scan(
    step: Callable[..., tuple[Any, jax.Array, Any]],
    reverse: bool,
    carry: Any,
    coefficients: tuple[jax.Array, ...],
    dy: jax.Array,
    real: Any,
) -> tuple[Any, jax.Array, Any]:
    """The loop back, ``step(carry, *coefficients) -> carry, dz, more``: the last carry, each dz, and all else.

    The carry's first entry is dh. Each dz, which must stand behind a barrier, takes the place of the first of the
    coefficients.
    """
    first, *others = coefficients

    def body(state: Any, inputs: Any) -> tuple[Any, Any]:
        (dh, *rest), first = state
        t, dy, real, others = inputs
        dh = dh + dy
        (back, *rest), dz, more = step((dh, *rest), lax.dynamic_index_in_dim(first, t, keepdims=False), *others)
        back = back if real is None else jnp.where(real, back, dh)
        return ((back, *rest), lax.dynamic_update_index_in_dim(first, dz, t, 0)), more

    inputs = _times(dy), dy, real, others
    (carry, dz), more = lax.scan(body, (tuple(carry), first), inputs, reverse=not reverse)
    return carry, dz, more


def before(reverse: bool, first: jax.Array, states: jax.Array) -> jax.Array:
    """The state that each step started from."""
    if reverse:
        return jnp.concatenate([states, first[None]])[1:]
    return jnp.concatenate([first[None], states])[:-1]


def weight_gradient(inputs: jax.Array, outputs: jax.Array) -> jax.Array:
    """The gradient of ``u`` in ``inputs @ u``, over all steps and examples in one product."""
    rows = inputs.shape[0] * inputs.shape[1]
    return inputs.reshape(rows, inputs.shape[2]).T @ outputs.reshape(rows, outputs.shape[2])


# Simple RNN: h' = tanh(z + h U)


def _simple_rnn_cell(h: jax.Array, z: jax.Array, u: jax.Array, bias: jax.Array) -> tuple[jax.Array, tuple[jax.Array]]:
    h = jnp.tanh(z + h @ u + bias[None])
    return h, (1 - h * h,)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def simple_rnn_scan(reverse: bool, z: jax.Array, weights: Pair, h: jax.Array, real: jax.Array | None) -> Pair:
    """The loop of ``h' = tanh(z + h U + b)``."""
    return value_scan(_simple_rnn_cell, reverse, z, weights, h, real)


def _simple_rnn_forward(reverse: bool, z: Any, weights: Any, h: Any, real: Any) -> tuple[Any, Any]:
    found, coefficients = forward_scan(_simple_rnn_cell, (0,), reverse, z, weights, h, real)
    return found, (coefficients, found[0], weights[0], h, real)


def _simple_rnn_backward(reverse: bool, saved: Any, gradients: Pair) -> tuple[Any, ...]:
    coefficients, hs, u, first, real = saved
    ut = lax.optimization_barrier(u.T)

    def step(carry: tuple[jax.Array], slope: jax.Array) -> tuple[tuple[jax.Array], jax.Array, None]:
        dz = lax.optimization_barrier(carry[0] * slope)
        return (dz @ ut,), dz, None

    (dh,), dz, _ = backward_scan(step, reverse, (gradients[1],), coefficients, gradients[0], real)
    return dz, (weight_gradient(before(reverse, first, hs), dz), dz.sum((0, 1))), dh, None


simple_rnn_scan.defvjp(_simple_rnn_forward, _simple_rnn_backward)


# LSTM: t = tanh(z + h U) of all gates; c' = f c + i g, h' = o tanh(c')

LSTM_SIGMOIDS = (True, True, False, True)


def _lstm_cell(carry: Pair, z: jax.Array, u: jax.Array, bias: jax.Array) -> tuple[Pair, tuple[jax.Array, ...]]:
    """Its coefficients: what each gate before its tanh gives to c', but the output gate to h'; what c' gives to h', and
    c to c'."""
    h, c = carry
    t = jnp.tanh(z + h @ u + bias[None])
    ti, f, g, to = jnp.split(t, 4, axis=-1)
    i, f, o = 0.5 * ti + 0.5, 0.5 * f + 0.5, 0.5 * to + 0.5
    new = f * c + i * g
    tc = jnp.tanh(new)
    gates = jnp.concatenate([0.5 * g, 0.5 * c, i, 0.5 * tc], axis=-1) * (1 - t * t)
    return (o * tc, new), (gates, o * (1 - tc * tc), f)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def lstm_scan(
    reverse: bool, z: jax.Array, weights: Pair, carry: Pair, real: jax.Array | None
) -> tuple[jax.Array, Pair]:
    """The loop of an LSTM whose sigmoid gates have halved weights."""
    return value_scan(_lstm_cell, reverse, z, weights, carry, real)


def _lstm_forward(reverse: bool, z: Any, weights: Any, carry: Pair, real: Any) -> tuple[Any, Any]:
    found, coefficients = forward_scan(_lstm_cell, (0, 0, 1), reverse, z, weights, carry, real)
    return found, (coefficients, found[0], weights[0], carry[0], real)


def _lstm_backward(reverse: bool, saved: Any, gradients: tuple[jax.Array, Pair]) -> tuple[Any, ...]:
    coefficients, hs, u, first, real = saved
    ut = lax.optimization_barrier(u.T)

    def step(carry: Pair, gates: jax.Array, slope: jax.Array, f: jax.Array) -> tuple[Pair, jax.Array, None]:
        dh, dc = carry
        dc = dc + dh * slope
        dz = lax.optimization_barrier(gates * jnp.concatenate([dc, dc, dc, dh], axis=-1))
        return (dz @ ut, dc * f), dz, None

    carry, dz, _ = backward_scan(step, reverse, gradients[1], coefficients, gradients[0], real)
    return dz, (weight_gradient(before(reverse, first, hs), dz), dz.sum((0, 1))), carry, None


lstm_scan.defvjp(_lstm_forward, _lstm_backward)
