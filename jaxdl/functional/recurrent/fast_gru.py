"""The loops of gated recurrent units with derivatives of their own; see :mod:`jaxdl.functional.recurrent.fast`."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxdl.functional.recurrent.fast import Pair, backward_scan, before, forward_scan, value_scan, weight_gradient

GRU_SIGMOIDS = (True, True, False)

Coefficients = tuple[jax.Array, ...]


# Reset after the product: n = tanh(z_n + r (h U_n + b)), h' = n + z (h - n)


def _after_cell(
    h: jax.Array, z: jax.Array, u: jax.Array, bias: jax.Array, inner_bias: jax.Array
) -> tuple[jax.Array, Coefficients]:
    """Its coefficients: what each part of ``h U`` gives to h', what h gives to h', and ``z_n`` to h'."""
    size = 2 * h.shape[-1]
    product = h @ u
    t = jnp.tanh(z[:, :size] + product[:, :size] + bias[None, :size])
    r, update = jnp.split(0.5 * t + 0.5, 2, axis=-1)
    inner = product[:, size:] + inner_bias[None]
    n = jnp.tanh(z[:, size:] + bias[None, size:] + r * inner)
    to_n = (1 - update) * (1 - n * n)
    to_gates = jnp.concatenate([0.5 * to_n * inner, 0.5 * (h - n)], axis=-1) * (1 - t * t)
    return n + update * (h - n), (jnp.concatenate([to_gates, to_n * r], axis=-1), update, to_n)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def gru_after_scan(
    reverse: bool,
    z: jax.Array,
    weights: tuple[jax.Array, jax.Array, jax.Array],
    h: jax.Array,
    real: jax.Array | None,
) -> Pair:
    """The loop of a GRU with the reset gate after the product; the weights of its sigmoid gates are halved."""
    return value_scan(_after_cell, reverse, z, weights, h, real)


def _after_forward(reverse: bool, z: Any, weights: Any, h: Any, real: Any) -> tuple[Any, Any]:
    found, coefficients = forward_scan(_after_cell, (0, 1, 0), reverse, z, weights, h, real)
    return found, (coefficients, found[0], weights[0], h, real)


def _after_backward(reverse: bool, saved: Any, gradients: Pair) -> tuple[Any, ...]:
    (gates, update, to_n), hs, u, first, real = saved
    size = hs.shape[-1]

    def step(
        weights: tuple[jax.Array], carry: tuple[jax.Array], gates: jax.Array, update: jax.Array, to_n: jax.Array
    ) -> tuple[tuple[jax.Array], jax.Array, jax.Array]:
        (dh,) = carry
        dproduct = lax.optimization_barrier(gates * jnp.concatenate([dh, dh, dh], axis=-1))
        return (dh * update + dproduct @ weights[0],), dproduct, dh * to_n

    coefficients = gates, update, to_n
    (dh,), dproduct, dn = backward_scan(step, reverse, (u,), (gradients[1],), coefficients, gradients[0], real)
    dz = jnp.concatenate([dproduct[..., : 2 * size], dn], axis=-1)
    dinner = dproduct[..., 2 * size :].sum((0, 1))
    return dz, (weight_gradient(before(reverse, first, hs), dproduct), dz.sum((0, 1)), dinner), dh, None


gru_after_scan.defvjp(_after_forward, _after_backward)


# Reset before the product: n = tanh(z_n + (r h) U_n), h' = n + z (h - n)


def _before_cell(
    h: jax.Array, z: jax.Array, u: jax.Array, u_n: jax.Array, bias: jax.Array
) -> tuple[jax.Array, Coefficients]:
    """Its coefficients: what r gives to ``r h`` and the other two gates to h', all before their tanh; what h gives to
    h', and to ``r h``."""
    size = 2 * h.shape[-1]
    t = jnp.tanh(z[:, :size] + h @ u + bias[None, :size])
    r, update = jnp.split(0.5 * t + 0.5, 2, axis=-1)
    n = jnp.tanh(z[:, size:] + (r * h) @ u_n + bias[None, size:])
    to_gates = jnp.concatenate([0.5 * h, 0.5 * (h - n)], axis=-1) * (1 - t * t)
    gates = jnp.concatenate([to_gates, (1 - update) * (1 - n * n)], axis=-1)
    return n + update * (h - n), (gates, update, r)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def gru_before_scan(
    reverse: bool,
    z: jax.Array,
    weights: tuple[jax.Array, jax.Array, jax.Array],
    h: jax.Array,
    real: jax.Array | None,
) -> Pair:
    """The loop of a GRU with the reset gate before the product; the weights of its sigmoid gates are halved.

    The recurrent kernel comes in two, of r and z and of n: a slice of it would be taken in every round.
    """
    return value_scan(_before_cell, reverse, z, weights, h, real)


def _before_forward(reverse: bool, z: Any, weights: Any, h: Any, real: Any) -> tuple[Any, Any]:
    found, coefficients = forward_scan(_before_cell, (0, 1, 0), reverse, z, weights, h, real)
    return found, (coefficients, found[0], weights[:2], h, real)


def _before_backward(reverse: bool, saved: Any, gradients: Pair) -> tuple[Any, ...]:
    (gates, update, r), hs, (u, u_n), first, real = saved
    size = 2 * hs.shape[-1]

    def step(
        weights: Pair, carry: tuple[jax.Array], gates: jax.Array, update: jax.Array, r: jax.Array
    ) -> tuple[tuple[jax.Array], jax.Array, None]:
        (ut, n_t), (dh,) = weights, carry
        dn = lax.optimization_barrier(gates[:, size:] * dh)
        dreset = dn @ n_t
        dgates = lax.optimization_barrier(gates[:, :size] * jnp.concatenate([dreset, dh], axis=-1))
        return (dh * update + dreset * r + dgates @ ut,), jnp.concatenate([dgates, dn], axis=-1), None

    (dh,), dz, _ = backward_scan(step, reverse, (u, u_n), (gradients[1],), (gates, update, r), gradients[0], real)
    h = before(reverse, first, hs)
    du, du_n = weight_gradient(h, dz[..., :size]), weight_gradient(r * h, dz[..., size:])
    return dz, (du, du_n, dz.sum((0, 1))), dh, None


gru_before_scan.defvjp(_before_forward, _before_backward)
