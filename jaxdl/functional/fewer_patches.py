"""Forms of convolution that make fewer patches than one of the whole window at each position.

Copying patches, and adding up what flows back to them, costs as much as the product with the kernel, or more. The
results of a product are written anyway, and their sums are cheap.
"""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxdl.functional.forms import Form, Pair, by_images, patches_conv, patches_gradients, rows
from jaxdl.functional.window import Window


def _patches_of_lines(window: Window, x: jax.Array) -> jax.Array:
    """Patches of all axes but the first, ``(batch, length, *positions, taps · channels)``."""
    batch, length, *rest = x.shape
    patches = window.over(slice(1, None)).patches(x.reshape(batch * length, *rest))
    return patches.reshape(batch, length, *patches.shape[1:])


def _side_by_side(kernel: jax.Array) -> jax.Array:
    """The lines of the kernel along its first axis, ``(taps of a line · in, lines · out)``."""
    lines, features = kernel.shape[0], kernel.shape[-1]
    return jnp.moveaxis(kernel.reshape(lines, -1, features), 0, 1).reshape(-1, lines * features)


def _shifts(window: Window) -> list[int]:
    """By how much each line's results are shifted along the first axis."""
    return [window.padding[0][0] - line * window.dilation[0] for line in range(window.size[0])]


def _shifted(y: jax.Array, shift: int, length: int) -> jax.Array:
    """``y`` along its second axis, so much later, in an axis of that length; zeros come in."""
    config = [(0, 0, 0)] * y.ndim
    config[1] = (shift, length - y.shape[1] - shift, 0)
    return lax.pad(y, jnp.zeros((), y.dtype), config)


def lines_numbers(window: Window, channels: int, features: int) -> int:
    """How many numbers :func:`lines_conv` makes for a place: of a patch, and of results that are not yet added."""
    return math.prod(window.size[1:]) * channels + window.size[0] * features


def _lines_bytes(window: Window, x: jax.Array, features: int) -> int:
    places = math.prod((x.shape[1], *window.positions(x.shape[1:-1])[1:]))
    return places * lines_numbers(window, x.shape[-1], features) * x.dtype.itemsize


def lines_conv(window: Window, groups: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Patches of all spatial axes but the first, times each line of the kernel along it: results that are shifted
    against each other, and added. For two axes or more, a stride of 1 along the first one, and one group."""
    count, features = window.positions(x.shape[1:-1])[0], kernel.shape[-1]

    def some(x: jax.Array) -> tuple[jax.Array, tuple[()]]:
        patches = _patches_of_lines(window, x)
        met = (rows(patches) @ _side_by_side(kernel)).reshape(*patches.shape[:-1], len(kernel) * features)
        lines = jnp.split(met, len(kernel), axis=-1)
        return functools.reduce(jnp.add, map(_shifted, lines, _shifts(window), itertools.repeat(count))), ()

    return by_images(some, _lines_bytes(window, x, features), x)[0]


def lines_gradients(window: Window, groups: int, x: jax.Array, kernel: jax.Array, dy: jax.Array) -> Pair:
    """The gradients of :func:`lines_conv`."""
    side, back = jax.vjp(_side_by_side, kernel)

    def some(x: jax.Array, dy: jax.Array) -> Pair:
        patches, fold = jax.vjp(functools.partial(_patches_of_lines, window), x)
        lines = [_shifted(dy, -shift, x.shape[1]) for shift in _shifts(window)]
        met = rows(jnp.concatenate(lines, axis=-1))
        (dx,) = fold((met @ side.T).reshape(patches.shape))
        return dx, rows(patches).T @ met

    dx, dside = by_images(some, 2 * _lines_bytes(window, x, kernel.shape[-1]), x, dy)
    return dx, back(dside)[0]


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
