"""Penalties against their formulas, the proximal step against scikit-learn, and weight decay beside L2."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from sklearn.linear_model import ElasticNet, Lasso

import jaxdl as dl
from jaxdl import layers as L
from jaxdl import penalties

RNG = np.random.default_rng(0)
PARAMS = {
    "head": {"kernel": RNG.normal(size=(4, 2)), "bias": RNG.normal(size=2)},
    "lstm": {"kernel": RNG.normal(size=(3, 8)), "recurrent_kernel": RNG.normal(size=(2, 8)), "bias": np.ones(8)},
    "conv": {"kernel": RNG.normal(size=(3, 2, 5))},
}
PARAMS = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), PARAMS)
KERNELS = ["conv/kernel", "head/kernel", "lstm/kernel", "lstm/recurrent_kernel"]


def leaves(paths):
    flat = dl.core.flat_paths(PARAMS)
    return [np.float64(flat[path]) for path in paths]


def norms(w, groups):
    """One group at a time."""
    w = np.moveaxis(w, -1 if groups == "outputs" else -2, 0)
    return sum(np.sqrt(group.size) * np.sqrt((group**2).sum()) for group in w)


WHERE = {
    "*kernel": KERNELS,
    "*/kernel": ["conv/kernel", "head/kernel", "lstm/kernel"],
    "head/*": ["head/kernel", "head/bias"],
    ("conv/*", "*/bias"): ["conv/kernel", "head/bias", "lstm/bias"],
}


@pytest.mark.parametrize("where", WHERE, ids=str)
def test_penalties_are_their_formulas(where):
    chosen = leaves(WHERE[where])
    l1, l2 = (sum(measure(w).sum() for w in chosen) for measure in (np.abs, np.square))
    np.testing.assert_allclose(penalties.l1(0.3, where=where)(PARAMS), 0.3 * l1, rtol=1e-6)
    np.testing.assert_allclose(penalties.l2(0.3, where=where)(PARAMS), 0.3 * l2, rtol=1e-6)
    np.testing.assert_allclose(penalties.elastic_net(0.3, 0.2, where=where)(PARAMS), 0.3 * l1 + 0.2 * l2, rtol=1e-6)
    both = penalties.l1(0.3, where=where) + penalties.l2(0.2, where="conv/*")
    np.testing.assert_allclose(both(PARAMS), 0.3 * l1 + 0.2 * np.square(leaves(["conv/kernel"])).sum(), rtol=1e-6)


@pytest.mark.parametrize("groups", ["outputs", "inputs"])
def test_group_lasso_is_the_norm_of_each_group(groups):
    expected = 0.3 * sum(norms(w, groups) for w in leaves(KERNELS))
    np.testing.assert_allclose(penalties.group_lasso(0.3, groups=groups)(PARAMS), expected, rtol=1e-6)


EACH = {
    "l1": penalties.l1(0.3),
    "l2": penalties.l2(0.3),
    "elastic_net": penalties.elastic_net(0.3, 0.2),
    "columns": penalties.group_lasso(0.3),
    "rows": penalties.group_lasso(0.3, groups="inputs"),
    "sum": penalties.l1(0.1, where="head/*") + penalties.l2(0.2),
}
each = pytest.mark.parametrize("penalty", EACH.values(), ids=EACH)


@pytest.mark.slow
@each
def test_gradients_equal_finite_differences(penalty):
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), PARAMS)
        assert penalty(wide).dtype == jnp.float64
        check_grads(jax.jit(penalty), (wide,), 1, ["rev"], eps=1e-6)


@pytest.mark.slow
@each
def test_gradients_at_zero_are_zero_and_halves_are_added_in_float32(penalty):
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    value, gradient = jax.jit(jax.value_and_grad(penalty))(zeros)
    assert float(value) == 0
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient))
    narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), PARAMS)
    assert jax.eval_shape(penalty, narrow).dtype == jnp.float32
    empty = {"head": {"kernel": jnp.zeros((0, 3))}}
    assert float(penalties.group_lasso(1.0)(empty)) == 0


def test_penalties_made_alike_are_equal():
    makes = [
        partial(penalties.l1, 0.1),
        partial(penalties.l1, 0.2),
        partial(penalties.l2, 0.1, where=["a", "b"]),
        partial(penalties.elastic_net, 0.1, 0.2),
        partial(penalties.group_lasso, 0.1),
        partial(penalties.group_lasso, 0.1, groups="inputs"),
        partial(penalties.activity_l1, 0.1),
        partial(penalties.activity_kl, 0.1, rate=0.2),
    ]
    made = [make() for make in makes]
    assert made == [make() for make in makes]
    assert len(set(made)) == len(makes)


def fit(optimizer, penalty=None, epochs=3):
    options = {"epochs": epochs, "batch_size": 8, "progress": False}
    loss, model = dl.losses.mean_squared_error, L.dense(3, use_bias=False)
    return dl.fit(model, DATA, loss=loss, optimizer=optimizer, penalty=penalty, **options)


DATA = {
    "x": np.asarray(RNG.normal(size=(32, 5)) * np.array([30, 1, 1, 1, 1]), np.float32),
    "y": np.asarray(RNG.normal(size=(32, 3)), np.float32),
}


def test_l2_is_weight_decay_under_sgd():
    strength, rate = 0.05, 1e-3
    penalised, history = fit(optax.sgd(rate), penalties.l2(strength))
    decayed, _ = fit(optax.chain(optax.add_decayed_weights(2 * strength), optax.sgd(rate)))
    plain, _ = fit(optax.sgd(rate))
    np.testing.assert_allclose(penalised.params["kernel"], decayed.params["kernel"], rtol=1e-5, atol=1e-7)
    assert float(jnp.abs(penalised.params["kernel"] - plain.params["kernel"]).max()) > 1e-4
    assert set(history) == {"epoch", "steps", "seconds", "loss", "penalty"}


@pytest.mark.slow
def test_l2_is_not_weight_decay_under_adam():
    """Adam divides a penalty's gradient as any other: the row with large gradients is hardly pulled."""
    strength, rate = 0.5, 1e-2
    penalised, _ = fit(optax.adam(rate), penalties.l2(strength), epochs=30)
    decayed, _ = fit(optax.adamw(rate, weight_decay=2 * strength), epochs=30)
    assert float(jnp.abs(penalised.params["kernel"] - decayed.params["kernel"]).max()) > 1e-2
    # One step from equal states shows why: Adam's first step is the gradient's sign, whatever the penalty adds to it.
    params, gradient = {"kernel": jnp.array([1.0, 1.0])}, {"kernel": jnp.array([100.0, 1.0])}
    added = jax.tree.map(jnp.add, gradient, jax.grad(penalties.l2(strength))(params))
    for optimizer, flowing, expected in [
        (optax.adam(rate), gradient, -rate),
        (optax.adam(rate), added, -rate),
        (optax.adamw(rate, weight_decay=2 * strength), gradient, -rate * (1 + 2 * strength)),
    ]:
        updates, _ = optimizer.update(flowing, optimizer.init(params), params)
        np.testing.assert_allclose(updates["kernel"], [expected] * 2, rtol=1e-4)


# The proximal step


def regression(seed=1, count=60, features=8):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, features)) @ (np.eye(features) + 0.3 * rng.normal(size=(features, features)))
    y = x @ np.array([2.0, 0, 0, -1.5, 0, 0.05, 0, 1]) + 0.1 * rng.normal(size=count)
    return x, y


def minimum(alpha, l2=0.0):
    """The weights that the proximal step reaches: the mean squared error is twice scikit-learn's."""
    x, y = regression()
    optimizer = optax.chain(optax.sgd(0.03), penalties.proximal_l1(0.03, 2 * alpha))
    with jax.enable_x64(True):
        model = L.dense(1, use_bias=False, param_dtype=jnp.float64)
        start = dl.train.create_state(model, optimizer, jnp.asarray(x))
        loss_fn = dl.supervised(model, dl.losses.mean_squared_error, penalty=penalties.l2(l2))
        step, data = dl.make_step(loss_fn, optimizer), {"x": jnp.asarray(x), "y": jnp.asarray(y)[:, None]}
        many = jax.jit(lambda s: jax.lax.fori_loop(0, 4000, lambda _, s: step(s, data)[0], s))
        return np.asarray(many(start).params["kernel"])[:, 0]


def test_the_proximal_step_reaches_the_lasso():
    x, y = regression()
    for alpha in (0.1, 0.5):
        found = minimum(alpha)
        expected = Lasso(alpha=alpha, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(x, y).coef_
        np.testing.assert_allclose(found, expected, atol=1e-4)
        np.testing.assert_array_equal(found == 0, expected == 0)
        assert 0 < (found == 0).sum() < 8


def test_with_l2_it_reaches_the_elastic_net():
    x, y = regression()
    # alpha · (ratio ‖w‖₁ + (1 − ratio)/2 ‖w‖²), with half of our squared error
    model = ElasticNet(alpha=0.4, l1_ratio=0.5, fit_intercept=False, tol=1e-12, max_iter=100_000)
    np.testing.assert_allclose(minimum(0.2, l2=0.2), model.fit(x, y).coef_, atol=1e-4)


@given(st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=6), st.sampled_from([0.0, 0.3, 2.0]))
@settings(max_examples=20, deadline=None, derandomize=True, database=None)
def test_the_proximal_step_minimises_its_problem(values, strength):
    """w = argmin ½ (w − v)² + η λ |w|, number by number, looked for on a grid about the answer."""
    v = np.array(values, np.float32)
    optimizer = penalties.proximal_l1(0.5, strength)
    params = {"kernel": np.full_like(v, 0.25), "bias": v}
    updates, _ = optimizer.update({"kernel": v - 0.25, "bias": v}, optimizer.init(params), params)
    w = np.float64(params["kernel"] + updates["kernel"])

    def objective(w):
        return (w - v) ** 2 / 2 + 0.5 * strength * np.abs(w)

    for step in (-0.01, 0.01):
        assert (objective(w) <= objective(w + step) + 1e-6).all()
    np.testing.assert_array_equal(updates["bias"], v)


def test_the_proximal_step_works_within_freeze():
    params = {"enc": {"kernel": jnp.array([1.0, 0.1])}, "head": {"kernel": jnp.array([1.0, 0.1])}}
    for where in ("*kernel", "enc/*"):
        chain = optax.chain(optax.sgd(0.1), penalties.proximal_l1(0.1, 2.0, where=where))
        optimizer = dl.train.freeze(chain, "head/*")
        updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
        found = optax.apply_updates(params, updates)
        np.testing.assert_allclose(found["enc"]["kernel"], [0.8, 0.0], rtol=1e-6)
        np.testing.assert_array_equal(found["head"]["kernel"], params["head"]["kernel"])


def test_the_proximal_step_follows_a_schedule():
    rates = optax.piecewise_constant_schedule(1.0, {1: 0.5})
    optimizer = penalties.proximal_l1(rates, 0.1, where="kernel")
    params, state = {"kernel": jnp.array([1.0, -1.0, 0.0])}, optimizer.init({"kernel": jnp.ones(3)})
    for expected in (0.1, 0.05):
        updates, state = optimizer.update({"kernel": jnp.zeros(3)}, state, params)
        np.testing.assert_allclose(updates["kernel"], [-expected, expected, 0], rtol=1e-6)
    assert int(state.count) == 2


# Activations


def test_activity_penalties_are_their_formulas():
    x = RNG.uniform(0.01, 0.99, (4, 5, 3)).astype(np.float32)
    mask = np.array([5, 0, 2, 4])[:, None] > np.arange(5)
    for weight, rows in ((None, x.reshape(-1, 3)), (mask, x[mask])):
        rows = np.float64(rows)
        found = penalties.activity_l1(0.3)(jnp.asarray(x), weight)
        np.testing.assert_allclose(found, 0.3 * np.abs(rows).sum(-1).mean(), rtol=1e-6)
        mean, rate = rows.mean(0), 0.1
        expected = rate * np.log(rate / mean) + (1 - rate) * np.log((1 - rate) / (1 - mean))
        np.testing.assert_allclose(
            penalties.activity_kl(0.3, rate=0.1)(jnp.asarray(x), weight), 0.3 * expected.sum(), rtol=1e-5
        )


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [penalties.activity_l1(0.3), penalties.activity_kl(0.3)], ids=["l1", "kl"])
def test_activity_penalties_are_finite_at_edges(penalty):
    for x in (jnp.zeros((2, 3)), jnp.ones((2, 3)), jnp.zeros((0, 3))):
        value, gradient = jax.value_and_grad(penalty)(x)
        assert jnp.isfinite(value)
        assert jnp.isfinite(gradient).all()
    empty, gradient = jax.value_and_grad(penalty)(jnp.ones((2, 5, 3)), jnp.zeros((2, 5), bool))
    assert float(empty) == 0
    assert not gradient.any()


def test_activities_are_penalised_in_training_alone():
    model = dl.sequential(L.dense(4), jax.nn.sigmoid, L.activity_penalty(penalties.activity_l1(0.5)), L.dense(3))
    params, state = model.init(jax.random.key(0), DATA["x"])
    hidden = jax.nn.sigmoid(DATA["x"] @ params["dense"]["kernel"] + params["dense"]["bias"][None])
    expected = 0.5 * np.abs(hidden).sum(-1).mean()
    loss_fn = dl.supervised(model, dl.losses.mean_squared_error)
    total, (new, metrics) = loss_fn(params, state, DATA, key=None, train=True)
    np.testing.assert_allclose(total.mean() - metrics["loss"].mean(), expected, rtol=1e-3)
    assert float(new["activity_penalty"]["aux_loss"]) == 0
    total, (_, metrics) = loss_fn(params, state, DATA, key=None, train=False)
    assert float(total.mean()) == float(metrics["loss"].mean())


@pytest.mark.slow
def test_padded_activations_do_not_count():
    layer = L.activity_penalty(penalties.activity_kl(1.0))
    x, lengths = jnp.asarray(RNG.uniform(0.1, 0.9, (3, 4, 2)), jnp.float32), jnp.array([4, 1, 0])
    state = layer.init(jax.random.key(0), dl.Ragged(x, lengths))[1]

    def aux(x):
        return layer.apply({}, state, dl.Ragged(x, lengths), train=True)[1]["aux_loss"]

    clean, gradient = jax.value_and_grad(aux)(x)
    assert float(clean) == float(aux(x.at[1, 1:].set(jnp.nan)))
    assert not gradient[1, 1:].any()
    assert gradient[0].all()


@pytest.mark.slow
def test_the_target_rate_is_approached():
    """A sparse autoencoder: its units come to be active about as seldom as they are told to."""
    model = dl.sequential(
        L.dense(6), jax.nn.sigmoid, L.activity_penalty(penalties.activity_kl(3.0, rate=0.2)), L.dense(5)
    )
    x = DATA["x"] / np.array([30, 1, 1, 1, 1], np.float32)
    trained, _ = dl.fit(
        model, {"x": x, "y": x}, loss=dl.losses.mean_squared_error, optimizer=optax.adam(0.03), epochs=200,
        batch_size=32, progress=False,
    )  # fmt: skip
    hidden = jax.nn.sigmoid(x @ trained.params["dense"]["kernel"] + trained.params["dense"]["bias"][None])
    np.testing.assert_allclose(hidden.mean(0), np.full(6, 0.2), atol=0.03)


def test_the_program_of_the_front_page_runs():
    train, _ = dl.data.digits()
    data = {name: column[:64] for name, column in train.items()}
    model = dl.sequential(L.flatten(), L.dense(10))
    options = {"loss": dl.losses.cross_entropy, "optimizer": optax.adam(1e-3), "epochs": 2, "batch_size": 32}
    penalty = dl.penalties.elastic_net(1e-4, 1e-4, where="*/kernel")
    traces = []
    for _ in range(2):
        trained, history = dl.fit(model, data, penalty=penalty, progress=False, **options)
        penalty = dl.penalties.elastic_net(1e-4, 1e-4, where="*/kernel")
        traces.append(dl.train.trace_count())
    assert traces[0] == traces[1]
    kernel = np.abs(np.float64(trained.params["dense"]["kernel"]))
    assert history["penalty"][-1] == pytest.approx(1e-4 * (kernel + kernel**2).sum(), rel=0.02)


# Errors

NONE_CALLED_SO = "where='*/kernal' must match a path; got paths such as"
ERRORS = [
    (lambda: penalties.l1(-1.0), ValueError, "l1: strength must be a number of 0 or more; got -1.0"),
    (lambda: penalties.l2("1"), ValueError, "l2: strength must be a number of 0 or more; got 1"),
    (lambda: penalties.group_lasso(True), ValueError, "group_lasso: strength must be a number of 0 or more; got True"),
    (
        lambda: penalties.elastic_net(-1, 1),
        ValueError,
        "elastic_net: l1_strength must be a number of 0 or more; got -1",
    ),
    (
        lambda: penalties.elastic_net(1, -1),
        ValueError,
        "elastic_net: l2_strength must be a number of 0 or more; got -1",
    ),
    (
        lambda: penalties.group_lasso(1.0, groups="rows"),
        ValueError,
        'group_lasso: groups must be "outputs" or "inputs"; got \'rows\'',
    ),
    (
        lambda: penalties.group_lasso(1.0, groups="inputs", where="head/bias")(PARAMS),
        ValueError,
        'group_lasso: groups="inputs" needs leaves of two or more axes; got float32[2]',
    ),
    (lambda: penalties.l1(1.0, where=()), TypeError, "l1: where must be a glob of paths, such as"),
    (lambda: penalties.l1(1.0, where=(1,)), TypeError, "or several; got (1)"),
    (lambda: penalties.l2(1.0, where=5), TypeError, "l2: where must be a glob of paths, such as '*/kernel'"),
    (lambda: penalties.proximal_l1(0.1, 1.0, where=5), TypeError, "proximal_l1: where must be a glob of paths"),
    (lambda: penalties.l1(1.0, where="*/kernal")(PARAMS), ValueError, f"l1: {NONE_CALLED_SO} lstm/kernel, head"),
    (lambda: penalties.l1(1.0) + 2, TypeError, "Penalty.__add__: a penalty is added to another one; got 2"),
    (lambda: penalties.proximal_l1(0.1, -1), ValueError, "proximal_l1: strength must be a number of 0 or more; got -1"),
    (
        lambda: penalties.proximal_l1(0.1, 1.0, where="*/kernal").init(PARAMS),
        ValueError,
        f"proximal_l1: {NONE_CALLED_SO}",
    ),
    (
        lambda: penalties.proximal_l1(0.1, 1.0).update(PARAMS, penalties.proximal_l1(0.1, 1.0).init(PARAMS)),
        ValueError,
        "proximal_l1: update needs the parameters; got None",
    ),
    (lambda: penalties.activity_l1(-1), ValueError, "activity_l1: strength must be a number of 0 or more; got -1"),
    (lambda: penalties.activity_kl(-1), ValueError, "activity_kl: strength must be a number of 0 or more; got -1"),
    (lambda: penalties.activity_kl(1, rate="a"), ValueError, "activity_kl: rate must be between 0 and 1; got a"),
    (lambda: penalties.activity_kl(1, rate=1.0), ValueError, "activity_kl: rate must be between 0 and 1; got 1.0"),
    (
        lambda: L.activity_penalty(0.1),
        TypeError,
        "activity_penalty(penalty=0.1): penalty must be a function (x, mask) -> scalar; got 0.1",
    ),
    (
        lambda: L.activity_penalty(penalties.activity_l1(1.0)).init(jax.random.key(0), jnp.ones((2, 3), int)),
        TypeError,
        "input must be a floating array; got int32[2,3]",
    ),
]


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS, ids=[text for *_, text in ERRORS])
def test_errors_say_what_is_needed(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)
