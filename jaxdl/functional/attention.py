"""Attention."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from jaxdl.core.checks import check_lengths, floating, positive_int
from jaxdl.core.errors import bad_value, describe
from jaxdl.core.spread import is_spread


def attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    *,
    mask: jax.Array | None = None,
    bias: jax.Array | None = None,
    causal: bool = False,
    window: int | None = None,
    lengths: Any = None,
    offset: Any = None,
    drop: Callable[[jax.Array], jax.Array] | None = None,
) -> jax.Array:
    """Scaled dot-product attention, ``y = softmax(q kᵀ / √features + bias) v``, for each example and head.

    With fewer key heads than query heads, each is shared by a group of neighbours: query head h meets key head
    ``h // (heads / kv_heads)``; one key head is multi-query attention.

    A query sees the keys that ``mask``, ``causal``, ``window`` and ``lengths`` all let it see. One that sees no key
    gives zeros, and zero gradients (where older PyTorch gave nan, and Flax and :mod:`jax.nn` the mean of all
    values). The softmax is in ``promote_types(query.dtype, float32)``, so that float64 stays float64, which
    :func:`jax.nn.dot_product_attention` narrows to float32.

    **Shapes** ``query: (batch, time, heads, features)``, ``key: (batch, keys, kv_heads, features)``,
    ``value: (batch, keys, kv_heads, out)`` ``-> (batch, time, heads, out)``. ``mask`` and ``bias``: four axes,
    (batch, heads, time, keys), each of that size or 1. ``lengths``, ``offset``: ``(batch,)``.

    **Args** ``mask``: booleans, True where a query sees a key; ``bias``: numbers added to the scores, where −∞ hides
    a key; ``causal``: a query at position p sees the keys at p and before; ``window``: it sees only the keys less than
    so many positions away, itself counted, so that a causal query sees the last ``window`` (``window=w`` is
    ``local_window_size=w - 1`` of jax.nn); ``lengths``: how many keys of each example are real,
    whatever the others hold, also nan; ``offset``: the position of the first query among the keys, by default 0, for a
    query that goes on where a cache of keys ends; ``drop``: what is done to the weights before they meet the values,
    such as ``partial(dropout, key, rate=0.1)``.

    **Raises** ``ValueError`` for shapes that do not fit, ``TypeError`` for dtypes that do not.

    Example:
        >>> import jax.numpy as jnp
        >>> words = jnp.arange(6.0).reshape(1, 3, 1, 2)
        >>> y = attention(words, words, words, causal=True)
        >>> y.shape, y[0, 0, 0].tolist()
        ((1, 3, 1, 2), [0.0, 1.0])

    **References** Vaswani et al., Attention is all you need, 2017; Shazeer, Fast transformer decoding: one write-head
    is all you need, 2019; Ainslie et al., GQA: training generalized multi-query transformer models, 2023; Beltagy,
    Peters and Cohan, Longformer, 2020 (the window).
    """
    _check_attention(query, key, value)
    lengths, offset = check_lengths("attention", lengths, key), _check_offset(offset, query.shape[0])
    batch, time, heads, features = query.shape
    keys, kv_heads, out = key.shape[1], key.shape[2], value.shape[-1]
    visible = _visible(query, key, mask, bias, causal, window, lengths, offset)
    if not keys:
        return jnp.zeros((batch, time, heads, out), query.dtype)
    if lengths is not None:  # a weight of zero times inf or nan would be nan
        real = (jnp.arange(keys)[None] < lengths[:, None])[:, :, None, None]
        key, value = jnp.where(real, key, 0), jnp.where(real, value, 0)
    dtype = jnp.promote_types(query.dtype, jnp.float32)
    # Heads beside the batch, so that both products are plain batched ones, and the query heads that share a key head
    # beside time, so that no key is repeated.
    groups = (batch, kv_heads) if is_spread() else (batch * kv_heads,)
    q = query.swapaxes(1, 2).reshape(*groups, heads // kv_heads * time, features)
    k = key.swapaxes(1, 2).reshape(*groups, keys, features)
    v = value.swapaxes(1, 2).reshape(*groups, keys, out)
    scores = jnp.einsum("...tf,...kf->...tk", q, k, preferred_element_type=dtype) / math.sqrt(features)
    scores = scores.reshape(batch, heads, time, keys)
    if bias is not None:
        scores = scores + jnp.where(bias != -jnp.inf, bias, 0).astype(dtype)
    if drop is None:
        y = _mixed(scores, visible, v)
    else:
        y = _met(drop(_weights(scores, visible)), v)
    return y.reshape(batch, heads, time, out).swapaxes(1, 2).astype(query.dtype)


def _weights(scores: jax.Array, visible: jax.Array | None) -> jax.Array:
    """The softmax of the scores that are visible, zero elsewhere."""
    if visible is None:
        return jax.nn.softmax(scores)
    return jnp.where(visible, jax.nn.softmax(jnp.where(visible, scores, jnp.finfo(scores.dtype).min)), 0)


def _met(weights: jax.Array, v: jax.Array) -> jax.Array:
    """Weights (batch, heads, time, keys) times the values (batch · kv_heads, keys, out), or (batch, kv_heads, …)."""
    rows = weights.size // max(math.prod(v.shape[:-1]), 1)
    flat = weights.astype(v.dtype).reshape(*v.shape[:-2], rows, v.shape[-2])
    return jnp.einsum("...tk,...kf->...tf", flat, v, preferred_element_type=weights.dtype)


@jax.custom_jvp
def _mixed(scores: jax.Array, visible: jax.Array | None, v: jax.Array) -> jax.Array:
    """The values as the scores weigh them.

    Its derivative takes the softmax's sum over the keys after the product, from the result: the gradient sums over
    features then, which are fewer than keys, and goes through the weights once.
    """
    return _met(_weights(scores, visible), v)


def _mixed_jvp(
    primals: tuple[jax.Array, jax.Array | None, jax.Array], tangents: tuple[Any, Any, Any]
) -> tuple[jax.Array, jax.Array]:
    (scores, visible, v), (dscores, _, dv) = primals, tangents
    weights = _weights(scores, visible)
    y = _met(weights, v)
    dy = jnp.zeros_like(y) if isinstance(dv, SymbolicZero) else _met(weights, dv)
    if isinstance(dscores, SymbolicZero):
        return y, dy
    # What is hidden has a weight of zero, but may have a gradient of inf in half precision.
    change = weights * dscores if visible is None else jnp.where(visible, weights * dscores, 0)
    total = change.sum(-1).reshape(*y.shape[:-1], 1)
    return y, dy + _met(change, v) - y * total


_mixed.defjvp(_mixed_jvp, symbolic_zeros=True)


def _visible(
    query: jax.Array,
    key: jax.Array,
    mask: jax.Array | None,
    bias: jax.Array | None,
    causal: bool,
    window: int | None,
    lengths: jax.Array | None,
    offset: jax.Array | None,
) -> jax.Array | None:
    """Where a query sees a key: (batch, heads, time, keys), each of that size or 1; None where all see all."""
    shape = (query.shape[0], query.shape[2], query.shape[1], key.shape[1])
    seen: list[jax.Array] = []
    if mask is not None:
        _check_scores("mask", mask, shape)
        if mask.dtype != jnp.bool_:
            raise bad_value("attention", "mask must be of booleans", mask, "Did you mean bias=…, or mask.astype(bool)?")
        seen.append(mask)
    if bias is not None:
        floating("attention", "bias", bias)
        _check_scores("bias", bias, shape)
        seen.append(bias != -jnp.inf)
    places = jnp.arange(shape[3]).reshape(1, 1, 1, shape[3])
    if causal or window is not None:
        start = jnp.zeros(1, jnp.int32) if offset is None else offset
        ahead = places - jnp.arange(shape[2]).reshape(1, 1, shape[2], 1) - start.reshape(start.shape[0], 1, 1, 1)
        if causal:
            seen.append(ahead <= 0)
        if window is not None:
            seen.append(jnp.abs(ahead) < positive_int("attention", "window", window))
    if lengths is not None:
        seen.append(places < lengths.reshape(shape[0], 1, 1, 1))
    return functools.reduce(jnp.logical_and, seen) if seen else None


def _check_attention(query: jax.Array, key: jax.Array, value: jax.Array) -> None:
    for name, array in (("query", query), ("key", key), ("value", value)):
        floating("attention", name, array)
        if array.ndim != 4:
            raise bad_value("attention", f"{name} must have four axes, (batch, time, heads, features)", array)
    batch, _, heads, features = query.shape
    if key.shape[0] != batch or key.shape[3] != features or not features:
        needs = f"key must have shape ({batch}, keys, kv_heads, {features}) for query {describe(query)}"
        raise bad_value("attention", needs, key)
    if value.shape[:3] != key.shape[:3]:
        raise bad_value("attention", f"value must have shape {key.shape[:3]} and features, as the key", value)
    if not key.shape[2] or heads % key.shape[2]:
        raise bad_value("attention", f"key must have a number of heads that divides the query's {heads}", key)


def _check_offset(offset: Any, batch: int) -> jax.Array | None:
    """The offset as an int32 array, None for none; an error unless it has an integer for each example."""
    if offset is None:
        return None
    values = offset if hasattr(offset, "dtype") else np.asarray(offset)
    if values.shape != (batch,) or not jnp.issubdtype(values.dtype, jnp.integer):
        raise bad_value("attention", f"offset must be integers of shape ({batch},)", values)
    return jnp.asarray(values, jnp.int32)


def _check_scores(name: str, array: jax.Array, shape: tuple[int, ...]) -> None:
    """Raise unless the array has an axis of the full size or of size 1 for each axis of the scores."""
    if array.ndim != 4 or any(size not in (1, full) for size, full in zip(array.shape, shape, strict=False)):
        needs = f"{name} must have four axes, (batch, heads, time, keys), {shape} here, each of that size or 1"
        raise bad_value("attention", needs, array)
