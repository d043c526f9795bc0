"""Pooling to a given number of positions, channels last."""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxdl.core.checks import per_axis
from jaxdl.core.errors import bad_value
from jaxdl.functional.moments import check_where
from jaxdl.functional.pool import avg_pool, check_pool, max_pool
from jaxdl.functional.window import Sizes


def global_avg_pool(x: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """The mean over all spatial axes, accumulated in ``promote_types(x.dtype, float32)``.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, channels)``.

    **Args** ``where``: booleans with an axis for each of ``x``'s, the last of size 1: the positions that count. An
    example without such a position has a mean of zeros.

    **Raises** ``ValueError`` for a wrong rank, a spatial axis of size 0 or a mask that does not fit, ``TypeError`` for
    an input that is not floating.

    Example:
        >>> import jax.numpy as jnp
        >>> global_avg_pool(jnp.ones((2, 4, 4, 3))).shape
        (2, 3)

    **References** Lin, Chen and Yan, Network in network, 2013.
    """
    _check_global("global_avg_pool", x, where)
    axes, dtype = tuple(range(1, x.ndim - 1)), jnp.promote_types(x.dtype, jnp.float32)
    if where is None:
        return jnp.mean(x, axes, dtype).astype(x.dtype)
    count = jnp.broadcast_to(where, (*x.shape[:-1], 1)).sum(axes, dtype=dtype)
    return (jnp.where(where, x, 0).sum(axes, dtype=dtype) / jnp.maximum(count, 1)).astype(x.dtype)


def global_max_pool(x: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """The largest value over all spatial axes; on ties the first, row by row, takes the whole gradient.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, channels)``.

    **Args** ``where``: as in :func:`global_avg_pool`; an example without a position that counts gives zeros.

    **Raises** as in :func:`global_avg_pool`.

    Example:
        >>> import jax.numpy as jnp
        >>> global_max_pool(jnp.arange(12.0).reshape(1, 2, 3, 2))
        Array([[10., 11.]], dtype=float32)

    **References** Oquab, Bottou, Laptev and Sivic, Is object localization for free?, 2015.
    """
    _check_global("global_max_pool", x, where)
    if where is None:
        return _first_max(lax.collapse(x, 1, x.ndim - 1), 1)[:, 0]
    some = where.any(tuple(range(1, x.ndim - 1)))
    low = jnp.where(where, x, -jnp.inf)
    return jnp.where(some, _first_max(lax.collapse(low, 1, x.ndim - 1), 1)[:, 0], 0)


def adaptive_avg_pool(x: jax.Array, output_size: Sizes) -> jax.Array:
    """The mean of ``output_size`` windows that cover each axis as evenly as they can.

    Of n elements and m windows, window i holds those from ``floor(i·n/m)`` up to, but not including,
    ``ceil((i + 1)·n/m)``, as in PyTorch: sizes differ by one, and neighbours may share an element. Accumulated in
    ``promote_types(x.dtype, float32)``.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, *output_size, channels)``.

    **Args** ``output_size``: an int or one for each spatial axis; it may be larger than the input.

    **Raises** ``ValueError`` for a wrong rank or a spatial axis of size 0, ``TypeError`` for an input that is not
    floating.

    Example:
        >>> import jax.numpy as jnp
        >>> adaptive_avg_pool(jnp.arange(5.0).reshape(1, 5, 1), 2).ravel()
        Array([1., 3.], dtype=float32)
    """
    sizes = _output_sizes("adaptive_avg_pool", x, output_size)
    if (window := _even(x, sizes)) is not None:
        return avg_pool(x, window)
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return _by_axis(lambda part, axis: jnp.mean(part, axis, keepdims=True), wide, sizes).astype(x.dtype)


def adaptive_max_pool(x: jax.Array, output_size: Sizes) -> jax.Array:
    """The largest value of each of the windows of :func:`adaptive_avg_pool`.

    On ties the first element of a window, row by row, takes the whole gradient.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, *output_size, channels)``.

    **Args**, **Raises** as in :func:`adaptive_avg_pool`.

    Example:
        >>> import jax.numpy as jnp
        >>> adaptive_max_pool(jnp.arange(5.0).reshape(1, 5, 1), 2).ravel()
        Array([2., 4.], dtype=float32)
    """
    sizes = _output_sizes("adaptive_max_pool", x, output_size)
    if (window := _even(x, sizes)) is not None:
        return max_pool(x, window)
    return _by_axis(_first_max, x, sizes)


def _output_sizes(call: str, x: jax.Array, output_size: Sizes) -> tuple[int, ...]:
    check_pool(call, x)
    _check_some(call, x)
    return per_axis(call, "output_size", output_size, len(x.shape) - 2)


def _check_global(call: str, x: jax.Array, where: jax.Array | None) -> None:
    check_pool(call, x)
    _check_some(call, x)
    check_where(call, x, where)


def _check_some(call: str, x: jax.Array) -> None:
    if not all(x.shape[1:-1]):
        raise bad_value(call, "every spatial axis must have at least one element", x)


def _even(x: jax.Array, sizes: tuple[int, ...]) -> tuple[int, ...] | None:
    """The window that is the same everywhere, if there is one."""
    spatial = x.shape[1:-1]
    if any(n % m for n, m in zip(spatial, sizes, strict=True)):
        return None
    return tuple(n // m for n, m in zip(spatial, sizes, strict=True))


def _by_axis(reduce: Callable[[jax.Array, int], jax.Array], x: jax.Array, sizes: tuple[int, ...]) -> jax.Array:
    """Reduce the windows of one axis after the other: what is the first within a row, then the first row of such."""
    for axis, m in reversed(list(enumerate(sizes, start=1))):
        n = x.shape[axis]
        bounds = ((i * n // m, -(-(i + 1) * n // m)) for i in range(m))
        parts = itertools.starmap(lambda low, high, axis=axis, x=x: lax.slice_in_dim(x, low, high, axis=axis), bounds)
        x = jnp.concatenate([reduce(part, axis) for part in parts], axis)
    return x


def _first_max(x: jax.Array, axis: int) -> jax.Array:
    """The maximum along an axis, kept as one of size 1; of equals the first takes the gradient."""
    winner = jnp.argmax(x, axis, keepdims=True)
    place = lax.broadcasted_iota(winner.dtype, x.shape, axis)
    return jnp.sum(jnp.where(place == winner, x, 0), axis, keepdims=True, dtype=x.dtype)
