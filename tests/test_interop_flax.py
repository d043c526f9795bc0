"""Whole layers against Flax, their weights copied by :mod:`jaxdl.interop`: values, state and gradients, and back."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl as dl
from jaxdl import layers as L
from jaxdl.interop import from_flax, to_flax


class Row(NamedTuple):
    """A layer, the Flax module that is its counterpart, and the shape of the input, or of each of several.

    **Fields** ``classes``: the inputs hold ids below it; ``train``: whether the module is told so.
    """

    layer: Any
    module: Callable[[], nn.Module]
    shape: Any
    classes: int = 0
    train: bool = False


ROWS = {
    "dense": Row(L.dense(4), lambda: nn.Dense(4), (5, 3)),
    "embedding": Row(L.embedding(7, 3), lambda: nn.Embed(7, 3), (2, 5), classes=7),
    "conv": Row(L.conv(4, (3, 2), padding="SAME"), lambda: nn.Conv(4, (3, 2)), (2, 6, 5, 3)),
    "depthwise_conv": Row(
        L.depthwise_conv(3, multiplier=2),
        lambda: nn.Conv(6, (3, 3), feature_group_count=3, padding="VALID"),
        (2, 6, 5, 3),
    ),
    "conv_transpose": Row(
        L.conv_transpose(4, (3, 2), strides=2, padding="SAME"),
        lambda: nn.ConvTranspose(4, (3, 2), strides=(2, 2)),
        (2, 4, 5, 3),
    ),
    "batch_norm": Row(L.batch_norm(), lambda: nn.BatchNorm(False, momentum=0.9), (7, 5, 3), train=True),
    "layer_norm": Row(L.layer_norm(), lambda: nn.LayerNorm(epsilon=1e-5), (2, 5, 6)),
    "rms_norm": Row(L.rms_norm(), lambda: nn.RMSNorm(epsilon=1e-5), (2, 5, 6)),
    "group_norm": Row(L.group_norm(3), lambda: nn.GroupNorm(3, epsilon=1e-5), (2, 4, 5, 6)),
    "instance_norm": Row(L.instance_norm(), lambda: nn.InstanceNorm(epsilon=1e-5), (2, 4, 5, 3)),
    "simple_rnn": Row(L.simple_rnn(4), lambda: nn.RNN(nn.SimpleCell(4)), (2, 5, 3)),
    "lstm": Row(L.lstm(4), lambda: nn.RNN(nn.OptimizedLSTMCell(4)), (2, 5, 3)),
    "gru": Row(L.gru(4), lambda: nn.RNN(nn.GRUCell(4)), (2, 5, 3)),
    "bidirectional": Row(
        L.bidirectional(L.gru(4)), lambda: nn.Bidirectional(nn.RNN(nn.GRUCell(4)), nn.RNN(nn.GRUCell(4))), (2, 5, 3)
    ),
    "conv_lstm": Row(L.conv_lstm(2, (3, 3)), lambda: nn.RNN(nn.ConvLSTMCell(2, (3, 3))), (2, 3, 4, 5, 2)),
    "multi_head_attention": Row(L.multi_head_attention(2), lambda: nn.MultiHeadDotProductAttention(2), (2, 5, 6)),
    "multi_head_attention, cross": Row(
        L.multi_head_attention(2), lambda: nn.MultiHeadDotProductAttention(2), ((2, 5, 6), (2, 7, 4))
    ),
}


def one_of(arrays):
    return tuple(arrays) if len(arrays) > 1 else arrays[0]


def inputs(row):
    shapes = row.shape if isinstance(row.shape[0], tuple) else (row.shape,)
    generator = np.random.default_rng(0)
    if row.classes:
        return [jnp.asarray(generator.integers(0, row.classes, shape)) for shape in shapes]
    return [jnp.asarray(generator.normal(size=shape), jnp.float32) for shape in shapes]


def filled(variables):
    """Variables with numbers of their own; variances are positive."""
    generator = np.random.default_rng(7)

    def numbers(path, leaf):
        drawn = generator.uniform(1, 2, leaf.shape) if path[-1].key == "var" else generator.normal(size=leaf.shape)
        return jnp.asarray(drawn / 2, jnp.float32)

    return jax.tree_util.tree_map_with_path(numbers, dict(variables))


def outcome(function, params, arrays, integers):
    """The result, what comes beside it, and the gradients to parameters and inputs."""

    @jax.jit
    def both(params, arrays):
        y, vjp, aside = jax.vjp(function, params, arrays, has_aux=True)
        to_params, to_inputs = vjp(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))
        return y, aside, to_params, [] if integers else to_inputs

    return both(params, arrays)


def assert_alike(found, expected):
    overall = max(np.abs(leaf).max(initial=0) for leaf in jax.tree.leaves(expected))

    def close(a, b):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        largest = np.abs(b).max(initial=0)  # of all where one is zero but for rounding: the bias of attention's keys
        largest = largest if largest > 1e-5 * overall else overall
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * largest)

    jax.tree.map(close, found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_values_state_and_gradients(row):
    arrays, module = inputs(row), row.module()
    x = one_of(arrays)
    with jax.numpy_rank_promotion("allow"):
        variables = filled(jax.eval_shape(module.init, jax.random.key(0), *arrays))
        mutable = [name for name in variables if name != "params"]

        def theirs(params, arrays):
            y, new = module.apply({**variables, "params": params}, *arrays, mutable=mutable)
            return y, new

        expected = outcome(theirs, variables["params"], arrays, row.classes)
    params, state = from_flax(row.layer, x, variables)

    def ours(params, arrays):
        y, new = row.layer.apply(params, state, one_of(arrays), train=row.train)
        return (y[0] if isinstance(y, tuple) else y), new

    y, new, to_params, to_inputs = outcome(ours, params, arrays, row.classes)
    their_y, their_new, their_to_params, their_to_inputs = expected
    assert_alike([y, to_inputs], [their_y, their_to_inputs])
    if state:
        assert_alike(new, from_flax(row.layer, x, {**variables, **their_new})[1])
    if row.layer.kind == "conv_lstm":  # its bias is a sum of two of theirs: each has the gradient of the sum
        assert_alike(to_params["kernel"], from_flax(row.layer, x, {"params": their_to_params})[0]["kernel"])
    else:
        assert_alike(to_params, from_flax(row.layer, x, {**variables, "params": their_to_params})[0])


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_there_and_back(row):
    x = one_of(inputs(row))
    like = jax.eval_shape(row.module().init, jax.random.key(0), *inputs(row))
    params, state = from_flax(row.layer, x, filled(like))
    variables = to_flax(row.layer, x, params, state, like)
    assert jax.tree.map(np.shape, variables) == jax.tree.map(np.shape, dict(like))
    back = from_flax(row.layer, x, variables)
    if row.layer.kind == "conv_lstm":  # 1 is taken from the bias and added again
        assert_alike(back, (params, state))
    else:
        jax.tree.map(np.testing.assert_array_equal, back, (params, state))


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x + nn.relu(nn.Dense(6)(x))


class Net(nn.Module):
    """Its dicts, once sorted, do not tell the order of its twelve equal layers; their numbers do."""

    @nn.compact
    def __call__(self, x):
        for _ in range(11):
            x = Block()(x)
        return nn.Dense(3, name="head")(nn.BatchNorm(True)(x))


def test_numbers_tell_the_order():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6)), jnp.float32)
    variables = filled(jax.eval_shape(Net().init, jax.random.key(0), x))
    model = dl.sequential(*[dl.residual(L.dense(6), jax.nn.relu)] * 11, L.batch_norm(), ("head", L.dense(3)))
    params, state = from_flax(model, x, variables)
    with jax.numpy_rank_promotion("allow"):
        expected = Net().apply(variables, x)
    assert_alike(model.apply(params, state, x, train=False)[0], expected)


class Named(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(4, name="alpha")(nn.Dense(4, name="beta")(x))


def test_names_that_do_not_tell_the_order():
    x = jnp.ones((1, 4))
    variables = filled(jax.eval_shape(Named().init, jax.random.key(0), x))
    model = dl.sequential(L.dense(4), L.dense(4))
    with pytest.raises(
        ValueError,
        match=r'from_flax: dense "dense" fits several modules, and their names do not tell the order; got '
        r'"alpha", "beta". Did you mean modules=\{\'dense\': \'alpha\'\}\?',
    ):
        from_flax(model, x, variables)
    params, _ = from_flax(model, x, variables, modules={"dense": "beta"})
    np.testing.assert_array_equal(params["dense"]["kernel"], variables["params"]["beta"]["kernel"])
    np.testing.assert_array_equal(params["dense_1"]["kernel"], variables["params"]["alpha"]["kernel"])


def test_wrong_variables():
    x = jnp.ones((1, 3))
    with pytest.raises(TypeError, match="a dict of the collections params and batch_stats; got one of kernel"):
        from_flax(L.dense(4), x, {"kernel": jnp.ones((3, 4))})
    with pytest.raises(TypeError, match="collections params and batch_stats; got one of params, cache"):
        from_flax(L.dense(4), x, {"params": {}, "cache": {}})
    with pytest.raises(
        ValueError, match=r"gru: Flax applies the reset gate after the product; got gru\(features=4, reset='before'\)"
    ):
        from_flax(L.gru(4, reset="before"), jnp.ones((1, 2, 3)), {"params": {}})
