"""The loops over time with derivatives of their own: all that does not recur stands outside of both loops.

A round of a loop costs by its number of operations, so these keep few: the weights of the sigmoid gates come halved, as
``σ(z) = ½ tanh(½ z) + ½``, and one tanh serves all gates. What the backward loop needs of the gates is computed for all
steps at once before it (a barrier keeps XLA from pulling that into the loop), and it carries only what recurs; the
gradients of the gates and of the weights are formed for all steps at once after it.

The GRU with the reset gate before the product is not here: its second product leaves too little outside of the loops,
and in measurement the plain loop was as fast.

Each takes and gives what :func:`jaxdl.functional.recurrent.steps.plain_scan` does. The backward halves are plain
functions of arrays, so that they can be differentiated again.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl.functional.shape import along_last

Pair = tuple[jax.Array, jax.Array]


def halved(sigmoids: tuple[bool, ...], *arrays: jax.Array | None) -> tuple[Any, ...]:
    """Packed gates, each that is a sigmoid halved (which is exact)."""

    def half(array: jax.Array) -> jax.Array:
        factors = np.repeat([0.5 if sigmoid else 1.0 for sigmoid in sigmoids], array.shape[-1] // len(sigmoids))
        return array * along_last(jnp.asarray(factors, array.dtype), array.ndim)

    return tuple(None if array is None else half(array) for array in arrays)


def _before(reverse: bool, first: jax.Array, states: jax.Array) -> jax.Array:
    """The state that each step started from."""
    if reverse:
        return jnp.concatenate([states, first[None]])[1:]
    return jnp.concatenate([first[None], states])[:-1]


def _weight_gradient(inputs: jax.Array, outputs: jax.Array) -> jax.Array:
    """The gradient of ``u`` in ``inputs @ u``, over all steps and examples in one product."""
    rows = inputs.shape[0] * inputs.shape[1]
    return inputs.reshape(rows, inputs.shape[2]).T @ outputs.reshape(rows, outputs.shape[2])


def _where(real: jax.Array | None, value: jax.Array, padded: Any) -> jax.Array:
    return value if real is None else jnp.where(real, value, padded)


# Simple RNN: h' = tanh(z + h U)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def simple_rnn_scan(
    reverse: bool, z: jax.Array, weights: tuple[jax.Array], h: jax.Array, real: jax.Array | None
) -> Pair:
    """The loop of ``h' = tanh(z + h U)``."""
    (u,) = weights

    def step(h: jax.Array, inputs: Any) -> Pair:
        z, real = inputs
        h = _where(real, jnp.tanh(z + h @ u), h)
        return h, h

    h, hs = lax.scan(step, h, (z, real), reverse=reverse)
    return hs, h


def _simple_rnn_forward(reverse: bool, z: Any, weights: Any, h: Any, real: Any) -> tuple[Pair, Any]:
    hs, last = simple_rnn_scan(reverse, z, weights, h, real)
    return (hs, last), (hs, weights, h, real)


def _simple_rnn_backward(reverse: bool, saved: Any, gradients: Pair) -> tuple[Any, ...]:
    hs, (u,), first, real = saved
    slope, ut = lax.optimization_barrier((_where(real, 1 - hs * hs, 0), u.T))

    def step(dh: jax.Array, inputs: Any) -> Pair:
        dy, slope, real = inputs
        dh = dh + dy
        dz = dh * slope
        back = dz @ ut
        return (back if real is None else jnp.where(real, back, dh)), dz

    dh, dz = lax.scan(step, gradients[1], (gradients[0], slope, real), reverse=not reverse)
    return dz, (_weight_gradient(_before(reverse, first, hs), dz),), dh, None


simple_rnn_scan.defvjp(_simple_rnn_forward, _simple_rnn_backward)


# LSTM: t = tanh(z + h U) of all gates; c' = f c + i g, h' = o tanh(c')

LSTM_SIGMOIDS = (True, True, False, True)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def lstm_scan(
    reverse: bool, z: jax.Array, weights: tuple[jax.Array], carry: Pair, real: jax.Array | None
) -> tuple[jax.Array, Pair]:
    """The loop of an LSTM whose sigmoid gates have halved weights."""
    return _lstm_forward(reverse, z, weights, carry, real)[0]


def _lstm_forward(reverse: bool, z: Any, weights: Any, carry: Pair, real: Any) -> tuple[Any, Any]:
    (u,) = weights

    def step(carry: Pair, inputs: Any) -> tuple[Pair, Any]:
        z, real = inputs
        h, c = carry
        t = jnp.tanh(z + h @ u)
        i, f, g, o = jnp.split(t, 4, axis=-1)
        new_c = (0.5 * f + 0.5) * c + (0.5 * i + 0.5) * g
        new_h = (0.5 * o + 0.5) * jnp.tanh(new_c)
        h, c = _where(real, new_h, h), _where(real, new_c, c)
        return (h, c), (t, h, c)

    last, (t, hs, cs) = lax.scan(step, carry, (z, real), reverse=reverse)
    return (hs, last), (t, hs, cs, weights, carry, real)


def _lstm_backward(reverse: bool, saved: Any, gradients: tuple[jax.Array, Pair]) -> tuple[Any, ...]:
    t, hs, cs, (u,), (first_h, first_c), real = saved
    ti, tf, g, to = jnp.split(t, 4, axis=-1)
    i, f, o, tc = 0.5 * ti + 0.5, 0.5 * tf + 0.5, 0.5 * to + 0.5, jnp.tanh(cs)
    # What each gate before its tanh gives to c, and to h at a c that stands still; and what c gives to h.
    gate = jnp.concatenate([0.5 * g, 0.5 * _before(reverse, first_c, cs), i, 0.5 * tc], axis=-1) * (1 - t * t)
    gate, slope, f = _where(real, gate, 0), _where(real, o * (1 - tc * tc), 0), _where(real, f, 1)
    gate, slope, f, ut = lax.optimization_barrier((gate, slope, f, u.T))

    def step(carry: Pair, inputs: Any) -> tuple[Pair, Pair]:
        dy, gate, slope, f, real = inputs
        dh, dc = carry
        dh = dh + dy
        dc = dc + dh * slope
        back = (gate * jnp.concatenate([dc, dc, dc, dh], axis=-1)) @ ut
        return ((back if real is None else jnp.where(real, back, dh)), dc * f), (dh, dc)

    first, (dh, dc) = lax.scan(step, gradients[1], (gradients[0], gate, slope, f, real), reverse=not reverse)
    dz = gate * jnp.concatenate([dc, dc, dc, dh], axis=-1)
    return dz, (_weight_gradient(_before(reverse, first_h, hs), dz),), first, None


lstm_scan.defvjp(_lstm_forward, _lstm_backward)


# GRU, reset after the product: n = tanh(z_n + r (h U_n + b)), h' = n + z (h - n)

GRU_SIGMOIDS = (True, True, False)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def gru_after_scan(reverse: bool, z: jax.Array, weights: Pair, h: jax.Array, real: jax.Array | None) -> Pair:
    """The loop of a GRU with the reset gate after the product; the weights of its sigmoid gates are halved."""
    return _gru_after_forward(reverse, z, weights, h, real)[0]


def _gru_after_forward(reverse: bool, z: Any, weights: Any, h: Any, real: Any) -> tuple[Pair, Any]:
    u, bias = weights
    size = 2 * h.shape[-1]

    def step(h: jax.Array, inputs: Any) -> tuple[jax.Array, Any]:
        z, real = inputs
        product = h @ u
        t = jnp.tanh(z[:, :size] + product[:, :size])
        r, update = jnp.split(0.5 * t + 0.5, 2, axis=-1)
        inner = product[:, size:] + bias[None]
        n = jnp.tanh(z[:, size:] + r * inner)
        h = _where(real, n + update * (h - n), h)
        return h, (t, inner, n, h)

    last, (t, inner, n, hs) = lax.scan(step, h, (z, real), reverse=reverse)
    return (hs, last), (t, inner, n, hs, weights, h, real)


def _gru_after_backward(reverse: bool, saved: Any, gradients: Pair) -> tuple[Any, ...]:
    t, inner, n, hs, (u, _), first, real = saved
    r, update = jnp.split(0.5 * t + 0.5, 2, axis=-1)
    before = _before(reverse, first, hs)
    to_n = _where(real, (1 - update) * (1 - n * n), 0)
    to_gates = jnp.concatenate([0.5 * to_n * inner, _where(real, 0.5 * (before - n), 0)], axis=-1) * (1 - t * t)
    gate = jnp.concatenate([to_gates, to_n * r], axis=-1)
    gate, kept, ut = lax.optimization_barrier((gate, _where(real, update, 1), u.T))

    def step(dh: jax.Array, inputs: Any) -> Pair:
        dy, gate, kept = inputs
        dh = dh + dy
        return dh * kept + (gate * jnp.concatenate([dh, dh, dh], axis=-1)) @ ut, dh

    first_dh, dh = lax.scan(step, gradients[1], (gradients[0], gate, kept), reverse=not reverse)
    dproduct = gate * jnp.concatenate([dh, dh, dh], axis=-1)
    dz = jnp.concatenate([dproduct[..., : t.shape[-1]], dh * to_n], axis=-1)
    dbias = dproduct[..., t.shape[-1] :].sum((0, 1))
    return dz, (_weight_gradient(before, dproduct), dbias), first_dh, None


gru_after_scan.defvjp(_gru_after_forward, _gru_after_backward)
