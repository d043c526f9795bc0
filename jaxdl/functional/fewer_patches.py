"""Forms of convolution that make fewer patches than one of the whole window at each position.

Copying patches, and adding up what flows back to them, costs as much as the product with the kernel, or more. The
results of a product are written anyway, and their sums are cheap.
"""

import functools
import math

import jax
import jax.numpy as jnp

from jaxdl.functional.forms import Form, Pair, by_images, patches_conv, patches_gradients, rows
from jaxdl.functional.window import Window


def _lines_conv(window: Window, x: jax.Array, kernel: jax.Array) -> jax.Array:
    along, inner = window.over(slice(1)), window.over(slice(1, None)).unpadded
    padded = window.pad(x)
    batch, length, *rest = padded.shape
    patches = inner.patches(padded.reshape(batch * length, *rest))
    taps, features = kernel.shape[0], kernel.shape[-1]
    lines = jnp.moveaxis(kernel.reshape(taps, patches.shape[-1], features), 0, 1)
    met = rows(patches) @ lines.reshape(patches.shape[-1], taps * features)
    met = met.reshape(batch, length, *patches.shape[1:-1], taps, features)
    (count,), (spread,) = along.unpadded.positions((length,)), along.dilation
    return functools.reduce(jnp.add, (met[:, t * spread : t * spread + count, ..., t, :] for t in range(taps)))


def lines_numbers(window: Window, channels: int, features: int) -> int:
    """How many numbers :func:`lines_conv` makes for a position: of a patch, and of results that are not yet added."""
    return math.prod(window.size[1:]) * channels + window.size[0] * features


def _lines_bytes(window: Window, x: jax.Array, features: int) -> int:
    positions = math.prod((x.shape[1] + sum(window.padding[0]), *window.positions(x.shape[1:-1])[1:]))
    return positions * lines_numbers(window, x.shape[-1], features) * x.dtype.itemsize


def lines_conv(window: Window, groups: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Patches of all spatial axes but the first, times each line of the kernel along it: results that are shifted
    against each other, and added. For two axes or more, a stride of 1 along the first one, and one group."""

    def some(x: jax.Array) -> tuple[jax.Array, tuple[()]]:
        return _lines_conv(window, x, kernel), ()

    return by_images(some, _lines_bytes(window, x, kernel.shape[-1]), x)[0]


def lines_gradients(window: Window, groups: int, x: jax.Array, kernel: jax.Array, dy: jax.Array) -> Pair:
    """The gradients of :func:`lines_conv`."""

    def some(x: jax.Array, dy: jax.Array) -> Pair:
        return jax.vjp(functools.partial(_lines_conv, window), x, kernel)[1](dy)

    return by_images(some, 2 * _lines_bytes(window, x, kernel.shape[-1]), x, dy)


def _of_pairs(window: Window, spatial: tuple[int, ...]) -> Window:
    """The window that spans those of two neighbours along the last axis."""
    count, (low, high) = window.positions(spatial)[-1], window.padding[-1]
    return Window(
        (*window.size[:-1], window.size[-1] + 1),
        (*window.strides[:-1], 2),
        (*window.padding[:-1], (low, high + count % 2)),
        window.dilation,
    )


def _for_pairs(kernel: jax.Array) -> jax.Array:
    """The kernel for both neighbours: ``(…, taps + 1, in, 2 · out)``."""
    others = [(0, 0)] * (kernel.ndim - 3)
    return jnp.concatenate([jnp.pad(kernel, [*others, (i, 1 - i), (0, 0), (0, 0)]) for i in (0, 1)], axis=-1)


def pairs_numbers(window: Window, channels: int) -> int:
    """How many numbers of patches :func:`pairs_conv` makes for a position."""
    return math.prod(window.size[:-1]) * (window.size[-1] + 1) * channels // 2


def pairs_conv(window: Window, groups: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Patches that two neighbours along the last axis share, times a kernel that holds two. For a stride and a
    dilation of 1 along the last axis, and one group."""
    y = patches_conv(_of_pairs(window, x.shape[1:-1]), groups, x, _for_pairs(kernel))
    count = window.positions(x.shape[1:-1])[-1]
    return y.reshape(*y.shape[:-2], 2 * y.shape[-2], kernel.shape[-1])[..., :count, :]


def pairs_gradients(window: Window, groups: int, x: jax.Array, kernel: jax.Array, dy: jax.Array) -> Pair:
    """The gradients of :func:`pairs_conv`."""
    *others, count, features = dy.shape
    dy = jnp.pad(dy, [*[(0, 0)] * len(others), (0, count % 2), (0, 0)])
    dy = dy.reshape(*others, dy.shape[-2] // 2, 2 * features)
    dx, dboth = patches_gradients(_of_pairs(window, x.shape[1:-1]), groups, x, _for_pairs(kernel), dy)
    return dx, dboth[..., :-1, :, :features] + dboth[..., 1:, :, features:]


LINES = Form(lines_conv, lines_gradients)
PAIRS = Form(pairs_conv, pairs_gradients)
