"""Whole layers against PyTorch, their weights copied by :mod:`jaxdl.interop`: values, state, and the gradients to the
inputs and to every parameter, in training and without it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations as P
from torch_reference import SHARE, channels_first, channels_last, normal, same, weights

import jaxdl as dl
from jaxdl import layers as L
from jaxdl.combine import spectral_norm, weight_norm
from jaxdl.interop import from_torch, to_torch


class Row(NamedTuple):
    """A layer, the module that is its counterpart, and the shape of the input, or of each of several.

    **Fields** ``call``: what the module gives for its inputs; ``classes``: the inputs hold ids below it; ``first``: the
    module has its channels first; ``train``: the modes in which to compare.
    """

    layer: Any
    module: Callable[[], nn.Module]
    shape: Any
    call: Callable[..., torch.Tensor] = lambda module, *inputs: module(*inputs)
    classes: int = 0
    first: bool = False
    train: tuple[bool, ...] = (False,)


def images(layer, module, shape, **rest):
    return Row(layer, module, shape, first=True, **rest)


def outputs(module, *inputs):
    """The first of a module's results."""
    return module(*inputs)[0]


def to_itself(module, x):
    return module(x, x, x, need_weights=False)[0]


BOTH = (True, False)

ROWS = {
    # Linear and lookup
    "dense": Row(L.dense(4), lambda: nn.Linear(3, 4), (5, 3)),
    "dense, more axes": Row(L.dense(4), lambda: nn.Linear(3, 4), (2, 5, 3)),
    "dense without bias": Row(L.dense(4, use_bias=False), lambda: nn.Linear(3, 4, bias=False), (5, 3)),
    "bilinear": Row(L.bilinear(4), lambda: nn.Bilinear(3, 2, 4), ((5, 3), (5, 2))),
    "embedding": Row(L.embedding(7, 3), lambda: nn.Embedding(7, 3), (2, 5), classes=7),
    "attend": Row(L.attend(7), lambda: nn.Linear(3, 7, bias=False), (2, 5, 3)),
    # Convolution
    "conv 1-D": images(L.conv(4, 3, strides=2), lambda: nn.Conv1d(3, 4, 3, stride=2), (2, 9, 3)),
    "conv 2-D": images(L.conv(4, (3, 2)), lambda: nn.Conv2d(3, 4, (3, 2)), (2, 6, 5, 3)),
    "conv 2-D SAME": images(L.conv(4, 3, padding="SAME"), lambda: nn.Conv2d(3, 4, 3, padding="same"), (2, 6, 5, 3)),
    "conv 2-D groups": images(
        L.conv(6, 3, groups=2, dilation=2, padding=((2, 2), (2, 2))),
        lambda: nn.Conv2d(4, 6, 3, groups=2, dilation=2, padding=2),
        (2, 6, 5, 4),
    ),
    "conv 3-D": images(L.conv(4, 2, use_bias=False), lambda: nn.Conv3d(3, 4, 2, bias=False), (2, 3, 4, 5, 3)),
    "conv 2-D circular": images(
        L.conv(4, 3, padding=1, padding_mode="circular"),
        lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"),
        (2, 6, 5, 3),
    ),
    "depthwise_conv": images(L.depthwise_conv(3, multiplier=2), lambda: nn.Conv2d(3, 6, 3, groups=3), (2, 6, 5, 3)),
    "separable_conv": images(
        L.separable_conv(5, 3, multiplier=2),
        lambda: nn.Sequential(nn.Conv2d(3, 6, 3, groups=3, bias=False), nn.Conv2d(6, 5, 1)),
        (2, 6, 5, 3),
    ),
    "conv_transpose 1-D": images(
        L.conv_transpose(4, 3, strides=2), lambda: nn.ConvTranspose1d(3, 4, 3, stride=2), (2, 5, 3)
    ),
    "conv_transpose 2-D": images(
        L.conv_transpose(6, 3, strides=2, padding=1, output_padding=1, groups=2),
        lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
        (2, 4, 5, 4),
    ),
    "conv_transpose 3-D": images(
        L.conv_transpose(2, (2, 3, 1), dilation=2),
        lambda: nn.ConvTranspose3d(3, 2, (2, 3, 1), dilation=2),
        (2, 3, 4, 2, 3),
    ),
    # Normalisation
    "batch_norm": images(L.batch_norm(), lambda: nn.BatchNorm2d(3), (4, 5, 6, 3), train=BOTH),
    "batch_norm of vectors": Row(
        L.batch_norm(momentum=0.7, epsilon=1e-3), lambda: nn.BatchNorm1d(3, momentum=0.3, eps=1e-3), (7, 3), train=BOTH
    ),
    "batch_norm without scale and bias": images(
        L.batch_norm(use_scale=False, use_bias=False), lambda: nn.BatchNorm1d(3, affine=False), (4, 5, 3), train=BOTH
    ),
    "layer_norm": Row(L.layer_norm(), lambda: nn.LayerNorm(6), (2, 5, 6)),
    "layer_norm without bias": Row(L.layer_norm(use_bias=False), lambda: nn.LayerNorm(6, bias=False), (2, 6)),
    "rms_norm": Row(L.rms_norm(), lambda: nn.RMSNorm(6, eps=1e-5), (2, 5, 6)),
    "group_norm": images(L.group_norm(3), lambda: nn.GroupNorm(3, 6), (2, 4, 5, 6)),
    "instance_norm": images(L.instance_norm(), lambda: nn.InstanceNorm2d(3, affine=True), (2, 4, 5, 3)),
    "weight_norm": Row(weight_norm(L.dense(4)), lambda: P.weight_norm(nn.Linear(3, 4)), (5, 3)),
    "weight_norm of a conv": images(weight_norm(L.conv(4, 3)), lambda: P.weight_norm(nn.Conv2d(3, 4, 3)), (2, 6, 5, 3)),
    "spectral_norm": Row(spectral_norm(L.dense(4)), lambda: P.spectral_norm(nn.Linear(3, 4)), (5, 3), train=BOTH),
    "spectral_norm of a conv": images(
        spectral_norm(L.conv(4, 3)), lambda: P.spectral_norm(nn.Conv2d(3, 4, 3)), (2, 6, 5, 3), train=BOTH
    ),
    # Activations with parameters
    "prelu": images(L.prelu(), lambda: nn.PReLU(3), (2, 4, 5, 3)),
    "glu": Row(L.glu(3), lambda: nn.Sequential(nn.Linear(4, 6), nn.GLU()), (5, 4)),
    "softmax": Row(L.softmax(), lambda: nn.Softmax(-1), (5, 4)),
    # Pooling and shape
    "max_pool": images(L.max_pool(3, strides=2), lambda: nn.MaxPool2d(3, 2), (2, 7, 8, 3)),
    "avg_pool": images(L.avg_pool(2), lambda: nn.AvgPool1d(2), (2, 7, 3)),
    "global_avg_pool": images(
        L.global_avg_pool(), lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), (2, 4, 5, 3)
    ),
    "max_pool, dilation": images(
        L.max_pool(2, strides=1, dilation=2), lambda: nn.MaxPool2d(2, 1, dilation=2), (2, 5, 6, 3)
    ),
    "global_max_pool": images(
        L.global_max_pool(), lambda: nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten()), (2, 4, 5, 3)
    ),
    "adaptive_avg_pool": images(L.adaptive_avg_pool((3, 2)), lambda: nn.AdaptiveAvgPool2d((3, 2)), (2, 7, 5, 3)),
    "adaptive_max_pool": images(L.adaptive_max_pool(3), lambda: nn.AdaptiveMaxPool1d(3), (2, 7, 3)),
    "upsample": images(L.upsample(2), lambda: nn.Upsample(scale_factor=2), (2, 4, 5, 3)),
    "upsample, linear": images(
        L.upsample((2, 3), interpolation="linear"),
        lambda: nn.Upsample(scale_factor=(2, 3), mode="bilinear"),
        (2, 4, 5, 3),
    ),
    "pixel_shuffle": images(L.pixel_shuffle(2), lambda: nn.PixelShuffle(2), (2, 3, 4, 8)),
    "pixel_unshuffle": images(L.pixel_unshuffle(2), lambda: nn.PixelUnshuffle(2), (2, 4, 6, 3)),
    "flatten": Row(L.flatten(), nn.Flatten, (2, 3, 4)),
    "reshape": Row(L.reshape(2, 3), lambda: nn.Unflatten(1, (2, 3)), (5, 6)),
    # Recurrent
    "simple_rnn": Row(L.simple_rnn(4), lambda: nn.RNN(3, 4, batch_first=True), (2, 5, 3), outputs),
    "simple_rnn, relu": Row(
        L.simple_rnn(4, activation=jax.nn.relu),
        lambda: nn.RNN(3, 4, nonlinearity="relu", batch_first=True),
        (2, 5, 3),
        outputs,
    ),
    "lstm": Row(L.lstm(4), lambda: nn.LSTM(3, 4, batch_first=True), (2, 5, 3), outputs),
    "lstm, last": Row(
        L.lstm(4, outputs="last"), lambda: nn.LSTM(3, 4, batch_first=True), (2, 5, 3), lambda m, x: m(x)[1][0][0]
    ),
    "lstm without bias": Row(
        L.lstm(4, use_bias=False), lambda: nn.LSTM(3, 4, bias=False, batch_first=True), (2, 5, 3), outputs
    ),
    "lstm, stacked": Row(
        dl.sequential(L.lstm(4), L.lstm(4), L.lstm(4)),
        lambda: nn.LSTM(3, 4, num_layers=3, batch_first=True),
        (2, 5, 3),
        outputs,
    ),
    "gru": Row(L.gru(4), lambda: nn.GRU(3, 4, batch_first=True), (2, 5, 3), outputs),
    "gru without bias": Row(
        L.gru(4, use_bias=False), lambda: nn.GRU(3, 4, bias=False, batch_first=True), (2, 5, 3), outputs
    ),
    "gru, both directions, stacked": Row(
        dl.sequential(L.bidirectional(L.gru(4)), L.bidirectional(L.gru(4))),
        lambda: nn.GRU(3, 4, num_layers=2, bidirectional=True, batch_first=True),
        (2, 5, 3),
        outputs,
    ),
    "bidirectional": Row(
        L.bidirectional(L.lstm(4)),
        lambda: nn.LSTM(3, 4, bidirectional=True, batch_first=True),
        (2, 5, 3),
        outputs,
    ),
    # Attention
    "multi_head_attention": Row(
        L.multi_head_attention(2), lambda: nn.MultiheadAttention(6, 2, batch_first=True), (2, 5, 6), to_itself
    ),
    "multi_head_attention without bias": Row(
        L.multi_head_attention(3, use_bias=False),
        lambda: nn.MultiheadAttention(6, 3, bias=False, batch_first=True),
        (2, 5, 6),
        to_itself,
    ),
    "multi_head_attention, causal": Row(
        L.multi_head_attention(2, causal=True),
        lambda: nn.MultiheadAttention(6, 2, batch_first=True),
        (2, 5, 6),
        lambda m, x: m(x, x, x, attn_mask=future(x.shape[1]), need_weights=False)[0],
    ),
    "multi_head_attention, cross": Row(
        L.multi_head_attention(2),
        lambda: nn.MultiheadAttention(6, 2, kdim=4, vdim=4, batch_first=True),
        ((2, 5, 6), (2, 7, 4)),
        lambda m, x, memory: m(x, memory, memory, need_weights=False)[0],
    ),
}


def future(length):
    """True where a query may not look."""
    return torch.ones(length, length, dtype=torch.bool).triu(1)


def filled(row, dtype):
    """The row's module with numbers of its own in every parameter and statistic."""
    module = row.module().to(torch.float64 if dtype == np.float64 else torch.float32)
    generator = np.random.default_rng(7)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            numbers = generator.uniform(1, 2, tensor.shape) if "var" in name else generator.normal(size=tensor.shape)
            tensor.copy_(torch.tensor(numbers / 2))
    return module


def inputs(row, dtype):
    shapes = row.shape if isinstance(row.shape[0], tuple) else (row.shape,)
    if row.classes:
        return [np.random.default_rng(1).integers(0, row.classes, shape) for shape in shapes]
    return [normal(shape, dtype, seed) for seed, shape in enumerate(shapes)]


def one_of(arrays):
    return tuple(arrays) if len(arrays) > 1 else arrays[0]


def ours(row, params, state, arrays, train):
    """The result, the new state, and the gradients to the parameters and to each input."""

    @jax.jit
    def both(params, state, arrays):
        def run(params, arrays):
            y, new = row.layer.apply(params, state, one_of(arrays), train=train)
            return one_of(y[:1] if isinstance(y, tuple) else [y]), new

        y, vjp, new = jax.vjp(run, params, arrays, has_aux=True)
        to_params, to_inputs = vjp(jnp.asarray(weights(y.shape, y.dtype)))
        return y, new, to_params, [] if row.classes else to_inputs

    return both(params, state, arrays)


def theirs(row, module, arrays, train):
    """The same from PyTorch: the result and the gradients to inputs in our layout, those to parameters by name."""
    module.train(train)
    module.zero_grad()
    there, back = (channels_first, channels_last) if row.first else (same, same)
    tensors = [torch.tensor(np.ascontiguousarray(there(a)), requires_grad=not row.classes) for a in arrays]
    y = row.call(module, *tensors)
    found = back(y.detach().numpy())
    y.backward(torch.tensor(np.ascontiguousarray(there(weights(found.shape, found.dtype)))))
    to_params = {name: p.grad for name, p in module.named_parameters()}
    return found, to_params, [] if row.classes else [back(tensor.grad.numpy()) for tensor in tensors]


def of_one_bias(gradients):
    """The gradients as a reader takes them that adds up the two biases of a recurrent layer: each has that of the sum.

    Of a GRU's three gates, the last keeps its own: there the inner bias stands inside of the reset gate's product.
    """

    def part(name, gradient):
        if "bias_hh" not in name:
            return gradient
        size = gradients[name.replace("bias_hh", "weight_hh")].shape[1]
        gates = gradient.shape[0] // size
        kept = torch.zeros_like(gradient)
        kept[2 * size :] = gradient[2 * size :] if gates == 3 else 0
        return kept

    return {name: part(name, gradient) for name, gradient in gradients.items()}


def assert_alike(found, expected, dtype):
    """Alike within a share of each tensor's largest entry; of all of them where it is zero but for rounding, as the
    gradient to the bias of attention's keys."""
    overall = max(np.abs(leaf).max(initial=0) for leaf in jax.tree.leaves(expected))

    def close(a, b):
        assert a.shape == b.shape
        assert a.dtype == b.dtype == dtype
        largest = np.abs(b).max(initial=0)
        largest = largest if largest > SHARE[dtype] * overall else overall
        np.testing.assert_allclose(a, b, rtol=0, atol=SHARE[dtype] * largest)

    jax.tree.map(close, found, expected)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_values_state_and_gradients(row, dtype):
    module, arrays = filled(row, dtype), inputs(row, dtype)
    x = one_of(arrays)
    for train in row.train:
        params, state = from_torch(row.layer, x, module.state_dict())
        y, new_state, to_params, to_inputs = ours(row, params, state, arrays, train)
        their_y, their_to_params, their_to_inputs = theirs(row, module, arrays, train)
        assert_alike([y, to_inputs], [their_y, their_to_inputs], dtype)
        gradients = {**module.state_dict(), **of_one_bias(their_to_params)}
        if to_params:
            assert_alike(to_params, from_torch(row.layer, x, gradients)[0], dtype)
        if state:
            their_state = from_torch(row.layer, x, module.state_dict())[1]
            if train and "var" in state:
                their_state["var"] = biased(row, their_state["var"], state["var"])
            assert_alike(new_state, their_state, dtype)


def biased(row, new, old):
    """PyTorch's running variance takes in the unbiased one, ``n / (n − 1)`` times ours."""
    count = np.prod(row.shape[:-1])
    kept = dict(row.layer.args).get("momentum", 0.9) * old
    return kept + (new - kept) * (count - 1) / count


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_there_and_back(row, dtype):
    """What goes to PyTorch and comes back is the same; a module that was told to load it gives the same results."""
    module, arrays = filled(row, dtype), inputs(row, dtype)
    x = one_of(arrays)
    params, state = from_torch(row.layer, x, module.state_dict())
    there = to_torch(row.layer, x, params, state, module.state_dict())
    back = from_torch(row.layer, x, there)
    jax.tree.map(np.testing.assert_array_equal, back, (params, state))
    twin = filled(row, dtype)
    for tensor in twin.state_dict().values():
        tensor.zero_()
    twin.load_state_dict({name: torch.from_numpy(array) for name, array in there.items()})
    assert_alike(theirs(row, twin, arrays, False)[0], theirs(row, module, arrays, False)[0], dtype)
