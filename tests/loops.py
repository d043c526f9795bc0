"""What functions of arrays are compared with: NumPy loops in float64, and how close is close enough."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads

SHARE = {"float64": 1e-8, "float32": 1e-5, "bfloat16": 3e-2, "float16": 4e-3}


def normal(shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def whole(shape, seed=0):
    """Small whole numbers: many of them are equal."""
    return np.random.default_rng(seed).integers(-2, 3, shape)


def assert_close(found, expected, dtype="float64"):
    """Every entry within a share of the expected tensor's largest, which grows as the dtype gets coarser."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    largest = np.abs(expected).max(initial=0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=SHARE[np.dtype(dtype).name] * largest)


def assert_all_close(found, expected, dtype="float64"):
    """:func:`assert_close`, leaf by leaf."""
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert_close(a, b, dtype)


def value_and_gradients(function, *arguments):
    """``y`` and the gradients of ``Σ wᵢ yᵢ`` to every argument, for weights ``w`` that all differ."""

    @jax.jit
    def both(*arguments):
        y, vjp = jax.vjp(function, *arguments)
        return y, vjp(jnp.asarray(weights(y)))

    return both(*arguments)


def weights(y):
    """What flows back into ``y``: a number of its own for each entry."""
    return np.cos(np.arange(y.size)).reshape(y.shape).astype(y.dtype)


def check_against_finite_differences(function, *arguments):
    """In float64; jitted, as each argument takes many evaluations."""
    check_grads(jax.jit(function), tuple(map(jnp.asarray, arguments)), order=1, modes=["rev"])


# Windows: what convolution and pooling share


def kernel_and_bias(shape, dtype=np.float64):
    return normal(shape, 2, dtype), normal(shape[-1:], 3, dtype)


def as_tuple(value, rank):
    return (value,) * rank if isinstance(value, int) else tuple(value)


def amounts(padding, spatial, reach, strides):
    """The padding of each axis; ``SAME`` gives ceil(n / stride) positions, and the odd element goes to the end."""
    if padding == "SAME":
        totals = [max((-(-n // s) - 1) * s + r - n, 0) for n, r, s in zip(spatial, reach, strides, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    if padding == "VALID":
        return [(0, 0)] * len(spatial)
    return [(padding, padding)] * len(spatial) if isinstance(padding, int) else list(padding)


def windows(x, size, strides, padding, dilation, fill):
    """The padded input and, for each output position, the slices of it that the window meets there."""
    spatial = x.shape[1:-1]
    reach = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
    pads = amounts(padding, spatial, reach, strides)
    counts = [(n + low + high - r) // s + 1 for n, (low, high), r, s in zip(spatial, pads, reach, strides, strict=True)]
    slices = {
        position: tuple(
            slice(i * s, i * s + r, d) for i, s, r, d in zip(position, strides, reach, dilation, strict=True)
        )
        for position in np.ndindex(*counts)
    }
    return np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=fill), pads, counts, slices


def unpadded(dx, pads):
    return dx[(slice(None), *(slice(low, n - high) for n, (low, high) in zip(dx.shape[1:-1], pads, strict=True)))]


def conv_loop(x, kernel, bias, strides=1, padding="VALID", dilation=1, groups=1, dy=None):
    """``y[b, p, o] = Σ_t Σ_i x[b, p·stride + t·dilation − low, i] · kernel[t, i, o] + bias[o]``, group by group.

    And what flows back from ``dy``: to x, to the kernel and to the bias.
    """
    rank = x.ndim - 2
    size, strides, dilation = kernel.shape[:rank], as_tuple(strides, rank), as_tuple(dilation, rank)
    padded, pads, counts, slices = windows(x, size, strides, padding, dilation, 0)
    y = np.zeros((x.shape[0], *counts, kernel.shape[-1]))
    dy = np.zeros_like(y) if dy is None else np.asarray(dy, np.float64)
    dx, dkernel = np.zeros(padded.shape), np.zeros(kernel.shape)
    inside, outside = kernel.shape[-2], kernel.shape[-1] // groups
    for (position, window), group in itertools.product(slices.items(), range(groups)):
        met = (slice(None), *window, slice(group * inside, (group + 1) * inside))
        out = slice(group * outside, (group + 1) * outside)
        made = (slice(None), *position, out)
        y[made] = np.tensordot(padded[met], kernel[..., out], rank + 1) + bias[out]
        dx[met] += np.tensordot(dy[made], kernel[..., out], (1, rank + 1))
        dkernel[..., out] += np.tensordot(padded[met], dy[made], (0, 0))
    return y, (unpadded(dx, pads), dkernel, dy.sum(tuple(range(rank + 1))))


def conv_transpose_loop(x, kernel, bias, cut, strides=1, dilation=1, groups=1, more=0, dy=None):
    """``y[b, p·stride + t·dilation − low, o] += Σ_i x[b, p, i] · kernel[t, i, o]``, group by group, plus the bias.

    ``cut``: what is taken off each axis, (low, high); ``more``: what is given back at the high end. And what flows back
    from ``dy``: to x, to the kernel and to the bias.
    """
    rank = x.ndim - 2
    size, strides, dilation, more = kernel.shape[:rank], *(as_tuple(v, rank) for v in (strides, dilation, more))
    whole = [
        (n - 1) * s + (k - 1) * d + 1 + m
        for n, k, s, d, m in zip(x.shape[1:-1], size, strides, dilation, more, strict=True)
    ]
    kept = (slice(None), *(slice(low, n - high) for n, (low, high) in zip(whole, cut, strict=True)))
    y = np.zeros((x.shape[0], *whole, kernel.shape[-1]))
    flow = np.zeros_like(y)
    if dy is not None:
        flow[kept] = dy
    dx, dkernel = np.zeros(x.shape), np.zeros(kernel.shape)
    inside, outside = kernel.shape[-2], kernel.shape[-1] // groups
    for position, tap, group in itertools.product(np.ndindex(*x.shape[1:-1]), np.ndindex(*size), range(groups)):
        into, out = slice(group * inside, (group + 1) * inside), slice(group * outside, (group + 1) * outside)
        at = tuple(p * s + t * d for p, s, t, d in zip(position, strides, tap, dilation, strict=True))
        given, made, row = (slice(None), *position, into), (slice(None), *at, out), (*tap, slice(None), out)
        y[made] += x[given] @ kernel[row]
        dx[given] += flow[made] @ kernel[row].T
        dkernel[row] += x[given].T @ flow[made]
    return y[kept] + bias, (dx, dkernel, flow.sum(tuple(range(rank + 1))))


def max_pool_loop(x, size, strides, padding, dy=None, dilation=1):
    """The largest of each window, and what flows back: to the first of the largest, row by row."""
    rank = x.ndim - 2
    padded, pads, counts, slices = windows(x, size, strides, padding, as_tuple(dilation, rank), -np.inf)
    y, dx = np.zeros((x.shape[0], *counts, x.shape[-1])), np.zeros_like(padded)
    for position, window in slices.items():
        for b, c in np.ndindex(x.shape[0], x.shape[-1]):
            taken = padded[(b, *window, c)]
            first = np.unravel_index(taken.argmax(), taken.shape)
            y[(b, *position, c)] = taken[first]
            if dy is not None:
                dx[(b, *window, c)][first] += dy[(b, *position, c)]
    return y, unpadded(dx, pads)


def avg_pool_loop(x, size, strides, padding, count_include_pad, dilation=1):
    rank = x.ndim - 2
    dilation = as_tuple(dilation, rank)
    padded, _, counts, slices = windows(x, size, strides, padding, dilation, 0)
    inside, *_ = windows(np.ones_like(x), size, strides, padding, dilation, 0)
    y = np.zeros((x.shape[0], *counts, x.shape[-1]))
    axes = tuple(range(1, rank + 1))
    for position, window in slices.items():
        taken = (slice(None), *window)
        count = np.prod(size) if count_include_pad else inside[taken].sum(axes)
        y[(slice(None), *position)] = padded[taken].sum(axes) / count
    return y
