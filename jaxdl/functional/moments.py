"""Means and variances, and what is normalised by them: what the norms share."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxdl.core.errors import bad_value, describe
from jaxdl.functional.shape import along_last


def check_vectors(call: str, x: jax.Array, **vectors: jax.Array | None) -> None:
    """Raise unless each vector has an entry for each channel."""
    for name, vector in vectors.items():
        if vector is not None and vector.shape != x.shape[-1:]:
            raise bad_value(call, f"{name} must have shape {x.shape[-1:]} for input {describe(x)}", vector)


def check_where(call: str, x: jax.Array, where: jax.Array | None) -> None:
    """Raise unless the mask is of booleans and broadcasts to ``x``."""
    if where is None:
        return
    if where.ndim != x.ndim or where.shape[-1] != 1:
        raise bad_value(call, f"where must have {x.ndim} axes, the last of size 1", where)
    if where.dtype != jnp.bool_:
        raise bad_value(call, "where must be of booleans", where, "Did you mean where.astype(bool)?")
    if any(size not in (1, full) for size, full in zip(where.shape, x.shape, strict=True)):
        raise bad_value(call, f"each axis of where must have size 1 or that of input {describe(x)}", where)


def widened(x: jax.Array, where: jax.Array | None = None) -> jax.Array:
    """In the dtype of statistics; what is masked is 0, as it may be anything, also inf or nan."""
    return _kept(x.astype(jnp.promote_types(x.dtype, jnp.float32)), where)


def _kept(x: jax.Array, where: jax.Array | None) -> jax.Array:
    return x if where is None else jnp.where(where, x, 0)


def moments(
    wide: jax.Array, axes: tuple[int, ...], where: jax.Array | None = None, groups: int | None = None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mean, biased variance and count over ``axes`` of what ``where`` keeps; the axes stay, with size 1.

    With ``groups``, each channel has the figures of its group. Two passes: the variance is that of the deviations.
    """
    members = 1 if groups is None else wide.shape[-1] // groups
    if where is None:
        count = jnp.full((1,) * wide.ndim, math.prod(wide.shape[axis] for axis in axes), wide.dtype)
    else:
        count = jnp.broadcast_to(where, (*wide.shape[:-1], 1)).sum(axes, dtype=wide.dtype, keepdims=True)
    share = 1 / jnp.maximum(members * count, 1)

    def mean(array: jax.Array) -> jax.Array:
        total = array.sum(axes, keepdims=True)
        if groups is not None:
            each = total.reshape(total.shape[0], groups, members)
            total = jnp.broadcast_to(each.sum(-1, keepdims=True), each.shape).reshape(total.shape)
        return total * share

    centre = mean(wide)
    return centre, mean(jnp.square(_kept(wide - centre, where))), count


def normalised(
    wide: jax.Array,
    mean: jax.Array,
    var: jax.Array,
    scale: jax.Array | None,
    bias: jax.Array | None,
    epsilon: float,
) -> jax.Array:
    """``(x − mean) / √(var + ε) · scale + bias``."""
    factor = lax.rsqrt(var + epsilon)
    if scale is not None:
        factor = factor * along_last(scale, wide.ndim)
    y = (wide - mean) * factor
    return y if bias is None else y + along_last(bias, wide.ndim)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def standardised(wide: jax.Array, epsilon: float, centred: bool) -> jax.Array:
    """``(x − μ) / √(σ² + ε)`` over the last axis; not centred, ``x / √(mean(x²) + ε)``.

    Its derivative is the closed form, from which the gradient follows by transposition. Of JAX's own, XLA on CPU fuses
    that of each norm into those of all norms before it along a residual stream, and so computes it many times.
    """
    return _standardised(wide, epsilon, centred)[0]


def _standardised(wide: jax.Array, epsilon: float, centred: bool) -> tuple[jax.Array, jax.Array]:
    """The result, and the factor ``1 / √(σ² + ε)`` of each position."""
    deviation = wide - wide.mean(-1, keepdims=True) if centred else wide
    factor = lax.rsqrt(jnp.square(deviation).mean(-1, keepdims=True) + epsilon)
    return deviation * factor, factor


@standardised.defjvp
def _standardised_jvp(
    epsilon: float, centred: bool, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    y, factor = _standardised(*primals, epsilon, centred)
    (dx,) = tangents
    dy = dx - y * (y * dx).mean(-1, keepdims=True)
    return y, factor * (dy - dx.mean(-1, keepdims=True) if centred else dy)


@functools.partial(jax.custom_jvp, nondiff_argnums=(4,))
def batch_normalised(
    wide: jax.Array, where: jax.Array | None, scale: jax.Array | None, bias: jax.Array | None, epsilon: float
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """:func:`normalised` by its own :func:`moments` over all axes but the last, and these.

    Its derivative is written down: with ``x̂ = (x − μ) / √(σ² + ε)``, ``s = scale / √(σ² + ε)`` and means over the
    batch, ``ẏ = s ẋ + (ḃias − s mean(ẋ)) + x̂ (ṡcale − s mean(x̂ ẋ))``. Transposed, this is two sums over ``dy`` and
    one more pass; ``python -m benchmarks.lowerings --only batch_norm`` prints it beside the derivative that JAX finds.
    """
    mean, var, count = moments(wide, tuple(range(wide.ndim - 1)), where)
    return normalised(wide, mean, var, scale, bias, epsilon), mean, var, count


@batch_normalised.defjvp
def _batch_normalised_jvp(
    epsilon: float, primals: tuple[Any, Any, Any, Any], tangents: tuple[Any, Any, Any, Any]
) -> tuple[Any, Any]:
    wide, where, scale, bias = primals
    dwide, _, dscale, dbias = tangents
    y, mean, var, count = batch_normalised(wide, where, scale, bias, epsilon)
    deviation, factor = wide - mean, lax.rsqrt(var + epsilon)
    slope = factor if scale is None else factor * along_last(scale, wide.ndim)

    def average(array: jax.Array) -> jax.Array:
        return array.sum(tuple(range(wide.ndim - 1)), keepdims=True) / jnp.maximum(count, 1)

    dmean, along = average(dwide), average(deviation * dwide)
    lift, tilt = -slope * dmean, -slope * factor * along
    lift = lift if bias is None else lift + along_last(dbias, wide.ndim)
    tilt = tilt if scale is None else tilt + along_last(dscale, wide.ndim)
    dy = slope * dwide + lift + deviation * (factor * tilt)
    return (y, mean, var, count), (dy, dmean, 2 * along, jnp.zeros_like(count))
