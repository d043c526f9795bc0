"""Pooling over any number of spatial axes, channels last."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl.core.checks import floating
from jaxdl.core.errors import bad_value
from jaxdl.functional.window import Method, Padding, Sizes, Window, check_spatial, make_window

# The rule for the choice of form. On CPU the gradient of lax.reduce_window is serial, and slower than that of a maximum
# over strided slices: `python -m benchmarks.lowerings --only max_pool`. These are unrolled, so not too many of them.
TAPS_LIMIT = 64


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
    dilation: Sizes = 1,
    method: Method = "auto",
) -> jax.Array:
    """The largest value in each window, channel by channel. Padding never wins.

    On ties the first element of the window, row by row, takes the whole gradient, as in PyTorch and in
    ``lax.reduce_window``. Padding is -inf, and so it ties in a window where nothing is above that: there, as in
    ``lax.reduce_window``, the gradient of the input may be lost to it.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, *positions, channels)``.

    **Args** ``window``, ``strides``, ``dilation``: an int or one for each spatial axis; strides default to the window.
    ``padding``: as in :func:`conv`. ``method``: ``"auto"`` takes a maximum over strided slices where that is faster
    (its own derivative, reverse mode); ``"lax"`` is ``lax.reduce_window`` or, where that has no derivative (with
    dilation), an argmax over the slices: forward mode as well.

    **Raises** ``ValueError`` for a wrong rank, a window that does not fit or one that would see padding alone,
    ``TypeError`` for an input that is not floating.

    Example:
        >>> import jax.numpy as jnp
        >>> max_pool(jnp.arange(16.0).reshape(1, 4, 4, 1), 2).ravel()
        Array([ 5.,  7., 13., 15.], dtype=float32)

    **References** Ranzato, Huang, Boureau and LeCun, Unsupervised learning of invariant feature hierarchies with
    applications to object recognition, 2007.
    """
    check_pool("max_pool", x)
    if method not in ("auto", "lax"):
        raise bad_value("max_pool", 'method must be "auto" or "lax"', repr(method))
    frame = _frame("max_pool", x, window, strides, padding, dilation)
    if method == "lax":
        return _argmax_pool(frame, x) if _dilated(frame) else _lax_max_pool(frame, x)
    if frame.apart:
        return _max_pool_apart(frame, x)
    if math.prod(frame.size) > TAPS_LIMIT:
        return _argmax_pool(frame, x) if _dilated(frame) else _lax_max_pool(frame, x)
    return _max_pool(frame, x)


def avg_pool(
    x: jax.Array,
    window: Sizes,
    *,
    strides: Sizes | None = None,
    padding: Padding = "VALID",
    dilation: Sizes = 1,
    count_include_pad: bool = True,
) -> jax.Array:
    """The mean of each window, channel by channel, accumulated in ``promote_types(x.dtype, float32)``.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, *positions, channels)``.

    **Args** as in :func:`max_pool`. ``count_include_pad``: whether padded zeros count in the mean; True as in PyTorch
    and Flax, where Keras leaves them out.

    **Raises** as in :func:`max_pool`.

    Example:
        >>> import jax.numpy as jnp
        >>> avg_pool(jnp.arange(16.0).reshape(1, 4, 4, 1), 2).ravel()
        Array([ 2.5,  4.5, 10.5, 12.5], dtype=float32)

    **References** LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, 1998.
    """
    check_pool("avg_pool", x)
    frame = _frame("avg_pool", x, window, strides, padding, dilation)
    dtype = jnp.promote_types(x.dtype, jnp.float32)

    def add(x: jax.Array) -> jax.Array:
        return lax.reduce_window(x, np.zeros((), dtype), lax.add, **_lax_words(frame))

    total = add(x.astype(dtype))
    count: jax.Array | float = float(math.prod(frame.size))
    if not count_include_pad and any(map(any, frame.padding)):
        count = add(jnp.ones((1, *x.shape[1:-1], 1), dtype))
    return (total / count).astype(x.dtype)


def _frame(call: str, x: jax.Array, window: Sizes, strides: Sizes | None, padding: Padding, dilation: Sizes) -> Window:
    frame = make_window(call, x.shape[1:-1], window, window if strides is None else strides, padding, dilation)
    axes = zip(x.shape[1:-1], frame.padding, frame.positions(x.shape[1:-1]), strict=True)
    for axis, (n, (low, high), count) in enumerate(axes):
        if not low and not high:
            continue
        first = np.arange(count) * frame.strides[axis] - low
        met = np.where(first < 0, first % frame.dilation[axis], first)  # the first that is not in the padding before
        if not ((met < n) & (met - first < frame.reach[axis])).all():
            needs = f"padding must be less than the window {frame.size}, or a window sees nothing"
            if _dilated(frame):
                needs += f" (with dilation {frame.dilation}, in its gaps as well)"
            raise bad_value(call, needs, repr(padding))
    return frame


def _dilated(frame: Window) -> bool:
    return any(spread > 1 for spread in frame.dilation)


def _lax_words(frame: Window) -> dict[str, Any]:
    return {
        "window_dimensions": (1, *frame.size, 1),
        "window_strides": (1, *frame.strides, 1),
        "padding": ((0, 0), *frame.padding, (0, 0)),
        "window_dilation": (1, *frame.dilation, 1),
    }


def _lax_max_pool(frame: Window, x: jax.Array) -> jax.Array:
    return lax.reduce_window(x, np.asarray(-np.inf, x.dtype), lax.max, **_lax_words(frame))


def _argmax_pool(frame: Window, x: jax.Array) -> jax.Array:
    """Like ``reduce_window``, with a derivative for windows with gaps; what flows to one input is summed wide."""
    met = frame.within(frame.pad(x.astype(jnp.promote_types(x.dtype, jnp.float32)), -np.inf))
    taps = jnp.moveaxis(met, _inside(frame), tuple(range(frame.rank)))
    taps = taps.reshape(math.prod(frame.size), *taps.shape[frame.rank :])
    return jnp.take_along_axis(taps, jnp.argmax(taps, axis=0, keepdims=True), axis=0)[0].astype(x.dtype)


def _inside(frame: Window) -> tuple[int, ...]:
    """The axes of ``frame.within(x)`` that lie within windows."""
    return tuple(range(2, 2 * frame.rank + 1, 2))


def _first_winner(taps: Sequence[jax.Array], y: jax.Array) -> jax.Array:
    """The first of the taps that is ``y``."""
    last = len(taps) - 1
    winner = jnp.full(y.shape, last, jnp.int32)
    for index in reversed(range(last)):
        winner = jnp.where(taps[index] == y, jnp.int32(index), winner)
    return winner


def _order(frame: Window, dtype: Any) -> jax.Array:
    """The number of each element within its window, shaped to go with ``frame.within(x)``."""
    spread = [1] * (2 * frame.rank + 2)
    for axis, size in zip(_inside(frame), frame.size, strict=True):
        spread[axis] = size
    return jnp.arange(math.prod(frame.size), dtype=dtype).reshape(spread)


def _place_winners(frame: Window, winner: jax.Array, dy: jax.Array, spatial: Sequence[int]) -> jax.Array:
    """For windows apart: ``dy`` where its window's winner sits, zero elsewhere, ``(batch, *spatial, channels)``.

    Every input lies in at most one window, so it is ``dy`` spread over its window, and kept in one place.
    """
    inside = _inside(frame)
    won = jnp.expand_dims(winner, inside) == _order(frame, winner.dtype)
    dx = jnp.where(won, jnp.expand_dims(dy, inside), 0)
    covered = [n * size for n, size in zip(dy.shape[1:-1], frame.size, strict=True)]
    dx = dx.reshape(dy.shape[0], *covered, dy.shape[-1])
    rest = [(0, n - c, 0) for n, c in zip(spatial, covered, strict=True)]
    return lax.pad(dx, jnp.zeros((), dx.dtype), [(0, 0, 0), *rest, (0, 0, 0)])


def _taps_max_pool(frame: Window, x: jax.Array) -> jax.Array:
    return functools.reduce(jnp.maximum, frame.taps(frame.pad(x, -np.inf)))


def _taps_gradient(frame: Window, x: jax.Array, y: jax.Array, dy: jax.Array) -> jax.Array:
    taps = list(frame.taps(frame.pad(x, -np.inf)))
    winner = _first_winner(taps, y)
    return frame.place([jnp.where(winner == index, dy, 0) for index in range(len(taps))], x.shape[1:-1])


def _lax_gradient(frame: Window, x: jax.Array, y: jax.Array, dy: jax.Array) -> jax.Array:
    return jax.vjp(functools.partial(_lax_max_pool, frame), x)[1](dy)[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _max_pool(frame: Window, x: jax.Array) -> jax.Array:
    """Windows that overlap, are padded or have gaps."""
    taps = functools.partial(_taps_max_pool, frame)
    if _dilated(frame):
        return taps(x)
    return lax.platform_dependent(x, cpu=taps, default=functools.partial(_lax_max_pool, frame))


def _max_pool_forward(frame: Window, x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    y = _max_pool(frame, x)
    return y, (x, y)


def _max_pool_backward(frame: Window, saved: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array]:
    taps = functools.partial(_taps_gradient, frame)
    if _dilated(frame):
        return (taps(*saved, dy),)
    return (lax.platform_dependent(*saved, dy, cpu=taps, default=functools.partial(_lax_gradient, frame)),)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _max_pool_apart(frame: Window, x: jax.Array) -> jax.Array:
    """Windows that do not overlap: ``reduce_window``, but for its gradient, which is serial on CPU."""
    return _lax_max_pool(frame, x)


def _max_pool_apart_forward(frame: Window, x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    y = _max_pool_apart(frame, x)
    return y, (x, y)


def _max_pool_apart_backward(frame: Window, saved: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array]:
    x, y = saved
    inside, last = _inside(frame), math.prod(frame.size) - 1
    if last < TAPS_LIMIT:
        winner = _first_winner(list(frame.taps(x)), y)
    else:
        won = frame.within(x) == jnp.expand_dims(y, inside)
        winner = jnp.min(jnp.where(won, _order(frame, jnp.int32), last), inside)
    return (_place_winners(frame, winner, dy, x.shape[1:-1]),)


_max_pool_apart.defvjp(_max_pool_apart_forward, _max_pool_apart_backward)
