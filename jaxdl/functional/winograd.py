"""Winograd's minimal filtering: convolutions with a window of 3 × 3 by fewer multiplications."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl.functional.forms import LAX, LAX_BATCHED, PATCHES, Form, Pair, Plan, by_images, planned
from jaxdl.functional.window import Window


class Filtering(NamedTuple):
    """``F(m × m, 3 × 3)``: ``y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A`` for a tile ``d`` of ``m + 2`` by ``m + 2`` inputs.

    **Fields** ``m``: outputs along a tile; ``inward``: Bᵀ, ``kernelward``: G, ``outward``: Aᵀ.
    """

    m: int
    inward: np.ndarray
    kernelward: np.ndarray
    outward: np.ndarray


F2 = Filtering(
    2,
    np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),
    np.array([[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]]),
    np.array([[1, 1, 1, 0], [0, 1, -1, -1]]),
)
F4 = Filtering(
    4,
    np.array(
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ]
    ),
    np.array(
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ]
    ),
    np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]),
)


def tiles(m: int, positions: Sequence[int]) -> tuple[int, ...]:
    """How many tiles of ``m`` outputs cover the positions along each axis."""
    return tuple(-(-n // m) for n in positions)


def _combined(matrix: np.ndarray, parts: Sequence[jax.Array]) -> jax.Array:
    """``Σ_k matrix[i, k] · parts[k]`` for each i, on a new leading axis.

    What an optimization barrier ends is written once, and not computed again for each of its readers.
    """

    def weighed(weight: float, part: jax.Array) -> jax.Array:
        return part if weight == 1 else -part if weight == -1 else weight * part

    sums = [
        functools.reduce(jnp.add, [weighed(float(w), p) for w, p in zip(row, parts, strict=True) if w])
        for row in matrix
    ]
    return lax.optimization_barrier(jnp.stack(sums))


def _every(x: jax.Array, first: int, step: int, count: int, axis: int) -> jax.Array:
    return lax.slice_in_dim(x, first, first + step * (count - 1) + 1, step, axis)


def _inputs(f: Filtering, window: Window, x: jax.Array) -> jax.Array:
    """``Bᵀ d B`` of every tile of the padded input, ``((m + 2)², batch · tiles, channels)``."""
    m, side = f.m, f.m + 2
    high, wide = tiles(m, window.positions(x.shape[1:-1]))
    axes = zip((high, wide), x.shape[1:-1], window.padding, strict=True)
    padding = [(low, n * m + 2 - low - size, 0) for n, size, (low, _) in axes]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *padding, (0, 0, 0)])
    by_row = _combined(f.inward, [_every(x, r, m, high, 1) for r in range(side)])
    by_both = _combined(f.inward, [_every(by_row, c, m, wide, 3) for c in range(side)])
    return by_both.reshape(side * side, x.shape[0] * high * wide, x.shape[-1])


def _kernels(f: Filtering, kernel: jax.Array) -> jax.Array:
    """``G g Gᵀ`` for each pair of channels, ``((m + 2)², in, out)``."""
    channels = kernel.shape[-2:]
    flat = jnp.asarray(_both_ways(f), kernel.dtype) @ kernel.reshape(9, math.prod(channels))
    return flat.reshape((f.m + 2) ** 2, *channels)


def _kernel_gradient(f: Filtering, dtransformed: jax.Array) -> jax.Array:
    """The transpose of :func:`_kernels`."""
    channels = dtransformed.shape[-2:]
    flat = dtransformed.reshape((f.m + 2) ** 2, math.prod(channels))
    return (jnp.asarray(_both_ways(f).T, flat.dtype) @ flat).reshape(3, 3, *channels)


def _both_ways(f: Filtering) -> np.ndarray:
    """G along the columns and along the rows as one matrix, ``((m + 2)², 9)``; columns first, as in the tiles."""
    return np.einsum("ih,jw->jihw", f.kernelward, f.kernelward).reshape((f.m + 2) ** 2, 9)


def _outputs(f: Filtering, products: jax.Array, batch: int, positions: Sequence[int]) -> jax.Array:
    """``Aᵀ M A`` of every tile, in its place."""
    m, side = f.m, f.m + 2
    high, wide = tiles(m, positions)
    channels = products.shape[-1]
    products = lax.optimization_barrier(products).reshape(side, side, batch, high, wide, channels)
    by_column = _combined(f.outward, list(products))
    by_both = _combined(f.outward, [by_column[:, r] for r in range(side)])
    y = by_both.transpose(2, 3, 0, 4, 1, 5).reshape(batch, high * m, wide * m, channels)
    return lax.optimization_barrier(y)[:, : positions[0], : positions[1]]


def _output_gradient(f: Filtering, dy: jax.Array) -> jax.Array:
    """The transpose of :func:`_outputs`, ``((m + 2)², batch · tiles, channels)``."""
    m, side = f.m, f.m + 2
    batch, *positions, channels = dy.shape
    high, wide = tiles(m, positions)
    dy = jnp.pad(dy, [(0, 0), (0, high * m - positions[0]), (0, wide * m - positions[1]), (0, 0)])
    dy = dy.reshape(batch, high, m, wide * m, channels)
    by_row = _combined(f.outward.T, [dy[:, :, r] for r in range(m)]).reshape(side, batch, high, wide, m, channels)
    by_both = _combined(f.outward.T, [by_row[:, :, :, :, c] for c in range(m)])
    return by_both.reshape(side * side, batch * high * wide, channels)


def tiles_bytes(f: Filtering, window: Window, x: jax.Array, features: int) -> int:
    """How many bytes the tiles of one image are, transformed: those of the input, and as many of the result."""
    count = math.prod(tiles(f.m, window.positions(x.shape[1:-1]))) * (f.m + 2) ** 2
    return count * (x.shape[-1] + features) * x.dtype.itemsize


def _forward(f: Filtering, window: Window, groups: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    transformed = _kernels(f, kernel)

    def some(x: jax.Array) -> tuple[jax.Array, tuple[()]]:
        products = lax.dot_general(_inputs(f, window, x), transformed, (((2,), (1,)), ((0,), (0,))))
        return _outputs(f, products, x.shape[0], window.positions(x.shape[1:-1])), ()

    return by_images(some, tiles_bytes(f, window, x, kernel.shape[-1]), x)[0]


def _gradients(f: Filtering, window: Window, groups: int, x: jax.Array, kernel: jax.Array, dy: jax.Array) -> Pair:
    # What flows to the input is a convolution of dy with the kernel turned round.
    around = Window(window.size, window.strides, tuple((2 - low, 2 - high) for low, high in window.padding), (1, 1))
    turned = _kernels(f, jnp.flip(kernel, (0, 1)).swapaxes(2, 3))

    def some(x: jax.Array, dy: jax.Array) -> Pair:
        products = lax.dot_general(_inputs(f, around, dy), turned, (((2,), (1,)), ((0,), (0,))))
        met = lax.dot_general(_inputs(f, window, x), _output_gradient(f, dy), (((1,), (1,)), ((0,), (0,))))
        return _outputs(f, products, x.shape[0], x.shape[1:-1]), met

    dx, met = by_images(some, 2 * tiles_bytes(f, window, x, kernel.shape[-1]), x, dy)
    return dx, _kernel_gradient(f, met)


WINOGRAD_2, WINOGRAD_4 = (Form(functools.partial(_forward, f), functools.partial(_gradients, f)) for f in (F2, F4))


def _lax_forward(window: Window, groups: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    # A plan of its own: the batched form has no derivative, which a second order asks of what runs forward.
    return planned(Plan(window, groups, LAX_BATCHED, PATCHES, LAX), x, kernel)


WINOGRAD_4_BACKWARD = Form(_lax_forward, WINOGRAD_4.own_gradients)
"""XLA's convolution, and filtered gradients."""
