"""Whole layers against Keras on JAX, their weights copied by :mod:`jaxdl.interop`: values, and the gradients to the
inputs and to every parameter, in float32, in which Keras computes its norms whatever the dtype.
"""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

os.environ["KERAS_BACKEND"] = "jax"  # read as Keras is imported

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from keras import layers as K
from torch_reference import SHARE, normal, weights

import jaxdl as dl
from jaxdl import layers as L
from jaxdl.interop import from_keras, to_keras


class Row(NamedTuple):
    """A layer, its counterpart, and the shape of the input, or of each of several."""

    layer: Any
    theirs: Callable[[], Any]
    shape: Any
    classes: int = 0


def cnn():
    layers = [K.Conv2D(4, 3), K.BatchNormalization(), K.ReLU(), K.MaxPooling2D(), K.Flatten(), K.Dense(3)]
    return keras.Sequential([K.Input((8, 8, 2)), *layers])


ROWS = {
    "dense": Row(L.dense(4), lambda: K.Dense(4), (2, 5, 3)),
    "embedding": Row(L.embedding(7, 3), lambda: K.Embedding(7, 3), (2, 5), classes=7),
    "conv": Row(L.conv(4, 3, groups=2), lambda: K.Conv2D(4, 3, groups=2), (2, 6, 5, 4)),
    "conv SAME": Row(
        L.conv(4, 3, strides=2, padding="SAME"),
        lambda: K.Conv2D(4, 3, strides=2, padding="same"),
        (2, 6, 5, 3),
    ),
    "conv CAUSAL": Row(L.conv(4, 3, padding="CAUSAL"), lambda: K.Conv1D(4, 3, padding="causal"), (2, 6, 3)),
    "depthwise_conv": Row(
        L.depthwise_conv(3, multiplier=2), lambda: K.DepthwiseConv2D(3, depth_multiplier=2), (2, 6, 5, 3)
    ),
    "separable_conv": Row(
        L.separable_conv(5, 3, multiplier=2),
        lambda: K.SeparableConv2D(5, 3, depth_multiplier=2),
        (2, 6, 5, 3),
    ),
    "conv_transpose": Row(L.conv_transpose(5, 3, strides=2), lambda: K.Conv2DTranspose(5, 3, strides=2), (2, 4, 5, 3)),
    "conv_transpose SAME": Row(
        L.conv_transpose(5, 3, strides=2, padding="SAME"),
        lambda: K.Conv2DTranspose(5, 3, strides=2, padding="same"),
        (2, 4, 5, 3),
    ),
    "batch_norm": Row(L.batch_norm(epsilon=1e-3), K.BatchNormalization, (5, 4, 3)),
    "layer_norm": Row(L.layer_norm(epsilon=1e-3), K.LayerNormalization, (5, 3)),
    "group_norm": Row(L.group_norm(2, epsilon=1e-3), lambda: K.GroupNormalization(2), (5, 4, 6)),
    "instance_norm": Row(L.instance_norm(epsilon=1e-3), lambda: K.GroupNormalization(-1), (5, 4, 6)),
    "rms_norm": Row(L.rms_norm(epsilon=1e-6), K.RMSNormalization, (5, 6)),
    "prelu": Row(L.prelu(), lambda: K.PReLU(shared_axes=[1, 2]), (2, 5, 4, 3)),
    "simple_rnn": Row(L.simple_rnn(4), lambda: K.SimpleRNN(4, return_sequences=True), (2, 5, 3)),
    "lstm": Row(L.lstm(4), lambda: K.LSTM(4, return_sequences=True), (2, 5, 3)),
    "lstm, last": Row(L.lstm(4, outputs="last"), lambda: K.LSTM(4), (2, 5, 3)),
    "gru, reset after": Row(L.gru(4), lambda: K.GRU(4, return_sequences=True), (2, 5, 3)),
    "gru, reset before": Row(
        L.gru(4, reset="before"), lambda: K.GRU(4, return_sequences=True, reset_after=False), (2, 5, 3)
    ),
    "bidirectional": Row(L.bidirectional(L.lstm(4), outputs="last"), lambda: K.Bidirectional(K.LSTM(4)), (2, 5, 3)),
    "conv_lstm": Row(
        L.conv_lstm(4, 3), lambda: K.ConvLSTM2D(4, 3, padding="same", return_sequences=True), (2, 3, 5, 6, 2)
    ),
    "multi_head_attention": Row(L.multi_head_attention(2), lambda: K.MultiHeadAttention(2, 3), ((2, 5, 6), (2, 7, 4))),
    "multi_head_attention, groups": Row(
        L.multi_head_attention(4, kv_heads=2),
        lambda: K.GroupQueryAttention(3, 4, 2),
        ((2, 5, 12), (2, 7, 12)),
    ),
    "a model": Row(
        dl.sequential(L.conv(4, 3), L.batch_norm(epsilon=1e-3), jax.nn.relu, L.max_pool(2), L.flatten(), L.dense(3)),
        cnn,
        (2, 8, 8, 2),
    ),
}


def inputs(row):
    shapes = row.shape if isinstance(row.shape[0], tuple) else (row.shape,)
    if row.classes:
        return [jnp.asarray(np.random.default_rng(1).integers(0, row.classes, shape)) for shape in shapes]
    return [jnp.asarray(normal(shape, np.float32, seed)) for seed, shape in enumerate(shapes)]


def built(row, arrays):
    """The row's Keras layer with numbers of its own in every weight."""
    layer = row.theirs()
    layer(*arrays)
    generator = np.random.default_rng(7)
    layer.set_weights(
        [
            generator.uniform(1, 2, w.shape) if "variance" in w.path else generator.normal(size=w.shape) / 2
            for w in layer.weights
        ]
    )
    return layer


def theirs(layer, arrays, integers):
    """The result, the gradient to each weight, zero to those that are not trained, and to each input."""

    def run(trained, arrays):
        return layer.stateless_call(trained, [v.value for v in layer.non_trainable_variables], *arrays)[0]

    trained = [variable.value for variable in layer.trainable_variables]
    y, vjp = jax.vjp(run, trained, arrays)
    to_trained, to_inputs = vjp(jnp.asarray(weights(y.shape, y.dtype)))
    gradients = dict(zip((v.path for v in layer.trainable_variables), to_trained, strict=True))
    return y, [gradients.get(w.path, w.value) for w in layer.weights], [] if integers else to_inputs


def of_one_bias(gradients, weights):
    """Of a bias of two rows, which add up but for the last third of a GRU's second, each row has the sum's gradient."""

    def part(gradient, weight):
        if weight.path.endswith("gru_cell/bias") and gradient.ndim == 2:
            return gradient.at[1, : 2 * gradient.shape[1] // 3].set(0)
        return gradient

    return [part(gradient, weight) for gradient, weight in zip(gradients, weights, strict=True)]


def assert_alike(found, expected):
    overall = max(np.abs(leaf).max(initial=0) for leaf in jax.tree.leaves(expected))

    def close(a, b):
        assert a.shape == b.shape
        assert a.dtype == b.dtype == np.float32
        largest = np.abs(b).max(initial=0)
        largest = largest if largest > SHARE[np.float32] * overall else overall
        np.testing.assert_allclose(a, b, rtol=0, atol=SHARE[np.float32] * largest)

    jax.tree.map(close, found, expected)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_values_and_gradients(row):
    arrays = inputs(row)
    x = tuple(arrays) if len(arrays) > 1 else arrays[0]
    with jax.numpy_rank_promotion("allow"):
        layer = built(row, arrays)
        their_y, their_gradients, their_to_inputs = theirs(layer, arrays, row.classes)
    params, state = from_keras(row.layer, x, layer.get_weights())

    def run(params, arrays):
        y = row.layer.apply(params, state, tuple(arrays) if len(arrays) > 1 else arrays[0], train=False)[0]
        return y[0] if isinstance(y, tuple) else y

    @jax.jit
    def both(params, arrays):
        y, vjp = jax.vjp(run, params, arrays)
        return y, *vjp(jnp.asarray(weights(y.shape, y.dtype)))

    y, to_params, to_inputs = both(params, arrays)
    assert_alike([y, [] if row.classes else to_inputs], [their_y, their_to_inputs])
    gradients = of_one_bias(their_gradients, layer.weights)
    assert_alike(to_params, from_keras(row.layer, x, gradients)[0])
    with jax.numpy_rank_promotion("allow"):
        layer.set_weights([0 * array for array in layer.get_weights()])
        layer.set_weights(to_keras(row.layer, x, params, state))
        assert_alike(layer(*arrays), their_y)
