"""Values that are not finite, planted in every place where they can come from, are found there."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl as dl
from jaxdl import layers as L
from jaxdl.inspect import locate_nonfinite

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32)
Y = jnp.zeros((4, 2))
MODEL = dl.sequential(
    ("stem", L.dense(4)),
    ("blocks", dl.repeat(dl.residual(L.layer_norm(), L.dense(4), jnp.tanh), 3)),
    ("head", L.dense(2)),
)
SQUARED = dl.losses.mean_squared_error


def made(model, x):
    return jax.jit(model.init)(jax.random.key(0), x)


@pytest.mark.slow
def test_a_sound_step_is_said_to_be_sound():
    found = locate_nonfinite(MODEL, *made(MODEL, X), {"x": X, "y": Y}, loss=SQUARED)
    assert not found
    assert str(found) == "everything is finite"


@pytest.mark.slow
def test_a_parameter_a_state_or_the_batch():
    params, state = made(MODEL, X)
    kernel = params["blocks"]["dense"]["kernel"]
    params["blocks"]["dense"]["kernel"] = kernel.at[1, 0, 0].set(jnp.nan).at[2, 0, 0].set(jnp.inf)
    found = locate_nonfinite(MODEL, params, state, (X, Y), loss=SQUARED)
    assert (found.what, found.path, found.nan, found.inf, found.size) == ("parameter", "blocks/dense/kernel", 1, 1, 48)
    assert "a learning rate too large" in str(found)
    model = dl.sequential(L.batch_norm())
    params, state = made(model, X)
    state["batch_norm"]["var"] = state["batch_norm"]["var"].at[0].set(jnp.inf)
    found = locate_nonfinite(model, params, state, {"x": X})
    assert (found.what, found.path, found.inf) == ("state", "batch_norm/var", 1)
    found = locate_nonfinite(MODEL, *made(MODEL, X), (X.at[2, 1].set(jnp.nan), Y))
    assert (found.what, found.path, found.nan, found.size) == ("batch", "x", 1, 12)
    assert str(found).startswith("the first that is not finite: the batch 'x'\n  1 nan and 0 inf of 12 entries")


@pytest.mark.slow
def test_masked_targets_may_be_anything():
    weight = jnp.array([1.0, 0.0, 1.0, 1.0])
    batch = {"x": X, "y": Y.at[1].set(jnp.nan), "weight": weight}
    assert not locate_nonfinite(MODEL, *made(MODEL, X), batch, loss=SQUARED)


def test_the_first_output_and_the_member_of_a_stack():
    params, state = made(MODEL, X)
    scale = params["blocks"]["layer_norm"]["scale"]
    params["blocks"]["layer_norm"]["scale"] = scale.at[1].set(3e38)
    params["blocks"]["layer_norm"]["bias"] = params["blocks"]["layer_norm"]["bias"].at[1].set(1e38)
    found = locate_nonfinite(MODEL, params, state, (X, Y), loss=SQUARED)
    assert (found.what, found.path, found.member, found.kind) == ("output", "blocks/layer_norm", (1,), "layer_norm")
    assert found.inf
    assert "'blocks/layer_norm' of layer_norm, member 1" in str(found)


@pytest.mark.parametrize(
    ("layer", "x", "kind", "cause"),
    [
        (jnp.log, [0.0, 1.0, 2.0], "log", "the logarithm of 0 or of a negative number"),
        (jnp.log1p, [-1.0, 1.0], "log1p", r"the logarithm of 1 \+ x"),
        (jnp.sqrt, [-1.0, 4.0], "sqrt", "the root of a negative number"),
        (jnp.exp, [100.0, 0.5], "exp", "overflows above 88.72"),
        (lambda x: 1 / x, [0.0, 1.0], "lambda", "a division by zero"),
        (lambda x: x**-2, [0.0, 1.0], "lambda", "a negative power of 0|a division by zero"),
        (lambda x: jnp.sqrt(jnp.sum(x**2, keepdims=True)), [-1e30, 0.0], "lambda", "an overflow"),
        (jnp.square, [1e30, 1.0], "square", "an overflow: products of such numbers pass 3.403e"),
        (lambda x: x**0.5, [-1.0, 2.0], "lambda", "a broken power of a negative number|the root"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_cause_of_an_output(layer, x, kind, cause):
    model = dl.sequential(("before", jnp.positive), ("here", layer), ("after", jnp.tanh))
    found = locate_nonfinite(model, {}, {}, {"x": jnp.array(x)})
    assert (found.what, found.path, found.kind, found.nan + found.inf) == ("output", "here", kind, 1)
    assert (found.input.low, found.input.high) == (min(jnp.array(x)), max(jnp.array(x)))
    assert re.search(cause, found.cause), found.cause


def test_overflow_in_float16_and_of_a_sum():
    params, state = {"kernel": jnp.full((2, 2), 300, jnp.float16), "bias": jnp.zeros(2, jnp.float16)}, {}
    found = locate_nonfinite(L.dense(2), params, state, {"x": jnp.full((1, 2), 300, jnp.float16)})
    assert (found.path, found.kind, found.inf) == ("", "dense", 2)
    assert "pass 6.55e+04" in found.cause
    add = dl.residual(jnp.positive)
    found = locate_nonfinite(dl.sequential(add), {}, {}, {"x": jnp.full((1, 2), 2e38)})
    assert (found.path, found.kind) == ("residual", "residual")


def test_an_id_out_of_the_table():
    model = dl.sequential(L.embedding(5, 3), L.dense(2))
    ids = jnp.array([[1, 7], [4, 0]])
    found = locate_nonfinite(model, *made(model, ids), {"x": ids})
    assert (found.what, found.path, found.nan) == ("output", "embedding", 3)
    assert found.cause == "an id out of the table: ids from 0 to 7 for the rows 0 to 4"


@pytest.mark.slow
def test_a_gradient_alone():
    norm = lambda x: jnp.sqrt(jnp.sum(x**2, axis=-1, keepdims=True))  # noqa: E731
    model = dl.sequential(("first", L.dense(3)), ("norm", norm), ("last", L.dense(2)))
    params, state = made(model, X)
    found = locate_nonfinite(model, params, state, (jnp.zeros((4, 3)), Y), loss=SQUARED)
    assert (found.what, found.path, found.kind) == ("gradient", "norm", "lambda")
    assert found.nan == found.size == 12
    assert "the derivative of a root" in found.cause
    assert not locate_nonfinite(model, params, state, (jnp.zeros((4, 3)), Y))
    # Within a stack, the last member that does it is named.
    block = dl.sequential(("one", lambda x: x * 0), ("root", lambda x: jnp.sqrt(x)))
    found = locate_nonfinite(dl.sequential(("stack", dl.repeat(block, 2))), {}, {}, (X, X), loss=SQUARED)
    assert (found.what, found.path, found.member) == ("gradient", "stack/root", (1,))


def test_a_gradient_of_a_parameter_or_of_the_loss():
    x = jnp.full((3, 2), 1e19)
    params = {"wide": {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}}
    model = dl.sequential(("wide", L.dense(2)))
    found = locate_nonfinite(model, params, {}, (x, Y[:3]), loss=lambda y, t: jnp.sum(y * 1e20, -1))
    assert (found.what, found.path) == ("gradient", "wide/kernel")
    found = locate_nonfinite(MODEL, *made(MODEL, X), (X, Y), loss=lambda y, t: jnp.sqrt(jnp.sum((y - y) ** 2, -1)))
    assert (found.what, found.path) == ("gradient", "loss")
    found = locate_nonfinite(MODEL, *made(MODEL, X), (X, Y), loss=lambda y, t: jnp.log(jnp.sum(y - y, -1)))
    assert (found.what, found.inf) == ("loss", 1)


@pytest.mark.slow
def test_ragged_batches_and_a_wrong_batch():
    words = dl.Ragged(jnp.array([[1, 2, 0], [3, 0, 0]]), jnp.array([2, 1]))
    model = dl.sequential(L.embedding(5, 3), L.lstm(4), L.dense(2))
    params, state = made(model, words)
    batch = {"x": words, "y": jnp.zeros((2, 3), jnp.int32)}
    assert not locate_nonfinite(model, params, state, batch, loss=dl.losses.cross_entropy)
    with pytest.raises(TypeError, match=r"locate_nonfinite: batch must be \{'x', 'y'\} or \(x, y\); got float32"):
        locate_nonfinite(MODEL, {}, {}, X)
