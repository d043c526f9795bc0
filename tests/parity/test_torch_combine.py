"""Normalised weights against PyTorch: values, gradients and what is kept between steps.

Weights are moved by hand here: PyTorch keeps them as several tensors of its own.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn.utils import parametrizations
from torch_reference import assert_alike, channels_first, channels_last, kernel_last, normal, weights

import jaxdl as dl
from jaxdl import layers as L

SHAPES = {
    "dense": (L.dense(5), lambda: torch.nn.Linear(7, 5), (4, 7)),
    "conv": (L.conv(5, (3, 2)), lambda: torch.nn.Conv2d(3, 5, (3, 2)), (2, 6, 5, 3)),
}


def outcome(apply, params, x, dtype):
    """The output, the new state and the gradients of parameters and input."""

    @jax.jit
    def both(params, x):
        y, vjp, state = jax.vjp(apply, params, x, has_aux=True)
        return y, state, vjp(jnp.asarray(weights(y.shape, y.dtype)))

    return both(params, x)


def torch_outcome(module, x, dtype, image):
    there = torch.tensor(np.ascontiguousarray(channels_first(x) if image else x), requires_grad=True)
    y = module(there)
    value = channels_last(y.detach().numpy()) if image else y.detach().numpy()
    back = weights(value.shape, dtype)
    y.backward(torch.tensor(np.ascontiguousarray(channels_first(back) if image else back)))
    gradient = channels_last(there.grad.numpy()) if image else there.grad.numpy()
    return value, gradient


def kernel_out(array, image):
    return kernel_last(array) if image else array.T


@pytest.mark.parametrize("case", SHAPES)
def test_weight_norm(case, dtype):
    layer, make, shape = SHAPES[case]
    image = case == "conv"
    module = parametrizations.weight_norm(make()).to(torch.tensor(normal((), dtype)).dtype)
    g, v = module.parametrizations.weight.original0, module.parametrizations.weight.original1
    with torch.no_grad():
        g.copy_(torch.tensor(normal(g.shape, dtype, 1)))
        v.copy_(torch.tensor(normal(v.shape, dtype, 2)))
    x = normal(shape, dtype)
    params = {
        "kernel": {"direction": kernel_out(v.detach().numpy(), image), "scale": g.detach().numpy().reshape(-1)},
        "bias": module.bias.detach().numpy(),
    }
    apply = partial(dl.weight_norm(layer).apply, train=True)
    y, _, (found, dx) = outcome(lambda params, x: apply(params, {}, x), params, x, dtype)
    expected, expected_dx = torch_outcome(module, x, dtype, image)
    assert_alike(
        map(np.asarray, (y, dx, found["kernel"]["direction"], found["kernel"]["scale"], found["bias"])),
        (
            expected,
            expected_dx,
            kernel_out(v.grad.numpy(), image),
            g.grad.numpy().reshape(-1),
            module.bias.grad.numpy(),
        ),
        dtype,
    )


@pytest.mark.parametrize("case", SHAPES)
@pytest.mark.parametrize("iterations", [1, 3])
def test_spectral_norm(case, iterations, dtype):
    """Two steps and an evaluation: the vectors that are kept go on from where PyTorch's go on."""
    layer, make, shape = SHAPES[case]
    image = case == "conv"
    module = make().to(torch.tensor(normal((), dtype)).dtype)
    module = parametrizations.spectral_norm(module, n_power_iterations=iterations)
    kept, weight = module.parametrizations.weight[0], module.parametrizations.weight.original
    with torch.no_grad():
        for seed, tensor in enumerate((kept._u, kept._v)):  # far from converged, so that the order of updates shows
            tensor.copy_(torch.nn.functional.normalize(torch.tensor(normal(tensor.shape, dtype, seed)), dim=0))

    def order(vector):
        """PyTorch flattens (in, *window), this (*window, in)."""
        return channels_last(vector.reshape(1, *weight.shape[1:])).reshape(-1) if image else vector

    layer = dl.spectral_norm(layer, iterations=iterations)
    params = {"kernel": kernel_out(weight.detach().numpy(), image), "bias": module.bias.detach().numpy()}
    state = {"spectral_norm": {"kernel": {"u": kept._u.numpy().copy(), "v": order(kept._v.numpy().copy())}}}
    x = normal(shape, dtype, 3)
    for train in (True, True, False):
        module.train(train)
        module.zero_grad()
        apply = partial(layer.apply, train=train)
        y, state, (found, dx) = outcome(lambda p, x, state=state, apply=apply: apply(p, state, x), params, x, dtype)
        expected, expected_dx = torch_outcome(module, x, dtype, image)
        vectors = state["spectral_norm"]["kernel"]
        assert_alike(
            map(np.asarray, (y, dx, found["kernel"], found["bias"], vectors["u"], vectors["v"])),
            (
                expected,
                expected_dx,
                kernel_out(weight.grad.numpy(), image),
                module.bias.grad.numpy(),
                kept._u.numpy(),
                order(kept._v.numpy()),
            ),
            dtype,
        )
