"""What every comparison with PyTorch needs: the same numbers in both layouts, values and gradients from both sides.

Float64 within 1e-8 of each tensor's largest entry, float32 within 1e-5 of it. PyTorch keeps channels first:
:func:`channels_first` and :func:`channels_last` go there and back.
"""

import jax
import jax.numpy as jnp
import numpy as np
import torch

SHARE = {np.float32: 1e-5, np.float64: 1e-8}


def normal(shape, dtype, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def weights(shape, dtype):
    """What flows back into a result: a number of its own for each entry."""
    return np.cos(np.arange(np.prod(shape))).reshape(shape).astype(dtype)


def channels_first(array):
    return np.moveaxis(array, -1, 1)


def channels_last(array):
    return np.moveaxis(array, 1, -1)


def kernel_first(kernel):
    """``(*window, in, out) -> (out, in, *window)``."""
    return np.moveaxis(kernel, (-1, -2), (0, 1))


def kernel_last(kernel):
    return np.moveaxis(kernel, (0, 1), (-1, -2))


def same(array):
    return array


def ours(function, *arguments):
    """A function's result, and the gradients to every argument."""

    @jax.jit
    def both(*arguments):
        y, vjp = jax.vjp(function, *arguments)
        return y, vjp(jnp.asarray(weights(y.shape, y.dtype)))

    y, gradients = both(*arguments)
    return [np.asarray(leaf) for leaf in (y, *gradients)]


def theirs(function, *arguments, there, back):
    """The same from PyTorch: ``there`` brings each argument into its layout, ``back`` the result, then gradients."""
    tensors = [
        torch.tensor(np.ascontiguousarray(move(a)), requires_grad=True)
        for move, a in zip(there, arguments, strict=True)
    ]
    y = function(*tensors)
    result, *gradients = back
    found = result(y.detach().numpy())
    # The weights lie in our layout; the move there is the first argument's.
    y.backward(torch.tensor(np.ascontiguousarray(there[0](weights(found.shape, found.dtype)))))
    return [found, *(move(t.grad.numpy()) for move, t in zip(gradients, tensors, strict=True))]


def assert_alike(found, expected, dtype):
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=SHARE[dtype] * np.abs(b).max(initial=0))
