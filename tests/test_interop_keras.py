"""Keras' lists of weights: each layer by the formula that Keras computes from them, and every error.

The same comparisons hold with Keras 3.15 itself. Here its formulas stand in NumPy, in its own layouts.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl as dl
from jaxdl import layers as L
from jaxdl.interop import from_keras, to_keras


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def keras_lstm(x, kernel, recurrent_kernel, bias):
    """Gates i, f, c, o."""
    h = c = np.zeros((len(x), recurrent_kernel.shape[0]))
    for t in range(x.shape[1]):
        i, f, g, o = np.split(x[:, t] @ kernel + h @ recurrent_kernel + bias, 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    return h


def keras_gru(x, kernel, recurrent_kernel, bias):
    """Gates z, r, h; a bias of two rows says that the reset gate stands after the product."""
    size = recurrent_kernel.shape[0]
    h = np.zeros((len(x), size))
    for t in range(x.shape[1]):
        outer = x[:, t] @ kernel + (bias[0] if bias.ndim == 2 else bias)
        if bias.ndim == 2:
            inner = h @ recurrent_kernel + bias[1]
            z, r = sigmoid(outer + inner)[:, : 2 * size].reshape(len(x), 2, size).swapaxes(0, 1)
            new = np.tanh(outer[:, 2 * size :] + r * inner[:, 2 * size :])
        else:
            gates = sigmoid(outer[:, : 2 * size] + h @ recurrent_kernel[:, : 2 * size])
            z, r = np.split(gates, 2, -1)
            new = np.tanh(outer[:, 2 * size :] + (r * h) @ recurrent_kernel[:, 2 * size :])
        h = z * h + (1 - z) * new
    return h


def keras_attention(x, *weights):
    """Kernels ``(in, heads, size)`` and biases of query, key and value; the output's ``(heads, size, out)``."""
    q, k, v = (np.einsum("btf,fhs->bths", x, w) + b for w, b in zip(weights[:6:2], weights[1:6:2], strict=True))
    scores = np.einsum("bqhs,bkhs->bhqk", q, k) / np.sqrt(q.shape[-1])
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    y = np.einsum("bhqk,bkhs->bqhs", scores / scores.sum(-1, keepdims=True), v)
    return np.einsum("bqhs,hso->bqo", y, weights[6]) + weights[7]


def keras_conv_transpose(x, kernel, bias):
    """One axis, strides of 2, VALID; the kernel is ``(window, out, in)``."""
    y = np.zeros((len(x), 2 * (x.shape[1] - 1) + len(kernel), kernel.shape[1]))
    for p in range(x.shape[1]):
        for t, tap in enumerate(kernel):
            y[:, 2 * p + t] += x[:, p] @ tap.T
    return y + bias


def keras_separable_conv(x, depthwise, pointwise, bias):
    """One axis, VALID; the depthwise kernel is ``(window, in, multiplier)``."""
    positions = x.shape[1] - len(depthwise) + 1
    wide = [sum(x[:, p + t, :, None] * tap for t, tap in enumerate(depthwise)) for p in range(positions)]
    return np.stack([y.reshape(len(x), -1) @ pointwise[0] + bias for y in wide], 1)


def keras_batch_norm(x, gamma, beta, mean, variance):
    return (x - mean) / np.sqrt(np.exp(variance) + 1e-3) * gamma + beta


HEADS = [(6, 2, 3), (2, 3)] * 3 + [(2, 3, 6), (6,)]

ROWS = {
    "dense": (L.dense(4), (5, 3), [(3, 4), (4,)], lambda x, w, b: x @ w + b),
    "glu": (L.glu(2), (5, 3), [(3, 4), (4,)], lambda x, w, b: (x @ w + b)[:, :2] * sigmoid((x @ w + b)[:, 2:])),
    "attend": (L.attend(7), (5, 3), [(3, 7)], lambda x, w: x @ w),
    "prelu": (L.prelu(), (2, 4, 5, 3), [(1, 1, 3)], lambda x, a: np.where(x > 0, x, a * x)),
    "separable_conv": (
        L.separable_conv(5, 3, multiplier=2),
        (2, 6, 3),
        [(3, 3, 2), (1, 6, 5), (5,)],
        keras_separable_conv,
    ),
    "conv_transpose": (L.conv_transpose(4, 3, strides=2), (2, 5, 3), [(3, 4, 3), (4,)], keras_conv_transpose),
    "lstm": (L.lstm(4, outputs="last"), (2, 5, 3), [(3, 16), (4, 16), (16,)], keras_lstm),
    "gru, reset after": (L.gru(4, outputs="last"), (2, 5, 3), [(3, 12), (4, 12), (2, 12)], keras_gru),
    "gru, reset before": (
        L.gru(4, reset="before", outputs="last"),
        (2, 5, 3),
        [(3, 12), (4, 12), (12,)],
        keras_gru,
    ),
    "bidirectional": (
        L.bidirectional(L.lstm(4), outputs="last"),
        (2, 5, 3),
        [(3, 16), (4, 16), (16,)] * 2,
        lambda x, *w: np.concatenate([keras_lstm(x, *w[:3]), keras_lstm(x[:, ::-1], *w[3:])], -1),
    ),
    "multi_head_attention": (L.multi_head_attention(2), (2, 5, 6), HEADS, keras_attention),
}


@pytest.mark.slow
@pytest.mark.parametrize(("layer", "shape", "shapes", "formula"), ROWS.values(), ids=ROWS)
def test_the_formulas_of_keras(layer, shape, shapes, formula):
    x = normal(*shape)
    weights = [normal(*one, seed=seed) for seed, one in enumerate(shapes, 1)]
    params, state = from_keras(layer, jax.ShapeDtypeStruct(x.shape, np.float32), weights)
    found, _ = jax.jit(lambda params, x: layer.apply(params, state, x, train=False))(
        params, jnp.asarray(x, jnp.float32)
    )
    expected = formula(x, *weights)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    there = to_keras(layer, jax.ShapeDtypeStruct(x.shape, np.float32), params, state)
    assert [array.shape for array in there] == shapes
    back = from_keras(layer, jax.ShapeDtypeStruct(x.shape, np.float32), there)
    jax.tree.map(np.testing.assert_array_equal, back, (params, state))


def test_a_batch_norm_has_its_statistics_last():
    x = normal(5, 3)
    weights = [normal(3, seed=seed) for seed in range(1, 5)]
    layer = L.batch_norm(epsilon=1e-3)
    params, state = from_keras(layer, jnp.ones((5, 3)), [*weights[:3], np.exp(weights[3])])
    found, _ = layer.apply(params, state, jnp.asarray(x, jnp.float32), train=False)
    np.testing.assert_allclose(found, keras_batch_norm(x, *weights), rtol=1e-4, atol=1e-5)


MODEL = dl.sequential(L.dense(4), L.batch_norm(use_scale=False), jax.nn.relu, L.dense(2))
SHAPES = [(3, 4), (4,), (4,), (4,), (4,), (4, 2), (2,)]
X = jax.ShapeDtypeStruct((1, 3), np.float32)


def test_a_model_takes_its_arrays_in_order():
    weights = [np.full(shape, seed, np.float32) for seed, shape in enumerate(SHAPES)]
    params, state = from_keras(MODEL, X, weights)
    values = {path: float(leaf.ravel()[0]) for path, leaf in dl.core.flat_paths((params, state)).items()}
    assert values == {
        "0/dense/kernel": 0,
        "0/dense/bias": 1,
        "0/batch_norm/bias": 2,
        "1/batch_norm/mean": 3,
        "1/batch_norm/var": 4,
        "0/dense_1/kernel": 5,
        "0/dense_1/bias": 6,
    }
    jax.tree.map(np.testing.assert_array_equal, to_keras(MODEL, X, params, state), weights)


ERRORS = {
    "a wrong shape": (
        [(3, 4), (5,)],
        r'from_keras: dense "dense" needs kernel\[3, 4\], bias\[4\]; got weights\[0:\] of shapes \[3, 4\], \[5\]',
    ),
    "too few": (SHAPES[:-2], r'dense "dense_1" needs kernel\[4, 2\], bias\[2\]; got weights\[5:\] of shapes none'),
    "too many": ([*SHAPES, (7,)], r"weights must be 7 arrays, all of the model's; got 8, the last of shape \[7\]"),
}


@pytest.mark.parametrize(("shapes", "message"), ERRORS.values(), ids=ERRORS)
def test_errors_name_both_sides(shapes, message):
    with pytest.raises(ValueError, match=message):
        from_keras(MODEL, X, [np.zeros(shape) for shape in shapes])


def test_what_is_no_list_of_weights():
    with pytest.raises(TypeError, match=r"weights must be a list of arrays; got dict\. Did you mean model.get_weights"):
        from_keras(MODEL, X, {})
    with pytest.raises(TypeError, match="bilinear must be of a kind that has a counterpart; got one of dense, glu"):
        to_keras(L.bilinear(2), (jnp.ones((1, 3)), jnp.ones((1, 4))), {}, {})
