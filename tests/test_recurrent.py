"""Recurrent networks against loops in float64 NumPy and against Flax; lengths, directions, states, and errors."""

import functools
import re
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

import jaxdl as dl
from jaxdl import functional as F
from jaxdl import layers as L

BATCH, TIME, INPUT, H = 3, 5, 2, 4
KEY = jax.random.key(0)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def normal(shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def total(tree):
    """A smooth number that each entry moves by another weight."""
    leaves = jax.tree.leaves(tree)
    return sum(jnp.sum(jnp.sin(leaf) * jnp.cos(jnp.arange(leaf.size).reshape(leaf.shape))) for leaf in leaves)


# Loops, one sequence and one step at a time


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def rnn_step(carry, z, u, product=np.matmul):
    return (np.tanh(z + product(carry[0], u)),)


def lstm_step(carry, z, u, product=np.matmul):
    h, c = carry
    i, f, g, o = np.split(z + product(h, u), 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_step(carry, z, u, recurrent_bias=None):
    """Reset after the product with a bias inside of it, before the product without."""
    (h,) = carry
    (zr, zz, zn), (ur, uz, un) = np.split(z, 3, axis=-1), np.split(u, 3, axis=-1)
    r, update = sigmoid(zr + h @ ur), sigmoid(zz + h @ uz)
    inner = (r * h) @ un if recurrent_bias is None else r * (h @ un + recurrent_bias)
    return ((1 - update) * np.tanh(zn + inner) + update * h,)


def loop(step, x, project, more, lengths, initial, reverse):
    """Every output, zero where there is none, and the last carry."""
    outputs, carries = [], []
    for sequence, length, *carry in zip(x, lengths, *initial, strict=True):
        ys = [np.zeros_like(carry[0])] * len(sequence)
        for t in reversed(range(length)) if reverse else range(length):
            carry = step(tuple(carry), project(sequence[t]), *more)
            ys[t] = carry[0]
        outputs.append(ys)
        carries.append(carry)
    return np.array(outputs), [np.array(part) for part in zip(*carries, strict=True)]


KINDS = {
    "simple_rnn": (F.simple_rnn, F.simple_rnn_cell, rnn_step, 1, 1, False),
    "lstm": (F.lstm, F.lstm_cell, lstm_step, 4, 2, False),
    "gru after": (F.gru, F.gru_cell, gru_step, 3, 1, True),
    "gru before": (partial(F.gru, reset="before"), partial(F.gru_cell, reset="before"), gru_step, 3, 1, False),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
both_ways = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


def drawn(kind, seed=0, dtype=np.float64):
    """Inputs, initial states and weights."""
    _, _, _, gates, parts, inner = KINDS[kind]
    shapes = [(INPUT, gates * H), (H, gates * H), (gates * H,), *([(H,)] if inner else [])]
    initial = tuple(normal((BATCH, H), seed + n, dtype) for n in (1, 2)[:parts])
    return normal((BATCH, TIME, INPUT), seed, dtype), initial, [normal(s, seed + 3, dtype) for s in shapes]


def carry_of(initial):
    return initial if len(initial) == 2 else initial[0]


@functools.cache
def both_methods(kind, reverse):
    """Outputs, last carry and gradients, from each method, in one program for all lengths."""
    function = KINDS[kind][0]

    def objective(arguments, lengths, method):
        x, initial, weights = arguments
        found = function(x, *weights, lengths=lengths, initial=carry_of(initial), reverse=reverse, method=method)
        return total(found), found

    gradient = jax.value_and_grad(objective, has_aux=True)
    return jax.jit(lambda *arguments: [gradient(*arguments, method) for method in ("auto", "lax")])


def assert_close(found, expected, **tolerance):
    jax.tree.map(partial(np.testing.assert_allclose, **tolerance), found, expected)


@pytest.mark.slow
@every_kind
@both_ways
@settings(max_examples=10, deadline=None)
@given(lengths=st.lists(st.integers(0, TIME), min_size=BATCH, max_size=BATCH), seed=st.integers(0, 9))
def test_both_methods_equal_a_loop_over_each_sequence_alone(kind, reverse, lengths, seed):
    x, initial, weights = drawn(kind, seed)
    kernel, u, bias, *more = weights
    expected = loop(KINDS[kind][2], x, lambda x: x @ kernel + bias, (u, *more), lengths, initial, reverse)
    real = np.arange(TIME) < np.array(lengths)[:, None]
    x[~real] = np.nan  # whatever lies in the padding reaches nothing, gradients neither
    with jax.enable_x64(True):
        (auto, lax) = both_methods(kind, reverse)((x, initial, weights), np.array(lengths))
    for (_, (y, carry)), gradients in (auto, lax):
        assert_close([y, *jax.tree.leaves(carry)], [expected[0], *expected[1]], rtol=1e-10, atol=1e-12)
        assert not np.asarray(gradients[0])[~real].any()
    assert_close(auto, lax, rtol=1e-9, atol=1e-11)


@pytest.mark.slow
@every_kind
@both_ways
def test_without_lengths_is_with_full_lengths(kind, reverse, x64):
    arguments = drawn(kind)
    whole = both_methods(kind, reverse)(arguments, None)
    full = both_methods(kind, reverse)(arguments, np.full(BATCH, TIME))
    assert_close(whole, full, rtol=1e-9, atol=1e-11)


@every_kind
def test_a_cell_over_time_is_the_sequence(kind, x64):
    function, cell, *_ = KINDS[kind]
    x, initial, weights = drawn(kind)
    y, last = function(x, *weights, initial=carry_of(initial))
    carry = carry_of(initial)
    for t in range(TIME):
        carry = cell(carry, x[:, t], *weights)
        np.testing.assert_allclose(jax.tree.leaves(carry)[0], y[:, t], rtol=1e-12)
    assert_close(carry, last, rtol=1e-12)
    zeros = jax.tree.map(jnp.zeros_like, carry)
    assert_close(cell(None, x[:, 0], *weights), cell(zeros, x[:, 0], *weights), rtol=0)


@every_kind
def test_no_time_and_no_batch(kind):
    function, _, _, _, parts, _ = KINDS[kind]
    x, initial, weights = drawn(kind, dtype=np.float32)

    @jax.jit
    @partial(jax.grad, has_aux=True)
    def gradient(weights, x, initial, lengths):
        y, carry = function(x, *weights, initial=initial, lengths=lengths)
        return total((y, carry)), (y, carry)

    gradients, (y, carry) = gradient(weights, x[:, :0], carry_of(initial), np.zeros(BATCH, int))
    assert y.shape == (BATCH, 0, H)
    assert_close(carry, carry_of(initial), rtol=0)
    assert not any(leaf.any() for leaf in gradients)
    empty = jax.tree.map(lambda leaf: leaf[:0], (x, carry_of(initial)))
    gradients, (y, carry) = gradient(weights, *empty, np.zeros(0, int))
    assert y.shape == (0, TIME, H)
    assert not any(leaf.any() for leaf in gradients)


@pytest.mark.slow
@every_kind
@both_ways
def test_second_gradients_with_lengths_and_states(kind, reverse, x64):
    x, initial, weights = drawn(kind)
    function = partial(KINDS[kind][0], lengths=np.array([5, 0, 2]), reverse=reverse)

    @jax.jit
    def output(x, initial, weights):
        return function(x, *weights, initial=carry_of(initial))

    check_grads(output, (x, initial, weights), order=2, modes=["rev"], eps=1e-5, rtol=1e-5, atol=1e-5)


@every_kind
def test_the_loops_work_in_place(kind):
    """What has the size of all gates at all steps is copied in no round."""
    function, _, _, gates, _, _ = KINDS[kind]
    x, initial, weights = drawn(kind, dtype=np.float32)
    gradient = jax.jit(jax.grad(lambda x, *weights: function(x, *weights)[0].sum(), (0, 1, 2)))
    text = gradient.lower(x, *weights).compile().as_text()
    bodies = set(re.findall(r"body=%?([\w.\-]+)", text))
    loops = [part for part in text.split("\n\n") if part.lstrip("%").partition(" ")[0] in bodies]
    assert len(loops) == len(bodies) == 2
    assert not any(re.search(rf"f32\[{TIME},{BATCH},{gates * H}\]\S* copy\(", loop) for loop in loops)


def scans(jaxpr):
    """All scans of a program, those within others as well."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "scan":
            yield equation
        for leaf in jax.tree.leaves(tuple(equation.params.values()), is_leaf=lambda leaf: hasattr(leaf, "jaxpr")):
            inner = getattr(leaf, "jaxpr", leaf)
            if hasattr(inner, "eqns"):
                yield from scans(inner)


@every_kind
def test_second_derivatives_carry_no_array_of_all_steps(kind):
    """Each round would pass through it once more, or copy it."""
    function, *_ = KINDS[kind]
    x, _, weights = drawn(kind, dtype=np.float32)
    gradient = jax.grad(lambda x: (function(x, *weights)[0] ** 2).sum())
    for second in (jax.grad(lambda x: gradient(x).sum()), lambda x: jax.jvp(gradient, (x,), (x,))[1]):
        found = list(scans(jax.make_jaxpr(second)(x).jaxpr))
        assert len(found) >= 2
        for scan in found:
            assert all(var.aval.shape[:1] != (TIME,) for var in scan.params["jaxpr"].jaxpr.invars)


def test_the_loops_are_stacked_on_other_platforms():
    x, _, weights = drawn("lstm", dtype=np.float32)
    traced = jax.jit(jax.grad(lambda *weights: F.lstm(x, *weights)[0].sum())).trace(*weights)
    # Only the loop in place counts its steps in unsigned numbers.
    texts = [traced.lower(lowering_platforms=(platform,)).as_text() for platform in ("cpu", "cuda")]
    assert ["ui32" in text for text in texts] == [True, False]
    assert all(text.count("stablehlo.while") == 2 for text in texts)


LAYERS = {
    "simple_rnn": L.simple_rnn,
    "lstm": L.lstm,
    "gru after": L.gru,
    "gru before": partial(L.gru, reset="before"),
    "bidirectional": lambda features, **options: L.bidirectional(L.lstm(features, **options)),
}


@pytest.mark.slow
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_a_layer_takes_the_plain_loop_where_it_is_told_to(make, x64):
    x, layers = normal((2, TIME, INPUT)), (make(3), make(3, method="lax"))
    params, state = make(3, param_dtype=jnp.float64).init(KEY, x)

    def outputs(layer):
        return jax.jit(lambda params: layer.apply(params, state, x, train=False)[0])

    assert_close(*(outputs(layer)(params) for layer in layers), rtol=1e-10, atol=1e-12)
    jax.jvp(outputs(layers[1]), (params,), (params,))
    with pytest.raises(TypeError, match="custom_vjp"):
        jax.jvp(outputs(layers[0]), (params,), (params,))


def test_the_plain_loop_has_forward_mode(x64):
    x, initial, weights = drawn("gru after")
    direction = normal(x.shape, 7)

    def objective(x, method):
        return total(F.gru(x, *weights, initial=initial[0], method=method))

    _, forward = jax.jit(lambda: jax.jvp(partial(objective, method="lax"), (x,), (direction,)))()
    backward = jax.jit(jax.grad(partial(objective, method="auto")))(x)
    np.testing.assert_allclose(forward, (backward * direction).sum(), rtol=1e-10)


def test_mixed_dtypes_take_the_wider_one():
    x, _, weights = drawn("lstm", dtype=np.float32)
    y, (h, c) = F.lstm(jnp.asarray(x, jnp.bfloat16), *weights, initial=(jnp.ones((BATCH, H), jnp.float16),) * 2)
    assert y.dtype == h.dtype == c.dtype == jnp.float32


# Flax


def test_lstm_cell_equals_flax():
    """Flax keeps a kernel for each gate, and one bias, with the state's product."""
    x, (h, c), (kernel, u, bias) = drawn("lstm", dtype=np.float32)
    params = {}
    for name, w, v, b in zip("ifgo", *(np.split(a, 4, -1) for a in (kernel, u, bias)), strict=True):
        params |= {f"i{name}": {"kernel": w}, f"h{name}": {"kernel": v, "bias": b}}

    @jax.jit
    def both(x):
        flax = nn.LSTMCell(H).apply({"params": params}, (c, h), x)[0][::-1]
        return F.lstm_cell((h, c), x, kernel, u, bias), flax

    assert_close(*both(x[:, 0]), rtol=1e-5, atol=1e-6)


def test_gru_cell_equals_flax():
    x, (h,), (kernel, u, bias, inner) = drawn("gru after", dtype=np.float32)
    names = zip("rzn", *(np.split(a, 3, -1) for a in (kernel, u, bias)), strict=True)
    params = {}
    for name, w, v, b in names:
        params[f"i{name}"] = {"kernel": w, "bias": b}
        params[f"h{name}"] = {"kernel": v} | ({"bias": inner} if name == "n" else {})
    found, expected = jax.jit(
        lambda x: (F.gru_cell(h, x, kernel, u, bias, inner), nn.GRUCell(H).apply({"params": params}, h, x)[0])
    )(x[:, 0])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


# Convolutional LSTM


def conv_loop(image, kernel, strides=1):
    """``SAME``, the odd element at the end; one example."""
    window, spatial = kernel.shape[:-2], image.shape[:-1]
    counts = [-(-n // strides) for n in spatial]
    pads = [max((m - 1) * strides + k - n, 0) for m, k, n in zip(counts, window, spatial, strict=True)]
    padded = np.pad(image, [(p // 2, p - p // 2) for p in pads] + [(0, 0)])
    y = np.zeros((*counts, kernel.shape[-1]))
    for position in np.ndindex(*counts):
        met = tuple(slice(p * strides, p * strides + k) for p, k in zip(position, window, strict=True))
        y[position] = np.tensordot(padded[met], kernel, len(window) + 1)
    return y


@pytest.mark.parametrize(
    ("spatial", "window", "strides", "reverse"), [((5,), (3,), 2, True), ((3, 4), (3, 2), 1, False)], ids=str
)
def test_conv_lstm_equals_a_loop(spatial, window, strides, reverse, x64):
    x, lengths, features = normal((3, 4, *spatial, 2)), [4, 0, 2], 3
    kernel, u, bias = normal((*window, 2, 12), 1), normal((*window, 3, 12), 2), normal(12, 3)
    positions = [-(-n // strides) for n in spatial]
    initial = normal((3, *positions, features), 4), normal((3, *positions, features), 5)
    step = partial(lstm_step, product=conv_loop)
    project = lambda image: conv_loop(image, kernel, strides) + bias  # noqa: E731
    ys, carry = loop(step, x, project, (u,), lengths, initial, reverse)

    @jax.jit
    def found(x, lengths):
        options = {"lengths": lengths, "initial": initial, "reverse": reverse}
        return F.conv_lstm(x, kernel, u, bias, strides=strides, **options)

    y, last = found(x, np.array(lengths))
    assert_close([y, *last], [ys, *carry], rtol=1e-10, atol=1e-12)
    one = F.conv_lstm_cell(initial, x[:, -1 if reverse else 0], kernel, u, bias, strides=strides)
    np.testing.assert_allclose(one[0][0], ys[0, -1 if reverse else 0], rtol=1e-10)
    new = F.conv_lstm_cell(None, x[:, 0], kernel, u, strides=strides)
    zeros = jax.tree.map(np.zeros_like, initial)
    assert_close(new, F.conv_lstm_cell(zeros, x[:, 0], kernel, u, strides=strides), rtol=0)


# The order of sequences


@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(0, 4), min_size=3, max_size=3), rest=st.sampled_from([(), (2,)]))
def test_flipped_sequences_and_first_and_last_steps(lengths, rest):
    x = np.arange(1, 1 + len(lengths) * 4 * 2).reshape(len(lengths), 4, 2)[(..., *[0] * (1 - len(rest)))]
    flipped, last = x.copy(), np.zeros((len(lengths), *rest))
    first = last.copy()
    for row, length in enumerate(lengths):
        flipped[row, :length] = x[row, :length][::-1]
        if length:
            first[row], last[row] = x[row, 0], x[row, length - 1]
    lengths = np.array(lengths, int)
    np.testing.assert_array_equal(F.flip_sequence(jnp.asarray(x), lengths), flipped)
    np.testing.assert_array_equal(F.first_step(jnp.asarray(x), lengths), first)
    np.testing.assert_array_equal(F.last_step(jnp.asarray(x), lengths), last)
    np.testing.assert_array_equal(F.flip_sequence(jnp.asarray(x), lengths.astype(np.uint32)), flipped)
    np.testing.assert_array_equal(F.last_step(jnp.asarray(x), lengths.astype(np.uint32)), last)
    np.testing.assert_array_equal(F.flip_sequence(jnp.asarray(x)), x[:, ::-1])
    np.testing.assert_array_equal(F.first_step(jnp.asarray(x)), x[:, 0])
    np.testing.assert_array_equal(F.last_step(jnp.asarray(x)), x[:, -1])


def test_no_time_has_a_last_step_of_zeros():
    assert not F.last_step(jnp.ones((2, 0, 3)), np.zeros(2, int)).any()
    assert F.last_step(jnp.ones((2, 0, 3))).shape == (2, 3)
    assert F.flip_sequence(jnp.ones((2, 0, 3)), np.zeros(2, int)).shape == (2, 0, 3)


# Layers


def words(lengths=(5, 0, 2), dtype=np.float32):
    return dl.Ragged(jnp.asarray(normal((len(lengths), TIME, INPUT), dtype=dtype)), jnp.array(lengths))


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_the_last_output_is_the_last_valid_one(reverse):
    x = words()
    every, last = L.lstm(3, reverse=reverse), L.lstm(3, outputs="last", reverse=reverse)
    params, state = every.init(KEY, x)

    @jax.jit
    def both(params, x):
        return every.apply(params, state, x, train=False)[0], last.apply(params, state, x, train=False)[0]

    y, h = both(params, x)
    assert isinstance(y, dl.Ragged)
    assert not isinstance(h, dl.Ragged)
    for row, at in ((0, 0 if reverse else 4), (2, 0 if reverse else 1)):
        np.testing.assert_array_equal(h[row], y.x[row, at])
    assert not h[1].any()


@pytest.mark.slow
@pytest.mark.parametrize("merge", ["concat", "sum", "mean", "product"])
@pytest.mark.parametrize("outputs", ["all", "last"])
@pytest.mark.parametrize("ragged", [False, True], ids=["whole", "ragged"])
def test_bidirectional_is_a_layer_and_its_reverse(merge, outputs, ragged):
    x = words() if ragged else words().x
    ahead, back = L.gru(3, outputs=outputs), L.gru(3, outputs=outputs, reverse=True)
    both = L.bidirectional(L.gru(3), merge=merge, outputs=outputs)
    params, state = both.init(KEY, x)
    assert set(params) == {"forward", "backward"}
    assert (params["forward"]["kernel"] != params["backward"]["kernel"]).all()

    @jax.jit
    def found(params, x):
        a = ahead.apply(params["forward"], {}, x, train=False)[0]
        b = back.apply(params["backward"], {}, x, train=False)[0]
        return a, b, both.apply(params, state, x, train=False)[0]

    a, b, y = found(params, x)
    assert isinstance(y, dl.Ragged) == (ragged and outputs == "all")
    a, b, y = (leaf.x if isinstance(leaf, dl.Ragged) else leaf for leaf in (a, b, y))
    join = {"concat": lambda a, b: np.concatenate([a, b], -1), "sum": np.add, "product": np.multiply}
    np.testing.assert_allclose(y, join.get(merge, lambda a, b: (a + b) / 2)(a, b), rtol=1e-5, atol=1e-6)


def test_bidirectional_children_have_state_and_keys_of_their_own():
    layer = L.bidirectional(dl.sequential(L.dropout(0.5), L.batch_norm(), L.simple_rnn(2)))
    x = words().x
    params, state = jax.jit(layer.init)(KEY, x)
    assert set(state) == {"forward", "backward"}
    _, new = jax.jit(partial(layer.apply, train=True))(params, state, x, key=KEY)
    means = new["forward"]["batch_norm"]["mean"], new["backward"]["batch_norm"]["mean"]
    assert (means[0] != means[1]).all()


@pytest.mark.slow
def test_stacked_with_dropout_between_drops_only_while_training():
    model = dl.sequential(L.lstm(8), L.dropout(0.5), L.lstm(3, outputs="last"))
    x = words()
    params, state = model.init(KEY, x)
    assert set(params) == {"lstm", "lstm_1"}

    @jax.jit
    def runs(params):
        inner, _ = L.lstm(8).apply(params["lstm"], {}, x, train=False)
        by_hand, _ = L.lstm(3, outputs="last").apply(params["lstm_1"], {}, inner, train=False)
        tested, _ = model.apply(params, state, x, train=False)
        return by_hand, tested, model.apply(params, state, x, train=True, key=KEY)[0]

    expected, tested, trained = runs(params)
    np.testing.assert_allclose(tested, expected, rtol=1e-5, atol=1e-6)
    assert (trained[0] != expected[0]).any()
    assert not trained[1].any()


@pytest.mark.slow
def test_pieces_of_a_ragged_batch_go_on_at_each_length():
    model = dl.sequential(L.lstm(3), L.gru(2))
    x, first, second = normal((2, 6, INPUT), dtype=np.float32), np.array([3, 1]), np.array([2, 3])
    params, state = model.init(KEY, x)
    joined = np.zeros_like(x)
    for row in range(2):
        joined[row, : first[row]] = x[row, : first[row]]
        joined[row, first[row] : first[row] + second[row]] = x[row, 3 : 3 + second[row]]

    @jax.jit
    def both(params):
        one, cache = model.prefill(params, state, dl.Ragged(x[:, :3], first), length=6)
        two, _ = model.decode(params, cache, dl.Ragged(x[:, 3:], second))
        return one.x, two.x, model.apply(params, state, dl.Ragged(joined, first + second), train=False)[0].x

    one, two, whole = both(params)
    for row in range(2):
        pieces = np.concatenate([one[row, : first[row]], two[row, : second[row]]])
        np.testing.assert_allclose(pieces, whole[row, : first[row] + second[row]], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_initial_weights():
    params, _ = L.lstm(8, param_dtype=jnp.bfloat16).init(KEY, words())
    assert all(leaf.dtype == jnp.bfloat16 for leaf in params.values())
    params, _ = L.lstm(8).init(KEY, words())
    for gate in np.split(np.asarray(params["recurrent_kernel"]), 4, axis=-1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(8), atol=1e-5)
    gates = np.split(np.asarray(params["kernel"]), 4, axis=-1)
    limit = np.sqrt(6 / (INPUT + 8))
    assert all(limit / 2 < np.abs(gate).max() <= limit for gate in gates)
    assert (gates[0] != gates[1]).all()
    assert params["bias"].tolist() == [0] * 8 + [1] * 8 + [0] * 16
    params, _ = L.gru(2, reset="before").init(KEY, words())
    assert set(params) == {"kernel", "recurrent_kernel", "bias"}


def test_the_gradient_of_a_simple_rnn_vanishes_and_that_of_an_lstm_that_remembers_does_not():
    """How much the first step moves the last output, over 40 steps, for the same small recurrent weights."""
    x = jnp.asarray(normal((1, 40, 2), dtype=np.float32))
    small = partial(jax.nn.initializers.normal(0.1))

    def reach(layer):
        params, state = layer.init(KEY, x)
        gradient = jax.jit(jax.grad(lambda x: layer.apply(params, state, x, train=False)[0].sum()))(x)
        size = jnp.abs(gradient).sum((0, 2))
        return size[0] / size[-1]

    def remembers(key, shape, dtype):
        return 6 * L.recurrent.reading.forget_one(key, shape, dtype)

    assert reach(L.simple_rnn(8, outputs="last", recurrent_init=small)) < 1e-12
    assert reach(L.lstm(8, outputs="last", recurrent_init=small, bias_init=remembers)) > 1e-2


# Errors


def weights_of(gates):
    return jnp.ones((INPUT, gates * H)), jnp.ones((H, gates * H)), jnp.ones(gates * H)


X = jnp.ones((BATCH, TIME, INPUT))
ERRORS = {
    "lstm: input must be a floating array": lambda: F.lstm(X.astype(int), *weights_of(4)),
    r"lstm: input must have shape \(batch, time, in\); got float32\[3,2\]": lambda: F.lstm(X[:, 0], *weights_of(4)),
    r"lstm_cell: input must have shape \(batch, in\)": lambda: F.lstm_cell(None, X, *weights_of(4)),
    r"simple_rnn: recurrent_kernel must have shape \(H, H\); got float32\[4,12\]": lambda: F.simple_rnn(
        X, *weights_of(3)
    ),
    r"lstm: recurrent_kernel must have shape \(H, 4 · H\)": lambda: F.lstm(X, *weights_of(3)),
    r"gru: kernel must have shape \(3, 12\) for input float32\[3,5,3\] and H = 4": lambda: F.gru(
        jnp.ones((BATCH, TIME, 3)), *weights_of(3)
    ),
    r"gru: bias must have shape \(12,\)": lambda: F.gru(X, *weights_of(3)[:2], jnp.ones(4)),
    r"gru: recurrent_bias must have shape \(4,\)": lambda: F.gru(X, *weights_of(3), jnp.ones(12)),
    'gru: with reset="before" there is no recurrent_bias': lambda: F.gru(
        X, *weights_of(3), jnp.ones(4), reset="before"
    ),
    'gru: reset must be "before" or "after"; got \'late\'': lambda: F.gru(X, *weights_of(3), reset="late"),
    'lstm: method must be "auto" or "lax"; got \'fast\'': lambda: F.lstm(X, *weights_of(4), method="fast"),
    r"lstm: lengths must be integers of shape \(3,\)": lambda: F.lstm(X, *weights_of(4), lengths=[1.0, 2.0, 3.0]),
    r"gru: lengths must be integers of shape \(3,\); got int": lambda: F.gru(X, *weights_of(3), lengths=[1, 2]),
    "lstm: lengths must be from 0 to the time, 5; got lengths from 1 to 6": lambda: F.lstm(
        X, *weights_of(4), lengths=jnp.array([1, 6, 2])
    ),
    "simple_rnn: lengths must be from 0 to the time, 5; got lengths from -1 to 2": lambda: F.simple_rnn(
        X, *weights_of(1), lengths=[1, -1, 2]
    ),
    r"lstm: initial must be \(h, c\), each \(3, 4\); got float32\[3,4\]": lambda: F.lstm(
        X, *weights_of(4), initial=jnp.ones((3, 4))
    ),
    r"gru: initial must be an array of shape \(3, 4\)": lambda: F.gru(X, *weights_of(3), initial=jnp.ones((3, 5))),
    r"conv_lstm: input must have shape \(batch, time, \*spatial, in\)": lambda: F.conv_lstm(X, *weights_of(4)),
    r"conv_lstm: recurrent_kernel must have shape \(\*window, H, 4 · H\)": lambda: F.conv_lstm(
        jnp.ones((1, 2, 3, 1)), jnp.ones((2, 1, 4)), jnp.ones((2, 1, 3))
    ),
    r"conv_lstm: kernel must have shape \(\*window, in, 4\) for H = 1": lambda: F.conv_lstm(
        jnp.ones((1, 2, 3, 1)), jnp.ones((2, 1, 3)), jnp.ones((2, 1, 4))
    ),
    r"flip_sequence: input must have shape \(batch, time, …\)": lambda: F.flip_sequence(jnp.ones(3)),
    r"first_step: input must have shape \(batch, time, …\) and a position": lambda: F.first_step(jnp.ones((3, 0))),
    r"last_step: input must have shape \(batch, time, …\)": lambda: F.last_step(jnp.ones(3)),
    r"lstm\(features=0\): features must be a positive int": lambda: L.lstm(0),
    'gru.*: outputs must be "all" or "last"; got \'final\'': lambda: L.gru(3, outputs="final"),
    'simple_rnn.*: method must be "auto" or "lax"': lambda: L.simple_rnn(3, method="fast"),
    'lstm.*: method must be "auto" or "lax"': lambda: L.lstm(3, method="fast"),
    'gru.*: method must be "auto" or "lax"': lambda: L.gru(3, method="fast"),
    'gru.*: reset must be "before" or "after"': lambda: L.gru(3, reset=True),
    r"lstm\(features=3\): input must have shape \(batch, time, in\)": lambda: L.lstm(3).init(KEY, jnp.ones((2, 3))),
    "bidirectional.*: merge must be one of concat, sum, mean, product; got 'max'": lambda: L.bidirectional(
        L.lstm(3), merge="max"
    ),
    r"bidirectional.*: the layer must give an output for each position, \(batch, time, …\); got float32\[3,5\]. "
    r"Did you mean bidirectional\(lstm\(…\), outputs=\"last\"\)\?": lambda: L.bidirectional(
        L.lstm(5, outputs="last")
    ).init(KEY, X),
    "bidirectional.*: the layer must give an output for each position": lambda: L.bidirectional(
        L.lstm(5, outputs="last")
    ).init(KEY, words()),
    "lstm.*: to read piece by piece, outputs must be \"all\" and reverse False; got outputs='last', reverse=False": (
        lambda: L.lstm(3, outputs="last").prefill({}, {}, X, length=5)
    ),
    "gru.*: to read piece by piece.*got outputs='all', reverse=True": lambda: L.gru(3, reverse=True).decode({}, {}, X),
    "bidirectional: a layer that reads a sequence piece by piece must say how": lambda: L.bidirectional(
        L.gru(3)
    ).prefill({}, {}, X, length=5),
}


@pytest.mark.parametrize(("message", "call"), ERRORS.items(), ids=range(len(ERRORS)))
def test_errors(message, call):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_lengths_are_not_looked_at_while_traced():
    with pytest.raises(ValueError, match="lengths must be from 0"):
        L.lstm(3).apply(*L.lstm(3).init(KEY, X), dl.Ragged(X, jnp.array([9, 0, 0])), train=False)
    jax.eval_shape(lambda lengths: F.lstm(X, *weights_of(4), lengths=lengths), jnp.array([9, 0, 0]))
