"""Products, lookups, changes of shape and activations: references, ids out of range, errors, and how signals spread."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.nn import initializers

import jaxdl as dl
from jaxdl import functional as F
from jaxdl import layers as L

KEY = jax.random.key(0)


def normal(shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


# Bilinear


@pytest.mark.parametrize("leading", [(), (5,), (2, 3), (0,)], ids=str)
def test_bilinear_equals_the_sum_over_both_inputs(leading):
    with jax.enable_x64(True):
        x1, x2 = normal((*leading, 4), 1, np.float64), normal((*leading, 3), 2, np.float64)
        kernel, bias = normal((4, 3, 5), 3, np.float64), normal((5,), 4, np.float64)
        expected = np.einsum("...i,ijo,...j->...o", x1, kernel, x2) + bias
        np.testing.assert_allclose(F.bilinear(x1, x2, kernel, bias), expected, rtol=1e-12, atol=1e-12)


def test_bilinear_makes_no_array_of_all_four_sizes():
    sizes = jax.eval_shape(lambda *some: some, *map(jnp.ones, ((64, 30), (64, 20), (30, 20, 10))))
    closed = jax.make_jaxpr(lambda *some: jax.vjp(F.bilinear, *some)[1](jnp.ones((64, 10))))(*sizes)
    largest = max(var.aval.size for equation in closed.eqns for var in equation.outvars)
    assert largest == 64 * 20 * 10


# The bias of a wide product


def bias_added(x, kernel, bias):
    return x @ kernel + bias[None]


@pytest.mark.slow
@pytest.mark.parametrize("rows", [0, 4, 300])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_bias_gradient_of_a_wide_dense_is_the_sum_over_all_rows(rows, dtype):
    x, kernel, bias = (jnp.asarray(normal(shape, n), dtype) for n, shape in enumerate([(rows, 3), (3, 8192), (8192,)]))

    def outcome(f):
        y, vjp = jax.vjp(f, x, kernel, bias)
        return y, jax.jvp(partial(f, x, kernel), (bias,), (bias,))[1], *vjp(jnp.cos(y))

    for one, other in zip(*jax.jit(lambda: (outcome(F.dense), outcome(bias_added)))(), strict=True):
        assert one.dtype == dtype
        one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
        tolerance = (1e-5 if dtype == jnp.float32 else 2e-2) * np.abs(other).max(initial=0)
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


def test_the_bias_gradient_of_a_wide_dense_alone_is_a_product():
    def found(rows, columns):
        x, kernel, bias = jnp.ones((rows, 1)), jnp.ones((1, columns)), jnp.ones(columns)
        jaxpr = jax.make_jaxpr(lambda dy: jax.vjp(partial(F.dense, x, kernel), bias)[1](dy))(jnp.ones((rows, columns)))
        return str(jaxpr).count("dot_general[") == 2  # its own, and the kernel's

    assert found(300, 8192)
    assert not found(4, 8192)
    assert not found(20_000, 256)


# Embedding


def test_embedding_adds_up_the_gradient_of_a_common_id_in_wide_numbers():
    ids = jnp.zeros(4096, int).at[0].set(1)

    def total(table):
        return F.embedding(ids, table).astype(jnp.float32).sum()

    gradient = jax.grad(total)(jnp.ones((3, 2), jnp.bfloat16))
    assert gradient.dtype == jnp.bfloat16
    assert gradient[:, 0].tolist() == [4096, 1, 0]  # a running sum in bfloat16 would stop at 256


def test_ids_out_of_range_are_an_error_outside_of_jit_and_nan_inside():
    table, bad = jnp.ones((5, 2)), jnp.array([0, 5, -1])
    with pytest.raises(ValueError, match="embedding: ids must be from 0 to 4; got ids from -1 to 5"):
        F.embedding(bad, table)
    y, vjp = jax.vjp(partial(jax.jit(F.embedding), bad), table)
    assert jnp.isnan(y).all(-1).tolist() == [False, True, True]
    (gradient,) = vjp(jnp.ones_like(y))
    assert gradient.sum(-1).tolist() == [2, 0, 0, 0, 0]
    assert F.one_hot(jnp.array([], int), 3).shape == (0, 3)
    assert jax.jit(partial(F.one_hot, classes=5))(bad).sum(-1).tolist() == [1, 0, 0]


@pytest.mark.slow
def test_a_padding_index_gives_zeros_and_its_row_takes_no_gradient():
    layer = L.embedding(4, 3, padding_index=2)
    params, state = layer.init(KEY, jnp.zeros((2, 2), int))
    assert not params["embedding"][2].any()
    table = params["embedding"] + 1
    ids = jnp.array([[2, 0], [3, 2]])
    y, vjp = jax.vjp(lambda table: layer.apply({"embedding": table}, state, ids, train=True)[0], table)
    assert not y[ids == 2].any()
    np.testing.assert_array_equal(y[ids != 2], table[jnp.array([0, 3])])
    assert vjp(jnp.ones_like(y))[0].any(-1).tolist() == [True, False, False, True]


def test_a_padded_position_may_hold_any_number():
    layer = L.embedding(4, 3)
    batch = dl.Ragged(jnp.array([[1, -1, 99], [3, 2, -7]]), jnp.array([1, 2]))
    params, state = layer.init(KEY, batch)
    for apply in (layer.apply, jax.jit(layer.apply, static_argnames="train")):
        y, _ = apply(params, state, batch, train=False)
        assert isinstance(y, dl.Ragged)
        assert jnp.isfinite(y.x).all()
        np.testing.assert_array_equal(y.x[1, :2], params["embedding"][jnp.array([3, 2])])


def test_embedding_and_attend_equal_flax():
    ids, x = np.random.default_rng(0).integers(0, 7, (3, 4)), normal((3, 4, 5), 1)
    table = normal((7, 5), 2)
    flax = nn.Embed(7, 5)
    np.testing.assert_allclose(F.embedding(ids, table), flax.apply({"params": {"embedding": table}}, ids))
    attended = flax.apply({"params": {"embedding": table}}, x, method="attend")
    np.testing.assert_allclose(F.attend(x, table), attended, rtol=1e-5, atol=1e-5)


# Shape


def test_shapes_of_an_empty_batch_and_what_they_hold():
    x = jnp.arange(24.0).reshape(2, 3, 4)

    def one(layer, x):
        return layer.apply({}, {}, x, train=False)[0]

    np.testing.assert_array_equal(one(L.reshape(2, -1), x), x.reshape(2, 2, 6))
    assert one(L.reshape(2, -1), x[:0]).shape == (0, 2, 6)
    assert one(L.reshape(), jnp.ones((3, 1))).shape == (3,)
    np.testing.assert_array_equal(one(L.permute(2, 1), x), x.swapaxes(1, 2))
    for mode in ("constant", "edge", "reflect", "wrap"):
        padded = one(L.pad([(2, 1)], mode=mode), x)
        np.testing.assert_array_equal(padded, np.pad(x, ((0, 0), (2, 1), (0, 0)), mode=mode))
        np.testing.assert_array_equal(one(L.crop([(2, 1)]), padded), x)
    assert one(L.pad(1, value=7.0), x)[0, 0].tolist() == [7.0] * 4
    assert one(L.crop(((1, 1),)), x).shape == (2, 1, 4)
    assert one(L.crop(0), x[:, :0]).shape == (2, 0, 4)
    assert one(L.pad(0, mode="reflect"), x[:, :0]).shape == (2, 0, 4)


# Activations

ACTIVATIONS = [
    "relu", "relu6", "sigmoid", "softplus", "sparse_plus", "soft_sign", "silu", "swish", "log_sigmoid", "leaky_relu",
    "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "elu", "celu", "selu", "gelu", "glu", "squareplus", "mish",
    "identity", "softmax", "log_softmax", "standardize", "sparse_sigmoid", "tanh",
]  # fmt: skip
NONE = {"dot_product_attention", "get_scaled_dot_general_config", "initializers", "log1mexp", "logmeanexp", "logsumexp",
        "one_hot", "scaled_dot_general", "scaled_matmul"}  # fmt: skip


def test_every_activation_of_jax_stands_in_a_model_as_it_is():
    assert {name for name in dir(jax.nn) if not name.startswith("_")} == {*ACTIVATIONS, *NONE}
    functions = [getattr(jax.nn, name) for name in ACTIVATIONS]
    x = jnp.asarray(normal((2, 3, 4)))
    lengths = jnp.array([3, 1])
    real = dl.Ragged(x, lengths).mask()[:, :, None]
    models = [dl.sequential(function) for function in functions]

    @jax.jit
    def outcomes(x):
        plain = [model.apply({}, {}, x, train=True)[0] for model in models]
        ragged = [model.apply({}, {}, dl.Ragged(x, lengths), train=True)[0] for model in models]
        return plain, ragged, [function(x) for function in functions]

    for name, found, ragged, expected in zip(ACTIVATIONS, *outcomes(x), strict=True):
        np.testing.assert_array_equal(found, expected, err_msg=name)
        np.testing.assert_allclose(ragged.x, jnp.where(real, expected, 0), rtol=1e-6, err_msg=name)
        np.testing.assert_array_equal(ragged.lengths, lengths)


def test_softmax_stays_finite_towards_no_temperature():
    x = jnp.array([[1.0, 2.0, -jnp.inf], [3.0, 3.0, -1e30], [0.0, -1e-3, -5.0]])

    @jax.jit
    def both(x, temperature):
        y, vjp = jax.vjp(lambda x: F.softmax(x, temperature=temperature), x)
        return y, vjp(jnp.ones_like(y))[0]

    for temperature in (1e-3, 1e-20, 1e-44, 0.0):  # a schedule may end at 0
        y, dx = both(x, jnp.float32(temperature))
        assert jnp.isfinite(y).all()
        assert jnp.isfinite(dx).all()
    np.testing.assert_array_equal(y, [[0, 1, 0], [0.5, 0.5, 0], [1, 0, 0]])
    for dtype in (jnp.float16, jnp.bfloat16):
        assert F.softmax(x.astype(dtype), temperature=1e-20).dtype == dtype
    np.testing.assert_allclose(F.softmax(x, temperature=1e30)[0], [0.5, 0.5, 0])


def test_maxout_shares_the_gradient_among_equal_pieces():
    assert jax.grad(lambda x: F.maxout(x, 2).sum())(jnp.array([1.0, 5.0, 1.0, 4.0])).tolist() == [0.5, 1, 0.5, 0]


def test_glu_is_that_of_jax_and_its_kin():
    x = jnp.asarray(normal((3, 8)))
    np.testing.assert_allclose(F.glu(x), jax.nn.glu(x), rtol=1e-6)
    for activation in (jax.nn.silu, jax.nn.gelu, jax.nn.relu, jax.nn.identity):
        np.testing.assert_array_equal(F.glu(x, activation=activation), x[:, :4] * activation(x[:, 4:]))


# Initial values: how a signal fares through thirty layers


def gain(*layers, shape):
    """The mean square of what comes out of thirty times these layers, of what went in with 1; of three draws."""
    block = dl.sequential(*layers)

    def deeper(x, key):
        return block.apply(*block.init(key, x), x, train=False)[0], None

    @jax.jit
    def outcome(key):
        first, *keys = jax.random.split(key, 31)
        return jnp.square(jax.lax.scan(deeper, jax.random.normal(first, shape), jnp.stack(keys))[0]).mean()

    return np.mean([outcome(jax.random.key(seed)) for seed in range(3)])


RELU = initializers.he_normal()
WIDE = (32, 256)
DENSE = {
    "linear, the default": (L.dense(256),),
    "relu, he_normal": (L.dense(256, kernel_init=RELU), jax.nn.relu),
    "selu, lecun_normal": (L.dense(256, kernel_init=initializers.lecun_normal()), jax.nn.selu),
    "maxout, its default": (L.maxout(256, 2),),
}


@pytest.mark.slow
@pytest.mark.parametrize("block", DENSE.values(), ids=DENSE)
def test_activations_keep_their_variance_through_thirty_layers(block):
    assert 0.4 < gain(*block, shape=WIDE) < 2.5


@pytest.mark.slow
def test_tanh_settles_instead_of_dying_out():
    """Each layer of tanh takes off a little: 1 / (2 · layers) is left; a gain of 5/3 holds it level."""
    assert 0.5 / 60 < gain(L.dense(256), jnp.tanh, shape=WIDE) < 2 / 60
    level = L.dense(256, kernel_init=initializers.variance_scaling((5 / 3) ** 2, "fan_in", "normal"))
    assert 0.3 < gain(level, jnp.tanh, shape=WIDE) < 0.6


def test_relu_dies_out_under_the_default_by_a_half_each_layer():
    assert 2**-33 < gain(L.dense(256), jax.nn.relu, shape=WIDE) < 2**-27


@pytest.mark.slow
def test_a_convolution_keeps_its_variance_through_thirty_layers():
    """Padded by its other end: a border of zeros takes some off."""
    block = L.pad(1, mode="wrap"), L.conv(256, 3, kernel_init=RELU), jax.nn.relu
    assert 0.4 < gain(*block, shape=(16, 6, 256)) < 2.5


def test_lookups_begin_at_unit_length_and_tied_scores_at_variance_one():
    params, _ = L.embedding(2000, 64).init(KEY, jnp.zeros((1, 1), int))
    assert abs(np.square(params["embedding"]).sum(-1).mean() - 1) < 0.02
    assert abs(F.attend(normal((200, 64)), params["embedding"]).var() - 1) < 0.1
    pair = normal((64, 40), 1), normal((64, 30), 2)
    params, _ = L.bilinear(40).init(KEY, pair)
    assert 0.7 < F.bilinear(*pair, params["kernel"]).var() < 1.4


# Errors

X = jnp.ones((2, 3))
IDS = jnp.array([0, 1])
ERRORS = [
    (lambda: F.bilinear(X, jnp.ones((3, 4)), jnp.ones((3, 4, 1))), ValueError, "the same axes but the last, (2,); got"),
    (
        lambda: F.bilinear(X, X, jnp.ones((3, 4, 1))),
        ValueError,
        "kernel must have shape (3, 3, features) for inputs float",
    ),
    (lambda: F.bilinear(X, X, jnp.ones((3, 3, 1)), jnp.ones(2)), ValueError, "bilinear: bias must have shape (1,)"),
    (lambda: F.bilinear(X, jnp.ones(()), jnp.ones((3, 3, 1))), ValueError, "x2 must have at least one axis"),
    (lambda: F.bilinear(X, X.astype(int), jnp.ones((3, 3, 1))), TypeError, "bilinear: x2 must be a floating array"),
    (
        lambda: L.bilinear(2).init(KEY, X),
        TypeError,
        "bilinear(features=2): input must be a tuple of two arrays, (x1, x2)",
    ),
    (lambda: L.bilinear(2).init(KEY, (dl.Ragged(X, IDS), X)), TypeError, "x1 must be an array; got Ragged(x=float32"),
    (lambda: L.bilinear(0), ValueError, "bilinear(features=0): features must be a positive int; got 0"),
    (
        lambda: F.embedding(X, X),
        TypeError,
        "ids must be an array of integers; got float32[2,3]. Did you mean ids.astype",
    ),
    (lambda: F.embedding([0, 1], X), TypeError, "got [0, 1]. Did you mean jnp.asarray(ids)?"),
    (lambda: F.embedding(IDS, jnp.ones(3)), ValueError, "embedding: table must have shape (vocabulary, features); got"),
    (lambda: F.embedding(IDS, X.astype(int)), TypeError, "embedding: table must be a floating array"),
    (
        lambda: F.embedding(IDS + 1, X),
        ValueError,
        "ids must be from 0 to 1; got ids from 1 to 2. Did you mean ids - 1?",
    ),
    (lambda: F.embedding(IDS, X, padding_index=2), ValueError, "padding_index must be an id from 0 to 1; got 2"),
    (
        lambda: L.embedding(3, 0),
        ValueError,
        "embedding(vocabulary=3, features=0): features must be a positive int; got 0",
    ),
    (lambda: L.embedding(0, 3), ValueError, "vocabulary must be a positive int; got 0"),
    (lambda: L.embedding(3, 2, padding_index=-1), ValueError, "padding_index must be an id from 0 to 2; got -1"),
    (lambda: L.embedding(3, 2).init(KEY, X), TypeError, "embedding(vocabulary=3, features=2): ids must be an array of"),
    (
        lambda: F.attend(X, jnp.ones((5, 4))),
        ValueError,
        "attend: input must have 4 features for table float32[5,4]; got",
    ),
    (lambda: F.attend(IDS, X), TypeError, "attend: input must be a floating array"),
    (lambda: L.attend(0), ValueError, "attend(vocabulary=0): vocabulary must be a positive int; got 0"),
    (lambda: F.one_hot(IDS, 1), ValueError, "one_hot: ids must be from 0 to 0; got ids from 0 to 1"),
    (lambda: L.one_hot(0), ValueError, "one_hot(classes=0): classes must be a positive int; got 0"),
    (
        lambda: F.prelu(X, jnp.ones(1)),
        ValueError,
        "slope must have one entry for each channel of input float32[2,3]; got",
    ),
    (lambda: F.prelu(IDS, jnp.ones(2)), TypeError, "prelu: input must be a floating array"),
    (lambda: F.maxout(X, 2), ValueError, "maxout: the input's last axis must be a multiple of 2; got float32[2,3]"),
    (lambda: F.maxout(X, 0), ValueError, "maxout: pieces must be a positive int; got 0"),
    (lambda: L.maxout(3, 0), ValueError, "maxout(features=3, pieces=0): pieces must be a positive int; got 0"),
    (lambda: L.maxout(0, 3), ValueError, "features must be a positive int; got 0"),
    (lambda: F.glu(X), ValueError, "glu: the input's last axis must be a multiple of 2; got float32[2,3]"),
    (lambda: F.glu(IDS), TypeError, "glu: input must be a floating array"),
    (lambda: L.glu(0), ValueError, "glu(features=0): features must be a positive int; got 0"),
    (lambda: L.glu(3).init(KEY, IDS), TypeError, "glu(features=3): input must be a floating array"),
    (lambda: F.softmax(X, temperature=0), ValueError, "temperature must be a positive number or a scalar array; got 0"),
    (lambda: F.softmax(X, temperature=np.float64(-1)), ValueError, "or a scalar array; got -1.0"),
    (lambda: F.softmax(X, temperature=jnp.float32(jnp.nan)), ValueError, "or a scalar array; got nan"),
    (lambda: F.softmax(X, temperature=True), ValueError, "a positive number or a scalar array; got True"),
    (lambda: F.softmax(X, temperature=jnp.ones(1)), ValueError, "a positive number or a scalar array; got float32[1]"),
    (lambda: F.softmax(jnp.ones(())), ValueError, "softmax: input must have a class axis, (…, classes); got float32[]"),
    (lambda: F.softmax(IDS), TypeError, "softmax: input must be a floating array"),
    (
        lambda: L.softmax(temperature=-1.0),
        ValueError,
        "softmax(temperature=-1.0): temperature must be a positive number",
    ),
    (lambda: L.reshape(-2), ValueError, "reshape(-2): each size must be an int, 0 or greater, or -1; got -2"),
    (lambda: L.reshape(-1, -1), ValueError, "reshape(-1, -1): at most one size may be -1; got (-1, -1)"),
    (
        lambda: dl.core.build(L.reshape(4), KEY, X),
        ValueError,
        "an example must have the size of (4,), 4; got 3 in (2, 3)",
    ),
    (
        lambda: dl.core.build(L.reshape(4), KEY, jnp.ones(())),
        ValueError,
        "reshape(4): input must have a batch axis; got",
    ),
    (lambda: L.permute(1, 3), ValueError, "permute(1, 3): axes must be 1, 2, … in any order, each once; got (1, 3)"),
    (
        lambda: dl.core.build(L.permute(2, 1), KEY, X),
        ValueError,
        "input must have a batch axis and 2 more; got float32",
    ),
    (
        lambda: L.pad(-1),
        ValueError,
        "pad(widths=-1): widths must be an int, or ints and pairs (low, high), none negative",
    ),
    (lambda: L.pad(((1, 2, 3),)), ValueError, "or ints and pairs (low, high), none negative; got ((1, 2, 3),)"),
    (
        lambda: L.pad(1, mode="circular"),
        ValueError,
        'mode must be "constant", "edge", "reflect" or "wrap"; got \'circul',
    ),
    (
        lambda: dl.core.build(L.pad(1), KEY, X),
        ValueError,
        "pad(widths=1): input must have a channel axis last and 1 or",
    ),
    (
        lambda: dl.core.build(L.pad((1, 2)), KEY, jnp.ones((1, 2, 3))),
        ValueError,
        "must be an int or 1 entries, one for",
    ),
    (
        lambda: L.pad(1, mode="edge", value=5.0),
        ValueError,
        'value is for mode="constant": mode="edge" takes entries of the input; got 5.0',
    ),
    (
        lambda: dl.core.build(L.pad(1, mode="reflect"), KEY, jnp.ones((1, 0, 1))),
        ValueError,
        'mode="reflect" needs at least one entry along an axis that it makes longer; got float32[1,0,1]',
    ),
    (
        lambda: dl.core.build(L.crop(2), KEY, jnp.ones((1, 4, 1))),
        ValueError,
        "widths ((2, 2),) must leave something of",
    ),
]


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS, ids=[text for *_, text in ERRORS])
def test_errors_say_what_is_needed(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)
