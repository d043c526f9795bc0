"""Forms of convolution for channels that do not meet: sums over the taps of shifted inputs."""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxdl.functional.forms import Form, Pair, rows
from jaxdl.functional.window import Window


def shifted_conv(window: Window, groups: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """For one input channel a group: a sum over the taps of the shifted input times a row of the kernel."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    multiplier = kernel.shape[-1] // groups
    taps = rows(kernel).reshape(math.prod(window.size), *(1,) * (window.rank + 1), groups, multiplier).astype(wide)

    def part(met: jax.Array, row: jax.Array) -> jax.Array:
        return met[..., None] * row

    y = functools.reduce(jnp.add, map(part, window.taps(window.pad(x.astype(wide))), taps))
    return y.reshape(*y.shape[:-2], groups * multiplier).astype(x.dtype)


def _row_of_taps(window: Window, groups: int, padded: jax.Array, start: jax.Array, row: jax.Array) -> jax.Array:
    """What one index along the window's first axis adds to :func:`shifted_conv`; ``start``: where it begins."""
    along, rest = window.over(slice(1)), window.over(slice(1, None)).unpadded
    reach = padded.shape[1] - along.reach[0] + 1
    met = lax.dynamic_slice_in_dim(padded, start, reach, axis=1)[:, :: along.strides[0]]
    y = shifted_conv(rest, groups, met.reshape(math.prod(met.shape[:2]), *met.shape[2:]), row)
    return y.reshape(*met.shape[:2], *y.shape[1:])


def _starts(window: Window) -> jax.Array:
    return window.dilation[0] * jnp.arange(window.size[0])


def scanned_conv(window: Window, groups: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """:func:`shifted_conv` by a loop over the window's first axis, so that the program does not grow with it."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    padded = window.pad(x.astype(wide))
    y = jnp.zeros((x.shape[0], *window.positions(x.shape[1:-1]), kernel.shape[-1]), wide)

    def add(y: jax.Array, row: Pair) -> tuple[jax.Array, None]:
        return y + _row_of_taps(window, groups, padded, *row), None

    return lax.scan(add, y, (_starts(window), kernel.astype(wide)))[0].astype(x.dtype)


def scanned_gradients(window: Window, groups: int, x: jax.Array, kernel: jax.Array, dy: jax.Array) -> Pair:
    """The gradients of :func:`scanned_conv`, by the same loop."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    padded, unpad = jax.vjp(lambda x: window.pad(x.astype(wide)), x)

    def add(dpadded: jax.Array, row: Pair) -> Pair:
        start, kernel = row
        _, back = jax.vjp(lambda padded, kernel: _row_of_taps(window, groups, padded, start, kernel), padded, kernel)
        more, dkernel = back(dy.astype(wide))
        return dpadded + more, dkernel

    dpadded, dkernel = lax.scan(add, jnp.zeros_like(padded), (_starts(window), kernel.astype(wide)))
    return unpad(dpadded)[0], dkernel.astype(kernel.dtype)


SHIFTED = Form(shifted_conv)
SCANNED = Form(scanned_conv, scanned_gradients)
