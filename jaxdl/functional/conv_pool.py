"""Convolution and the max pool after it as one piece, channels last."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl.core.checks import per_axis
from jaxdl.core.errors import bad_value
from jaxdl.functional.conv import PaddingMode, check_kernel, conv
from jaxdl.functional.pool import first_winner, max_pool, place_winners
from jaxdl.functional.shape import along_last
from jaxdl.functional.window import Method, Padding, Sizes, Window, make_window

# The rule for the choice of form. On CPU, where the kernel has few numbers for each output channel, as in a network's
# first layer, the convolution costs less than writing it out and reading it again: what each element of a pool's window
# would see is summed up tap by tap, and only the largest is written. `python -m benchmarks.lowerings --only
# conv_max_pool` prints it beside the two, `python -m benchmarks compare cnn cnn256 --peers jaxdl_fused` steps. The
# terms of these sums are unrolled, so not too many of them; and they are made in rounds over the examples, so that what
# lies between stays in the cache, and XLA does not flatten the result within the sum.
TERMS_LIMIT = 64
ROUND_BYTES = 1 << 18


class Piece(NamedTuple):
    """A convolution's window, that of the pool after it, whose windows are apart, and the pool's positions."""

    conv: Window
    pool: Window
    positions: tuple[int, ...]

    def met(self, padded: jax.Array, phase: tuple[int, ...]) -> list[jax.Array]:
        """What element ``phase`` of the pool's windows meets, ``(batch, *positions, 1)`` for each row of the kernel."""
        strides = tuple(a * b for a, b in zip(self.conv.strides, self.pool.size, strict=True))
        start = [at * stride for at, stride in zip(phase, self.conv.strides, strict=True)]
        spans = zip(start, self.positions, strides, self.conv.reach, strict=True)
        stop = [first + (count - 1) * stride + reach for first, count, stride, reach in spans]
        seen = lax.slice(padded, (0, *start, 0), (padded.shape[0], *stop, padded.shape[-1]))
        taps = Window(self.conv.size, strides, self.pool.padding, self.conv.dilation).taps(seen)
        return [channel for tap in taps for channel in jnp.split(tap, tap.shape[-1], axis=-1)]

    def phases(self) -> list[tuple[int, ...]]:
        """The elements of the pool's window, row by row."""
        return list(np.ndindex(*self.pool.size))


def conv_max_pool(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    window: Sizes = 2,
    strides: Sizes = 1,
    padding: Padding = "VALID",
    padding_mode: PaddingMode = "zeros",
    dilation: Sizes = 1,
    groups: int = 1,
    method: Method = "auto",
) -> jax.Array:
    """``max_pool(conv(x, kernel, bias, …), window)``, whose windows are apart, without the convolution in memory.

    An activation that never falls may stand after it instead of between: ``relu(conv_max_pool(x))`` has the values and
    the gradients of ``max_pool(relu(conv(x)))``.

    On ties the first element of the window, row by row, takes the whole gradient, as in :func:`max_pool`; a window with
    a nan gives nan, and its last element takes the gradient.

    **Shapes** ``x: (batch, *spatial, in)``, ``kernel: (*kernel_size, in / groups, out)``, ``bias: (out,)``
    ``-> (batch, *positions, out)``, the convolution's positions divided by ``window``, rounded down.

    **Args** ``window``: the pool's, an int or one for each spatial axis. All others are the convolution's, as in
    :func:`conv`. ``method``: ``"auto"`` takes sums over taps where those are faster (for kernels with few numbers an
    output channel, such as the 3×3 of a first layer; reverse mode), else :func:`conv` and :func:`max_pool`; ``"lax"``
    is these two with ``method="lax"``.

    **Raises** ``ValueError`` for a wrong rank or sizes that do not fit, ``TypeError`` for an input that is not
    floating.

    Example:
        >>> import jax.numpy as jnp
        >>> conv_max_pool(jnp.ones((1, 28, 28, 1)), jnp.ones((3, 3, 1, 32))).shape
        (1, 13, 13, 32)

    **References** LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, 1998.
    """
    check_kernel("conv_max_pool", x, kernel, bias, groups, method)
    frame = make_window("conv_max_pool", x.shape[1:-1], kernel.shape[:-2], strides, padding, dilation)
    size = per_axis("conv_max_pool", "window", window, frame.rank)
    pool = Window(size, size, ((0, 0),) * frame.rank, (1,) * frame.rank)
    between = frame.positions(x.shape[1:-1])
    piece = Piece(frame, pool, pool.positions(between))
    if any(n and not count for n, count in zip(between, piece.positions, strict=True)):
        needs = f"the pool's window {size} must fit into the convolution's positions"
        raise bad_value("conv_max_pool", needs, f"positions {between} of spatial sizes {x.shape[1:-1]}")
    if method == "auto" and padding_mode == "zeros" and groups == 1 and _pays(piece, x, kernel):
        dtype = jnp.promote_types(x.dtype, kernel.dtype)
        return _fused(piece, x.astype(dtype), kernel.astype(dtype), bias)
    words: dict[str, Any] = {"strides": strides, "padding": padding, "padding_mode": padding_mode}
    y = conv(x, kernel, bias, **words, dilation=dilation, groups=groups, method=method)
    return max_pool(y, size, method=method)


def _pays(piece: Piece, x: jax.Array, kernel: jax.Array) -> bool:
    terms = math.prod(kernel.shape[:-1]) * math.prod(piece.pool.size)
    return x.shape[0] > 1 and bool(math.prod(piece.positions) * x.shape[-1] * kernel.shape[-1]) and terms <= TERMS_LIMIT


def _in_rounds(piece: Piece, function: Callable[..., Any], out: int, *arrays: jax.Array) -> Any:
    """``function`` of each example, of some at a time: at least two rounds, and as many as fit, a power of two."""
    examples, itemsize = arrays[0].shape[0], arrays[0].dtype.itemsize
    fit = max(1, min(ROUND_BYTES // (math.prod(piece.positions) * out * itemsize), examples // 2))
    return lax.map(lambda parts: function(*parts), arrays, batch_size=1 << (fit.bit_length() - 1))


def _elements(piece: Piece, x: jax.Array, kernel: jax.Array, bias: jax.Array | None) -> list[jax.Array]:
    """What the convolution gives at each element of the pool's windows, for one example, as sums over taps."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    padded = piece.conv.pad(x[None].astype(wide))
    rows = [along_last(row, padded.ndim) for row in kernel.astype(wide).reshape(-1, kernel.shape[-1])]

    def element(phase: tuple[int, ...]) -> jax.Array:
        parts = (met * row for met, row in zip(piece.met(padded, phase), rows, strict=True))
        y = functools.reduce(jnp.add, parts).astype(x.dtype)
        return y if bias is None else y + along_last(bias, y.ndim)

    return [element(phase)[0] for phase in piece.phases()]


def _largest(elements: list[jax.Array]) -> jax.Array:
    return functools.reduce(jnp.maximum, elements)


def _with_winner(elements: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
    y = _largest(elements)
    return y, first_winner(elements, y).astype(jnp.int8)


def _by_platform(
    piece: Piece, finish: Callable[[list[jax.Array]], Any], x: jax.Array, kernel: jax.Array, bias: jax.Array | None
) -> Any:
    def on_cpu(x: jax.Array, kernel: jax.Array, bias: jax.Array | None) -> Any:
        one = functools.partial(_elements, piece, kernel=kernel, bias=bias)
        return _in_rounds(piece, lambda x: finish(one(x)), kernel.shape[-1], x)

    def elsewhere(x: jax.Array, kernel: jax.Array, bias: jax.Array | None) -> Any:
        y = _convolved(piece, x, kernel)
        return finish(list(piece.pool.taps(y if bias is None else y + along_last(bias, y.ndim))))

    return lax.platform_dependent(x, kernel, bias, cpu=on_cpu, default=elsewhere)


def _convolved(piece: Piece, x: jax.Array, kernel: jax.Array) -> jax.Array:
    window = piece.conv
    return conv(x, kernel, strides=window.strides, padding=window.padding, dilation=window.dilation)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _fused(piece: Piece, x: jax.Array, kernel: jax.Array, bias: jax.Array | None) -> jax.Array:
    y: jax.Array = _by_platform(piece, _largest, x, kernel, bias)
    return y


def _fused_forward(piece: Piece, x: jax.Array, kernel: jax.Array, bias: jax.Array | None) -> tuple[jax.Array, Any]:
    y, winner = _by_platform(piece, _with_winner, x, kernel, bias)
    return y, (x, kernel, bias, winner)


def _fused_backward(piece: Piece, saved: Any, dy: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    x, kernel, bias, winner = saved
    dconv = place_winners(piece.pool, winner, dy, piece.conv.positions(x.shape[1:-1])).astype(x.dtype)
    back = jax.vjp(functools.partial(_convolved, piece), x, kernel)[1]

    def on_cpu(winner: jax.Array, dy: jax.Array) -> jax.Array:
        one = functools.partial(_kernel_gradient, piece)
        return _in_rounds(piece, one, kernel.shape[-1], x, winner, dy).sum(0).astype(kernel.dtype).reshape(kernel.shape)

    dx = back(dconv)[0]
    dkernel = lax.platform_dependent(winner, dy, cpu=on_cpu, default=lambda winner, dy: back(dconv)[1])
    wide = jnp.promote_types(dy.dtype, jnp.float32)
    dbias = None if bias is None else dy.sum(tuple(range(dy.ndim - 1)), dtype=wide).astype(bias.dtype)
    return dx, dkernel, dbias


def _kernel_gradient(piece: Piece, x: jax.Array, winner: jax.Array, dy: jax.Array) -> jax.Array:
    """One example's part of the gradient of the kernel's rows: ``dy`` times what the winner met."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    padded, dy = piece.conv.pad(x[None].astype(wide)), dy.astype(wide)
    phases = [[met[0] for met in piece.met(padded, phase)] for phase in piece.phases()]

    def row(*met: jax.Array) -> jax.Array:
        taken = met[-1]
        for index in reversed(range(len(met) - 1)):
            taken = jnp.where(winner == index, met[index], taken)
        return (taken * dy).sum(tuple(range(dy.ndim - 1)))

    return jnp.stack([row(*met) for met in zip(*phases, strict=True)])


_fused.defvjp(_fused_forward, _fused_backward)
