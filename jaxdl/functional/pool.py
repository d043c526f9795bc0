"""Pooling over any number of spatial axes, channels last."""

import functools
import math
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl.core.checks import floating
from jaxdl.core.errors import bad_value
from jaxdl.functional.window import Padding, Window, check_spatial, make_window

Method = Literal["auto", "lax"]
Sizes = int | Sequence[int]


def check_pool(call: str, x: jax.Array) -> None:
    """Raise unless ``x`` is a floating array ``(batch, *spatial, channels)``."""
    floating(call, "input", x)
    check_spatial(call, x)


def max_pool(
    x: jax.Array,
    window: Sizes,
    *,
    strides: Sizes | None = None,
    padding: Padding = "VALID",
    method: Method = "auto",
) -> jax.Array:
    """The largest value in each window, channel by channel. Padding never wins.

    On ties the first element of the window, row by row, takes the whole gradient, as in PyTorch and in
    ``lax.reduce_window``.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, *positions, channels)``.

    **Args** ``window``, ``strides``: an int or one for each spatial axis; strides default to the window. ``padding``:
    as in :func:`conv`. ``method``: ``"auto"`` takes a maximum over strided slices where windows do not overlap (its own
    derivative, reverse mode); ``"lax"`` is always ``lax.reduce_window``.

    Example:
        >>> import jax.numpy as jnp
        >>> max_pool(jnp.arange(16.0).reshape(1, 4, 4, 1), 2).ravel()
        Array([ 5.,  7., 13., 15.], dtype=float32)
    """
    check_pool("max_pool", x)
    if method not in ("auto", "lax"):
        raise bad_value("max_pool", 'method must be "auto" or "lax"', repr(method))
    frame = _frame("max_pool", x, window, strides, padding)
    if method == "auto" and frame.strides == frame.size and not any(map(any, frame.padding)):
        return _max_pool_apart(frame, x)
    return lax.reduce_window(x, np.asarray(-np.inf, x.dtype), lax.max, *_lax_window(frame))


def avg_pool(
    x: jax.Array,
    window: Sizes,
    *,
    strides: Sizes | None = None,
    padding: Padding = "VALID",
    count_include_pad: bool = True,
) -> jax.Array:
    """The mean of each window, channel by channel, accumulated in ``promote_types(x.dtype, float32)``.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, *positions, channels)``.

    **Args** as in :func:`max_pool`. ``count_include_pad``: whether padded zeros count in the mean; True as in PyTorch
    and Flax, where Keras leaves them out.

    Example:
        >>> import jax.numpy as jnp
        >>> avg_pool(jnp.arange(16.0).reshape(1, 4, 4, 1), 2).ravel()
        Array([ 2.5,  4.5, 10.5, 12.5], dtype=float32)
    """
    check_pool("avg_pool", x)
    frame = _frame("avg_pool", x, window, strides, padding)
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    add = functools.partial(lax.reduce_window, init_value=np.zeros((), dtype), computation=lax.add)
    dimensions, steps, pads = _lax_window(frame)
    total = add(x.astype(dtype), window_dimensions=dimensions, window_strides=steps, padding=pads)
    count: jax.Array | float = float(math.prod(frame.size))
    if not count_include_pad and any(map(any, frame.padding)):
        ones = jnp.ones((1, *x.shape[1:-1], 1), dtype)
        count = add(ones, window_dimensions=dimensions, window_strides=steps, padding=pads)
    return (total / count).astype(x.dtype)


def global_avg_pool(x: jax.Array) -> jax.Array:
    """The mean over all spatial axes, accumulated in ``promote_types(x.dtype, float32)``.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, channels)``.

    Example:
        >>> import jax.numpy as jnp
        >>> global_avg_pool(jnp.ones((2, 4, 4, 3))).shape
        (2, 3)

    **References** Lin, Chen and Yan, Network in network, 2013.
    """
    check_pool("global_avg_pool", x)
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    return jnp.mean(x, axis=tuple(range(1, x.ndim - 1)), dtype=dtype).astype(x.dtype)


def _frame(call: str, x: jax.Array, window: Sizes, strides: Sizes | None, padding: Padding) -> Window:
    frame = make_window(call, x.shape[1:-1], window, window if strides is None else strides, padding)
    if any(max(pair) >= size for pair, size in zip(frame.padding, frame.size, strict=True)):
        raise bad_value(
            call, f"padding must be less than the window {frame.size}, or a window sees nothing", repr(padding)
        )
    return frame


def _lax_window(frame: Window) -> tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, int], ...]]:
    return (1, *frame.size, 1), (1, *frame.strides, 1), ((0, 0), *frame.padding, (0, 0))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _max_pool_apart(frame: Window, x: jax.Array) -> jax.Array:
    """Windows that do not overlap: the gradient of ``reduce_window`` is serial on CPU, that of slices is not."""
    return functools.reduce(jnp.maximum, frame.taps(x))


def _max_pool_forward(frame: Window, x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    y = _max_pool_apart(frame, x)
    return y, (x, y)


def _max_pool_backward(frame: Window, saved: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array]:
    x, y = saved
    taps = list(frame.taps(x))
    last = len(taps) - 1
    winner = jnp.full(y.shape, last, jnp.int32)
    for index in reversed(range(last)):
        winner = jnp.where(taps[index] == y, jnp.int32(index), winner)
    # Every input lies in at most one window, so dx is dy spread over its window, kept where the winner sits.
    spread = [1] * (2 * frame.rank + 2)
    for axis, size in enumerate(frame.size):
        spread[2 * axis + 2] = size
    order = jnp.arange(len(taps), dtype=jnp.int32).reshape(spread)
    inner = tuple(2 * axis + 2 for axis in range(frame.rank))
    dx = jnp.where(jnp.expand_dims(winner, inner) == order, jnp.expand_dims(dy, inner), 0)
    covered = [n * size for n, size in zip(y.shape[1:-1], frame.size, strict=True)]
    dx = dx.reshape(x.shape[0], *covered, x.shape[-1])
    rest = [(0, n - c, 0) for n, c in zip(x.shape[1:-1], covered, strict=True)]
    return (lax.pad(dx, jnp.zeros((), dx.dtype), [(0, 0, 0), *rest, (0, 0, 0)]),)


_max_pool_apart.defvjp(_max_pool_forward, _max_pool_backward)
