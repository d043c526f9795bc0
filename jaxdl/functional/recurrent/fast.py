"""The loops over time with derivatives of their own: nothing is done twice, and little is carried through memory.

A round of a loop on CPU costs by its products, by the bytes that it reads and writes, and by its number of operations:

- The weights of the sigmoid gates come halved, as ``σ(z) = ½ tanh(½ z) + ½``, and one tanh serves all gates.
- The forward loop keeps no gates but what the backward loop makes of them, the coefficients of its products, while they
  are in cache; computed for all steps at once between the two loops, each of them would pass through memory again.
- They are written over the input's product ``z``, which is read by then, and the gradients of the gates over them: one
  array, in place, instead of three that are filled with zeros first (:func:`scan_over`).
- The weights' gradients are formed after the loop, for all steps in one product.

Each takes and gives what :func:`jaxdl.functional.recurrent.steps.plain_scan` does, of at least one step; its ``z`` is
without the bias, which comes after ``u`` in the weights. The loops of both halves are differentiated again as plain
scans, so that second derivatives cost time in proportion to the steps. The GRUs are in
:mod:`jaxdl.functional.recurrent.fast_gru`.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl.core.spread import is_spread
from jaxdl.functional.recurrent.steps import hidden, plain_scan
from jaxdl.functional.shape import along_last

Pair = tuple[jax.Array, jax.Array]

Cell = Callable[..., tuple[Any, tuple[jax.Array, ...]]]
"""``cell(carry, z, *weights) -> carry, coefficients``, of which the first has the shape of ``z``."""


def halved(sigmoids: tuple[bool, ...], *arrays: jax.Array | None) -> tuple[Any, ...]:
    """Packed gates, each that is a sigmoid halved (which is exact, but for the smallest of numbers)."""

    def half(array: jax.Array) -> jax.Array:
        factors = np.repeat([0.5 if sigmoid else 1.0 for sigmoid in sigmoids], array.shape[-1] // len(sigmoids))
        return array * along_last(jnp.asarray(factors, array.dtype), array.ndim)

    return tuple(None if array is None else half(array) for array in arrays)


Body = Callable[[Any, Any, jax.Array, Any], tuple[Any, jax.Array, Any]]
"""``body(weights, carry, slot, inputs) -> carry, slot, outputs``: one step, and what takes the place of the slot; that
stands behind a barrier, so that XLA does not read the array once more for it, which would copy it in each round."""


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def scan_over(
    body: Body, reverse: bool, weights: Any, carry: Any, slots: jax.Array, inputs: Any
) -> tuple[Any, jax.Array, Any]:
    """The loop of ``body``: the last carry, the new slots, and all outputs.

    On CPU the slots are carried, and the new ones written over the old, in place. Its derivative is that of a plain
    ``lax.scan`` with slots in and out: of an array in the carry, it would pass through the whole array at each step.
    """
    cpu, default = (functools.partial(loop, body, reverse) for loop in (_written_over, _stacked))
    return lax.platform_dependent(weights, carry, slots, inputs, cpu=cpu, default=default)


def _written_over(
    body: Body, reverse: bool, weights: Any, carry: Any, slots: jax.Array, inputs: Any
) -> tuple[Any, jax.Array, Any]:
    def step(state: Any, inputs: Any) -> tuple[Any, Any]:
        (carry, slots), (t, inputs) = state, inputs
        carry, slot, outputs = body(weights, carry, lax.dynamic_index_in_dim(slots, t, keepdims=False), inputs)
        return (carry, lax.dynamic_update_index_in_dim(slots, slot, t, 0)), outputs

    # Unsigned, so that no round asks whether an index counts from the end.
    times = jnp.arange(slots.shape[0], dtype=jnp.uint32)
    (carry, slots), outputs = lax.scan(step, (carry, slots), (times, inputs), reverse=reverse)
    return carry, slots, outputs


def _stacked(
    body: Body, reverse: bool, weights: Any, carry: Any, slots: jax.Array, inputs: Any
) -> tuple[Any, jax.Array, Any]:
    def step(carry: Any, each: Any) -> tuple[Any, Any]:
        carry, slot, outputs = body(weights, carry, *each)
        return carry, (slot, outputs)

    carry, (slots, outputs) = lax.scan(step, carry, (slots, inputs), reverse=reverse)
    return carry, slots, outputs


@scan_over.defjvp
def _scan_over_jvp(body: Body, reverse: bool, primals: Any, tangents: Any) -> tuple[Any, Any]:
    return jax.jvp(functools.partial(_stacked, body, reverse), primals, tangents)


def value_scan(cell: Cell, reverse: bool, z: jax.Array, weights: Any, carry: Any, real: Any) -> tuple[jax.Array, Any]:
    """The loop of a cell without what only its derivative needs."""
    return plain_scan(lambda *arguments: cell(*arguments)[0], reverse, z, weights, carry, real)


def forward_scan(
    cell: Cell, padded: tuple[int, ...], reverse: bool, z: jax.Array, weights: Any, carry: Any, real: Any
) -> tuple[tuple[jax.Array, Any], tuple[jax.Array, ...]]:
    """The loop of a cell and its coefficients at each step; ``padded`` are theirs at a step that changes nothing."""

    def body(weights: Any, carry: Any, z: jax.Array, real: Any) -> tuple[Any, jax.Array, Any]:
        new, coefficients = cell(carry, z, *weights)
        if real is not None:
            new = jax.tree.map(lambda new, old: jnp.where(real, new, old), new, carry)
            coefficients = tuple(jnp.where(real, *pair) for pair in zip(coefficients, padded, strict=True))
        first, *others = coefficients
        return new, lax.optimization_barrier(first), (hidden(new), *others)

    carry, first, (hs, *others) = scan_over(body, reverse, weights, carry, z, real)
    return (hs, carry), (first, *others)


def backward_scan(
    step: Callable[..., tuple[Any, jax.Array, Any]],
    reverse: bool,
    weights: tuple[jax.Array, ...],
    carry: Any,
    coefficients: tuple[jax.Array, ...],
    dy: jax.Array,
    real: Any,
) -> tuple[Any, jax.Array, Any]:
    """The loop back, ``step(weights, carry, *coefficients) -> carry, dz, more``: the last carry, each dz, and all else.

    The weights come transposed. The carry's first entry is dh. Each dz, which must stand behind a barrier, takes the
    place of the first of the coefficients.
    """

    def body(weights: Any, carry: Any, first: jax.Array, inputs: Any) -> tuple[Any, jax.Array, Any]:
        (dh, *rest), (dy, real, others) = carry, inputs
        dh = dh + dy
        (back, *rest), dz, more = step(weights, (dh, *rest), first, *others)
        back = back if real is None else jnp.where(real, back, dh)
        return (back, *rest), dz, more

    first, *others = coefficients
    # Behind a barrier, so that no round transposes them.
    turned = lax.optimization_barrier(tuple(weight.T for weight in weights))
    return scan_over(body, not reverse, turned, tuple(carry), first, (dy, real, others))


def before(reverse: bool, first: jax.Array, states: jax.Array) -> jax.Array:
    """The state that each step started from."""
    if reverse:
        return jnp.concatenate([states, first[None]])[1:]
    return jnp.concatenate([first[None], states])[:-1]


def weight_gradient(inputs: jax.Array, outputs: jax.Array) -> jax.Array:
    """The gradient of ``u`` in ``inputs @ u``, over all steps and examples in one product."""
    if is_spread():
        return jnp.einsum("tbi,tbo->io", inputs, outputs)
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

    def step(
        weights: tuple[jax.Array], carry: tuple[jax.Array], slope: jax.Array
    ) -> tuple[tuple[jax.Array], jax.Array, None]:
        dz = lax.optimization_barrier(carry[0] * slope)
        return (dz @ weights[0],), dz, None

    (dh,), dz, _ = backward_scan(step, reverse, (u,), (gradients[1],), coefficients, gradients[0], real)
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

    def step(
        weights: tuple[jax.Array], carry: Pair, gates: jax.Array, slope: jax.Array, f: jax.Array
    ) -> tuple[Pair, jax.Array, None]:
        dh, dc = carry
        dc = dc + dh * slope
        dz = lax.optimization_barrier(gates * jnp.concatenate([dc, dc, dc, dh], axis=-1))
        return (dz @ weights[0], dc * f), dz, None

    carry, dz, _ = backward_scan(step, reverse, (u,), gradients[1], coefficients, gradients[0], real)
    return dz, (weight_gradient(before(reverse, first, hs), dz), dz.sum((0, 1))), carry, None


lstm_scan.defvjp(_lstm_forward, _lstm_backward)
