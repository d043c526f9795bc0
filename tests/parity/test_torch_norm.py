"""Norms, lookups, bilinear forms and activations against PyTorch: values and gradients, from odd shapes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch_reference import assert_alike, channels_first, channels_last, normal, ours, same, theirs

from jaxdl import functional as F

T = torch.nn.functional

# Normalisation


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4), (2, 1, 3, 6)], ids=str)
@pytest.mark.parametrize("epsilon", [1e-5, 0.1])
def test_layer_norm(shape, epsilon, dtype):
    arguments = 2 + 3 * normal(shape, dtype), normal(shape[-1:], dtype, 1), normal(shape[-1:], dtype, 2)

    def pytorch(x, scale, bias):
        return T.layer_norm(x, shape[-1:], scale, bias, eps=epsilon)

    expected = theirs(pytorch, *arguments, there=[same] * 3, back=[same] * 4)
    assert_alike(ours(partial(F.layer_norm, epsilon=epsilon), *arguments), expected, dtype)


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("epsilon", [1e-5, 0.1])
def test_rms_norm(shape, epsilon, dtype):
    arguments = 2 + 3 * normal(shape, dtype), normal(shape[-1:], dtype, 1)

    def pytorch(x, scale):
        return T.rms_norm(x, shape[-1:], scale, eps=epsilon)

    expected = theirs(pytorch, *arguments, there=[same] * 2, back=[same] * 3)
    assert_alike(ours(partial(F.rms_norm, epsilon=epsilon), *arguments), expected, dtype)


LAYOUT = {"there": [channels_first, same, same], "back": [channels_last, channels_last, same, same]}


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("shape", [(3, 6), (2, 5, 6), (2, 3, 5, 6), (1, 2, 3, 2, 6)], ids=str)
def test_group_norm(shape, groups, dtype):
    if len(shape) == 2 and groups == 6:
        pytest.skip("PyTorch refuses a group of one number")
    arguments = 2 + 3 * normal(shape, dtype), normal(shape[-1:], dtype, 1), normal(shape[-1:], dtype, 2)

    def pytorch(x, scale, bias):
        return T.group_norm(x, groups, scale, bias, eps=1e-3)

    def norm(x, scale, bias):
        return F.group_norm(x, groups, scale, bias, epsilon=1e-3)

    assert_alike(ours(norm, *arguments), theirs(pytorch, *arguments, **LAYOUT), dtype)


@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 3, 5, 4), (1, 2, 3, 2, 2)], ids=str)
def test_instance_norm(shape, dtype):
    arguments = 2 + 3 * normal(shape, dtype), normal(shape[-1:], dtype, 1), normal(shape[-1:], dtype, 2)

    def pytorch(x, scale, bias):
        return T.instance_norm(x, weight=scale, bias=bias, eps=1e-5)

    assert_alike(ours(F.instance_norm, *arguments), theirs(pytorch, *arguments, **LAYOUT), dtype)


# Linear and lookup


def to_front(kernel):
    """``(in1, in2, out) -> (out, in1, in2)``."""
    return np.moveaxis(kernel, -1, 0)


def to_back(kernel):
    return np.moveaxis(kernel, 0, -1)


@pytest.mark.parametrize("leading", [(), (5,), (2, 3)], ids=str)
@pytest.mark.parametrize("use_bias", [True, False], ids=["bias", "no bias"])
def test_bilinear(leading, use_bias, dtype):
    arguments = [normal((*leading, 4), dtype), normal((*leading, 3), dtype, 1), normal((4, 3, 5), dtype, 2)]
    arguments += [normal((5,), dtype, 3)] if use_bias else []
    moves = [same, same, to_front, same][: len(arguments)]
    back = [same, same, same, to_back, same][: len(arguments) + 1]
    expected = theirs(T.bilinear, *arguments, there=moves, back=back)
    assert_alike(ours(F.bilinear, *arguments), expected, dtype)


@pytest.mark.parametrize("padding_index", [None, 2])
@pytest.mark.parametrize("shape", [(), (7,), (3, 4)], ids=str)
def test_embedding(shape, padding_index, dtype):
    """The row of the padding index is zero, as PyTorch's is at the start: that is what it gives out."""
    table, ids = normal((5, 3), dtype), np.random.default_rng(1).integers(0, 5, shape)
    if padding_index is not None:
        table[padding_index] = 0

    def pytorch(table):
        return T.embedding(torch.tensor(ids), table, padding_idx=padding_index)

    def lookup(table):
        return F.embedding(ids, table, padding_index=padding_index)

    assert_alike(ours(lookup, table), theirs(pytorch, table, there=[same], back=[same, same]), dtype)


def test_attend(dtype):
    arguments = normal((2, 3, 4), dtype), normal((6, 4), dtype, 1)
    expected = theirs(T.linear, *arguments, there=[same, same], back=[same, same, same])
    assert_alike(ours(F.attend, *arguments), expected, dtype)


def test_one_hot(dtype):
    ids = np.random.default_rng(0).integers(0, 6, (3, 4))
    np.testing.assert_array_equal(F.one_hot(ids, 6, dtype=dtype), T.one_hot(torch.tensor(ids), 6).numpy())


# Activations


@pytest.mark.parametrize("shape", [(2, 3), (2, 5, 3), (2, 2, 3, 4)], ids=str)
def test_prelu(shape, dtype):
    x, slope = normal(shape, dtype), normal(shape[-1:], dtype, 1)
    x.reshape(-1)[:2] = 0  # on the kink, which takes the slope's side in both
    layout = {"there": [channels_first, same], "back": [channels_last, channels_last, same]}
    assert_alike(ours(F.prelu, x, slope), theirs(T.prelu, x, slope, **layout), dtype)


@pytest.mark.parametrize("shape", [(6,), (3, 4), (2, 3, 8)], ids=str)
def test_glu(shape, dtype):
    x = normal(shape, dtype)
    assert_alike(ours(F.glu, x), theirs(T.glu, x, there=[same], back=[same, same]), dtype)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 7.0])
def test_softmax(temperature, dtype):
    x = normal((4, 6), dtype)

    def pytorch(x):
        return torch.softmax(x / temperature, -1)

    expected = theirs(pytorch, x, there=[same], back=[same, same])
    assert_alike(ours(partial(F.softmax, temperature=temperature), x), expected, dtype)


# Noise


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_alpha_dropout_has_the_same_two_lines(rate, dtype):
    """Each result is one number if the element was dropped, else a line through its input: PyTorch's two and ours."""
    x = np.linspace(1, 2, 4096).astype(dtype)  # away from the number for dropped elements
    torch.manual_seed(0)
    found = np.asarray(F.alpha_dropout(jax.random.key(0), jnp.asarray(x), rate))
    expected = T.alpha_dropout(torch.tensor(x), rate, training=True).numpy()

    def lines(y):
        dropped = np.isclose(y, y.min(), rtol=1e-4, atol=1e-4)
        slope, shift = np.polyfit(x[~dropped].astype(np.float64), y[~dropped].astype(np.float64), 1)
        return dropped.mean(), np.array([slope, shift, y[dropped].mean(dtype=np.float64)])

    (share, numbers), (their_share, their_numbers) = lines(found), lines(expected)
    np.testing.assert_allclose(numbers, their_numbers, rtol=1e-8 if dtype == np.float64 else 1e-4)
    assert abs(share - rate) < 4 * np.sqrt(rate * (1 - rate) / x.size)
    assert abs(their_share - rate) < 4 * np.sqrt(rate * (1 - rate) / x.size)
