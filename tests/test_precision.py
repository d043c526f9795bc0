"""Half precision over weights in full: what is computed in which dtype, and the scale that float16 needs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl as dl
from jaxdl import layers as L
from jaxdl.train import create_state, loss_scaled, trace_count

RNG = np.random.default_rng(0)
SOFT = {"exp", "exp2", "log", "log1p", "rsqrt", "sqrt", "reduce_sum", "reduce_max", "div", "integer_pow"}


def images():
    return dl.sequential(
        L.conv(64, 3), L.batch_norm(), jax.nn.relu, L.conv(64, 3, padding="SAME"), L.group_norm(4), L.max_pool(2),
        L.flatten(), L.dense(3),
    )  # fmt: skip


def words():
    return dl.sequential(
        L.embedding(7, 8), L.layer_norm(), L.multi_head_attention(2), L.rms_norm(), L.lstm(64), L.gru(5), L.dense(3)
    )


def equations(jaxpr):
    """All equations, also of the programs within."""
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda node: hasattr(node, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def operands(function, *arguments):
    """For each primitive, the dtypes that go into it."""
    found = {}
    for equation in equations(jax.make_jaxpr(function)(*arguments).jaxpr):
        found.setdefault(equation.primitive.name, set()).add(tuple(v.aval.dtype.name for v in equation.invars))
    return found


@pytest.mark.parametrize("policy", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    ("model", "x", "y"),
    [
        (images(), jnp.ones((2, 10, 10, 8)), jnp.zeros(2, jnp.int32)),
        (words(), jnp.ones((2, 6), jnp.int32), jnp.zeros((2, 6), jnp.int32)),
    ],
    ids=["images", "words"],
)
def test_products_are_in_half_precision_and_the_rest_in_full(model, x, y, policy):
    optimizer = loss_scaled(optax.adam(1e-3)) if policy == "float16" else optax.adam(1e-3)
    state = jax.eval_shape(lambda: create_state(model, optimizer, x, seed=jax.random.key(0)))
    loss_fn = dl.supervised(model, dl.losses.cross_entropy, policy=policy)
    batch = {"x": x, "y": y}
    forward = operands(
        lambda params, state: loss_fn(params, state, batch, key=None, train=True), state.params, state.state
    )
    products = forward.get("dot_general", set()) | forward.get("conv_general_dilated", set())
    assert products == {(policy, policy)}
    for name in SOFT & set(forward):
        assert {dtype for dtypes in forward[name] for dtype in dtypes} <= {"float32", "int32"}, name
    new, metrics = jax.eval_shape(dl.make_step(loss_fn, optimizer), state, batch)
    assert jax.tree.map(lambda leaf: leaf.dtype, new) == jax.tree.map(lambda leaf: leaf.dtype, state)
    floats = [leaf for leaf in jax.tree.leaves((new, metrics)) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert {leaf.dtype.name for leaf in floats} == {"float32"}


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["bfloat16", "float16"])
def test_it_is_what_casts_by_hand_come_to(policy):
    model, optimizer = dl.sequential(L.dense(4), jnp.tanh, L.dense(3)), optax.sgd(1.0)
    x, y = RNG.normal(size=(5, 3)).astype(np.float32), np.array([0, 2, 1, 1, 0], np.int32)
    state = create_state(model, optimizer, x)

    def by_hand(params):
        half = jax.tree.map(lambda leaf: leaf.astype(policy), params)
        hidden = jnp.tanh(jnp.asarray(x, policy) @ half["dense"]["kernel"] + half["dense"]["bias"][None])
        logits = (hidden @ half["dense_1"]["kernel"] + half["dense_1"]["bias"][None]).astype(jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), logits

    def ours(params):
        total, _ = dl.supervised(model, dl.losses.cross_entropy, policy=policy)(
            params, {}, {"x": x, "y": y}, key=None, train=True
        )
        return total.mean()

    (loss, logits), gradient = jax.jit(jax.value_and_grad(by_hand, has_aux=True))(state.params)
    found, gradients = jax.jit(jax.value_and_grad(ours))(state.params)
    share = {"bfloat16": 2e-2, "float16": 2e-3}[policy]
    np.testing.assert_allclose(found, loss, rtol=1e-5)
    for one, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(gradient), strict=True):
        assert one.dtype == jnp.float32
        np.testing.assert_allclose(one, other, rtol=0, atol=share * float(jnp.abs(other).max()))
    outputs = dl.predict(model, state, x, policy=policy, batch_size=2)
    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs, logits, rtol=share, atol=share)
    measured = dl.evaluate(model, state, (x, y), loss=dl.losses.cross_entropy, policy=policy)
    np.testing.assert_allclose(measured["loss"], loss, rtol=share)


@pytest.mark.slow
def test_fast_forms_agree_in_half_precision():
    def gradient(method):
        net = dl.sequential(L.conv(64, 3, padding="SAME", method=method), jax.nn.relu, L.global_avg_pool())
        read = dl.sequential(L.lstm(64, outputs="last", method=method))
        model = dl.parallel(net, read)
        x = (
            jnp.cos(jnp.arange(2 * 8 * 8 * 64.0)).reshape(2, 8, 8, 64),
            jnp.sin(jnp.arange(2 * 5 * 3.0)).reshape(2, 5, 3),
        )
        params, state = model.init(jax.random.key(0), x)
        loss_fn = dl.supervised(model, lambda p, y: (p[0] ** 2).mean(-1) + (p[1] ** 2).mean(-1), policy="bfloat16")

        def objective(params):
            return loss_fn(params, state, {"x": x, "y": jnp.zeros(2)}, key=None, train=True)[0].mean()

        return jax.jit(jax.value_and_grad(objective))(params)

    one, other = gradient("auto"), gradient("lax")
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=3e-2 * float(jnp.abs(b).max()))


@pytest.mark.slow
def test_state_keeps_its_dtype_and_an_equal_fit_compiles_nothing():
    data = {"x": RNG.normal(size=(12, 3)).astype(np.float32), "y": RNG.integers(0, 2, 12).astype(np.int32)}

    def fit():
        model = dl.sequential(
            dl.spectral_norm(L.dense(4)), L.batch_norm(), L.activity_penalty(dl.penalties.activity_l1(1e-2)),
            L.dropout(0.2), L.dense(2),
        )  # fmt: skip
        return dl.fit(
            model, data, loss=dl.losses.cross_entropy, optimizer=OPTIMIZER, epochs=2, batch_size=4, progress=False,
            policy="bfloat16", validation=data,
        )  # fmt: skip

    state, history = fit()
    traced = trace_count()
    again, _ = fit()
    assert trace_count() == traced
    jax.tree.map(np.testing.assert_array_equal, state.params, again.params)
    floats = [leaf for leaf in jax.tree.leaves((state.params, state.state, state.opt_state)) if leaf.dtype != jnp.int32]
    assert {leaf.dtype.name for leaf in floats} == {"float32"}
    assert np.isfinite(history["validation_loss"]).all()


OPTIMIZER = optax.adam(1e-2)


def test_float64_weights_stay_and_integers_and_lengths_pass(x64):
    model = dl.sequential(L.embedding(5, 3, param_dtype=jnp.float64), L.dense(2, param_dtype=jnp.float64))
    x = dl.Ragged(jnp.array([[1, 2, 0], [3, 0, 0]]), jnp.array([2, 1]))
    y = jnp.array([[0, 1, 0], [1, 0, 0]])
    optimizer = optax.sgd(0.1)
    state = create_state(model, optimizer, x)
    step = dl.make_step(dl.supervised(model, dl.losses.cross_entropy, policy="bfloat16"), optimizer)
    new, metrics = jax.jit(step)(state, {"x": x, "y": y})
    assert {leaf.dtype.name for leaf in jax.tree.leaves(new.params)} == {"float64"}
    assert metrics["loss"].total.dtype == jnp.float32
    assert float(metrics["loss"].weight) == 3


def line(optimizer, *, policy="float16", **arguments):
    """A step over ``y = w x`` with a running statistic, and its state."""
    model = dl.sequential(L.batch_norm(momentum=0.5), L.dense(1))
    loss_fn = dl.supervised(model, dl.losses.mean_squared_error, policy=policy)
    state = create_state(model, optimizer, jnp.ones((4, 2)))
    return jax.jit(dl.make_step(loss_fn, optimizer, **arguments)), state


@pytest.mark.slow
def test_a_step_that_overflows_is_skipped_wholly_and_the_scale_halves():
    x = jnp.asarray(RNG.normal(size=(4, 2)), jnp.float32)
    good, bad = {"x": x, "y": jnp.ones((4, 1))}, {"x": x, "y": jnp.full((4, 1), 3e4)}
    optimizer = loss_scaled(dl.ema(optax.adam(1e-2)), initial=2.0**12, interval=2)
    step, state = line(optimizer)
    state, metrics = step(state, good)
    assert (float(metrics["skipped"].mean()), float(metrics["loss_scale"].mean())) == (0, 2.0**12)
    new, metrics = step(state, bad)
    jax.tree.map(np.testing.assert_array_equal, (new.params, new.state), (state.params, state.state))
    jax.tree.map(np.testing.assert_array_equal, new.opt_state.inner, state.opt_state.inner)
    assert int(new.step) == 2
    assert (float(new.opt_state.scale), int(new.opt_state.good), bool(new.opt_state.skipped)) == (2.0**11, 0, True)
    assert float(metrics["skipped"].mean()) == 1
    np.testing.assert_allclose(metrics["loss"].mean(), 9e8, rtol=1e-3)  # finite, so it counts
    for _ in range(2):
        new, metrics = step(new, good)
    assert (float(new.opt_state.scale), int(new.opt_state.good)) == (2.0**12, 0)
    assert float(metrics["skipped"].mean()) == 0


def test_what_is_not_finite_counts_no_more_than_its_step_until_the_scale_is_1():
    optimizer = loss_scaled(optax.sgd(1e-2), initial=2.0)
    step, state = line(optimizer)
    batch = {"x": jnp.ones((4, 2)), "y": jnp.full((4, 1), jnp.nan)}
    state, metrics = step(state, batch)
    assert (float(metrics["loss"].total), float(metrics["loss"].weight)) == (0, 0)
    state, metrics = step(state, batch)
    assert np.isnan(metrics["loss"].mean())
    assert (float(state.opt_state.scale), float(metrics["skipped"].mean())) == (1, 1)


def test_a_fit_in_float16_counts_what_it_skipped_and_goes_on():
    data = {"x": RNG.normal(size=(40, 3)).astype(np.float32), "y": RNG.integers(0, 2, 40).astype(np.int32)}
    model = dl.sequential(lambda x: 40 * x, L.dense(2))
    options = dict(loss=dl.losses.cross_entropy, optimizer=OPTIMIZER, batch_size=4, progress=False, policy="float16")
    once, history = dl.fit(model, data, epochs=2, **options)
    assert history["skipped"][0] > history["skipped"][1] >= 0
    assert sum(history["skipped"]) == 20 - int(once.opt_state.inner[0].count)
    half, _ = dl.fit(model, data, epochs=1, **options)
    twice, _ = dl.fit(model, data, epochs=1, train_state=half, **options)
    jax.tree.map(np.testing.assert_array_equal, (once.params, once.opt_state), (twice.params, twice.opt_state))


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(
    "optimizer",
    [
        optax.chain(optax.clip_by_global_norm(0.1), optax.adam(1e-2)),
        optax.chain(optax.clip_by_block_rms(0.01), optax.sgd(0.1)),
        dl.freeze(optax.chain(optax.adaptive_grad_clip(0.01), optax.sgd(0.1)), "batch_norm/*"),
        dl.by_path({"*/bias": optax.sgd(1.0)}, optax.chain(optax.clip(1e-3), optax.sgd(0.1))),
    ],
    ids=["global norm", "block", "adaptive", "by path"],
)
def test_clipping_sees_the_gradient_without_its_scale(optimizer, accumulate):
    batch = {"x": jnp.asarray(RNG.normal(size=(4, 2)), jnp.float32), "y": jnp.ones((4, 1))}
    states = []
    for around in (optimizer, loss_scaled(optimizer, initial=2.0**10)):
        step, state = line(around, policy=None, accumulate=accumulate)
        for _ in range(2):
            state, _ = step(state, batch)
        states.append(state.params)
    # A power of two changes no bit but where XLA joins products.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), *states)


def test_the_scale_stays_finite_where_gradients_are_zero():
    optimizer = loss_scaled(optax.sgd(1.0), initial=2.0**127, interval=1)
    state = optimizer.init({"w": jnp.zeros(2)})
    _, state = optimizer.update({"w": jnp.zeros(2)}, state)
    assert float(state.scale) == 2.0**127
    assert loss_scaled(OPTIMIZER) == loss_scaled(OPTIMIZER) != loss_scaled(OPTIMIZER, interval=5)


def test_wrong_arguments_are_named():
    model, data = L.dense(2), {"x": np.ones((4, 3), np.float32), "y": np.zeros(4, np.int32)}
    loss, text = dl.losses.cross_entropy, 'policy must be "bfloat16", "float16" or None; got \'half\''
    with pytest.raises(ValueError, match=text):
        dl.fit(model, data, loss=loss, optimizer=OPTIMIZER, epochs=1, batch_size=2, policy="half")
    with pytest.raises(ValueError, match=text):
        dl.evaluate(model, None, data, loss=loss, policy="half")
    with pytest.raises(ValueError, match=text):
        dl.predict(model, None, data["x"], policy="half")
    half = dl.supervised(model, loss, policy="float16")
    with pytest.raises(ValueError, match="scales the loss; got one without. Did you mean dl.train.loss_scaled"):
        dl.make_step(half, OPTIMIZER)
    start = create_state(model, OPTIMIZER, data["x"])
    options = dict(loss=loss, optimizer=OPTIMIZER, epochs=1, batch_size=2, progress=False, policy="float16")
    with pytest.raises(
        ValueError, match=r"train_state must be one of an optimizer that scales.*dl.train.loss_scaled\("
    ):
        dl.fit(model, data, train_state=start, **options)
    with pytest.raises(TypeError, match="loss_scaled: an optimizer must be from optax"):
        loss_scaled("adam")
    with pytest.raises(ValueError, match="initial must be a positive number"):
        loss_scaled(OPTIMIZER, initial=0)
    with pytest.raises(ValueError, match="interval must be a positive int"):
        loss_scaled(OPTIMIZER, interval=0)
    named = dl.supervised(model, loss, policy="float16", metrics={"skipped": dl.metrics.accuracy})
    optimizer = loss_scaled(OPTIMIZER)
    state = create_state(model, optimizer, data["x"])
    with pytest.raises(ValueError, match="needs the names loss_scale and skipped"):
        jax.eval_shape(dl.make_step(named, optimizer), state, data)
