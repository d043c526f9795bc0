"""Steps: batches in parts, averaged weights, rates by epoch, classes that count unequally."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

import jaxdl as dl
from jaxdl import layers as L
from jaxdl.train import create_state, trace_count

RNG = np.random.default_rng(0)
OPTIMIZER = optax.sgd(0.1, momentum=0.9)
CE = dl.losses.cross_entropy


def close(one, other, share=1e-6):
    """Within a share of each tensor's largest entry."""
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=share * max(1e-3, float(np.abs(b).max(initial=0))))


def means(metrics):
    return {name: float(metric.mean() if isinstance(metric, dl.Sum) else metric) for name, metric in metrics.items()}


def stepped(loss_fn, batch, parts, model, optimizer=OPTIMIZER, **arguments):
    """The parameters and metrics after one step in so many parts."""
    state = create_state(model, optimizer, batch["x"], seed=3)
    new, metrics = jax.jit(dl.make_step(loss_fn, optimizer, accumulate=parts, **arguments))(state, batch)
    return new, means(metrics)


def labelled(count, **more):
    x = RNG.normal(size=(count, 3)).astype(np.float32)
    return {"x": x, "y": RNG.integers(0, 4, count).astype(np.int32), **more}


# --- accumulation


def test_4_parts_of_32_equal_a_batch_of_128_and_the_steps_of_optax():
    model = dl.sequential(L.dense(8), jnp.tanh, L.dense(4))
    loss_fn = dl.supervised(model, CE, metrics={"accuracy": dl.metrics.accuracy}, penalty=dl.penalties.l2(1e-2))
    batch = labelled(128)
    one, metrics = stepped(loss_fn, batch, 1, model, log_norms=True)
    four, others = stepped(loss_fn, batch, 4, model, log_norms=True)
    close(four.params, one.params)
    assert metrics == pytest.approx(others, rel=1e-6)
    slow = optax.MultiSteps(OPTIMIZER, every_k_schedule=4)
    step = jax.jit(dl.make_step(loss_fn, optax.GradientTransformation(slow.init, slow.update)))
    state = create_state(model, optax.GradientTransformation(slow.init, slow.update), batch["x"], seed=3)
    for part in range(4):
        state, _ = step(state, {name: leaf[32 * part : 32 * part + 32] for name, leaf in batch.items()})
    close(four.params, state.params)


@pytest.mark.slow
@settings(deadline=None, max_examples=12)
@given(count=st.integers(0, 9), parts=st.integers(2, 10), seed=st.integers(0, 99))
def test_any_parts_with_weights_and_masks_equal_the_whole(count, parts, seed):
    draw = np.random.default_rng(seed)
    weight = draw.integers(0, 3, count) * draw.random(count)
    model = L.dense(4)
    batch = labelled(count, weight=weight.astype(np.float32))
    batch["x"][weight == 0] = 1e3  # masked, so that it must not be seen
    loss_fn = dl.supervised(model, CE, metrics={"accuracy": dl.metrics.accuracy})
    one, metrics = stepped(loss_fn, batch, 1, model)
    other, others = stepped(loss_fn, batch, parts, model)
    close(other.params, one.params)
    assert metrics == pytest.approx(others, rel=1e-5)


@pytest.mark.slow
def test_ragged_batches_and_sequences_equal_the_whole():
    lengths = np.array([4, 1, 0, 3, 2, 4, 1], np.int32)
    x = dl.Ragged(RNG.normal(size=(7, 4, 3)).astype(np.float32), lengths)
    model = dl.sequential(L.lstm(5), L.dense(4))
    batch = {"x": x, "y": RNG.integers(0, 4, (7, 4)).astype(np.int32), "weight": RNG.random(7).astype(np.float32)}
    for policy in (None, "bfloat16"):
        loss_fn = dl.supervised(model, CE, policy=policy, metrics={"perplexity": dl.metrics.perplexity})
        one, metrics = stepped(loss_fn, batch, 1, model)
        other, others = stepped(loss_fn, batch, 3, model)
        close(other.params, one.params, 1e-6 if policy is None else 3e-2)
        assert metrics == pytest.approx(others, rel=1e-5 if policy is None else 3e-2)


@pytest.mark.slow
def test_auxiliary_losses_and_finished_metrics_add_up():
    model = dl.sequential(L.dense(8), L.activity_penalty(dl.penalties.activity_l1(0.1)), L.dense(4))
    loss_fn = dl.supervised(model, CE, metrics={"f1": partial(dl.metrics.f1, average="macro")})
    batch = labelled(12)
    one, metrics = stepped(loss_fn, batch, 1, model)
    other, others = stepped(loss_fn, batch, 3, model)
    assert set(metrics) == {"loss", "f1", "aux_loss"}
    close(other.params, one.params)
    assert metrics == pytest.approx(others, rel=1e-5)


@pytest.mark.slow
def test_batch_norm_goes_from_part_to_part_and_dropout_has_a_key_for_each():
    model = dl.sequential(L.batch_norm(momentum=0.5), L.dense(4))
    batch = labelled(6)
    new, _ = stepped(dl.supervised(model, CE), batch, 3, model)
    start = create_state(model, OPTIMIZER, batch["x"], seed=3)
    params, state = start.params, start.state
    for part in range(3):
        _, state = model.apply(params, state, batch["x"][2 * part : 2 * part + 2], train=True)
    close(new.state, state)

    dropped = dl.sequential(L.dropout(0.5), L.dense(4))
    seen = []

    def loss_fn(params, state, batch, *, key, train):
        jax.debug.callback(lambda data: seen.append(tuple(data.tolist())), jax.random.key_data(key))
        return dl.supervised(dropped, CE)(params, state, batch, key=key, train=train)

    stepped(loss_fn, batch, 3, dropped)
    jax.effects_barrier()
    assert len(set(seen)) == 3


@pytest.mark.slow
def test_fit_accumulates_over_uneven_tails():
    data = labelled(23)
    options = dict(loss=CE, optimizer=OPTIMIZER, epochs=2, batch_size=8, progress=False)
    model = dl.sequential(L.dense(8), jnp.tanh, L.dense(4))
    one, history = dl.fit(model, data, **options)
    other, others = dl.fit(model, data, accumulate=3, **options)
    close(other.params, one.params, 1e-5)
    np.testing.assert_allclose(others["loss"], history["loss"], rtol=1e-5)
    traced = trace_count()
    dl.fit(model, data, accumulate=3, **options)
    assert trace_count() == traced


def test_wrong_parts_are_named():
    data, model = labelled(8), L.dense(4)
    options = dict(loss=CE, optimizer=OPTIMIZER, epochs=1, batch_size=4, progress=False)
    with pytest.raises(ValueError, match="accumulate must be at most the batch_size, 4; got 5"):
        dl.fit(model, data, accumulate=5, **options)
    for wrong in (0, 1.5, True):
        with pytest.raises(ValueError, match="accumulate must be a positive int"):
            dl.fit(model, data, accumulate=wrong, **options)
        with pytest.raises(ValueError, match="accumulate must be a positive int"):
            dl.make_step(dl.supervised(model, CE), OPTIMIZER, accumulate=wrong)

    def other_mean(params, state, batch, *, key, train):
        return dl.Sum(params["w"], jnp.ones(()), jnp.add), (state, {})

    state = dl.TrainState(jnp.zeros((), int), {"w": jnp.ones(())}, {}, (), jax.random.key(0))
    with pytest.raises(ValueError, match="accumulate=2 needs a Sum whose finish is the mean; got finish=add"):
        dl.make_step(other_mean, optax.identity(), accumulate=2)(state, {"x": jnp.ones(4)})
    with pytest.raises(ValueError, match="make_step: all arrays must have the same number of examples"):
        dl.make_step(other_mean, optax.identity(), accumulate=2)(state, {"x": jnp.ones(4), "y": jnp.ones(3)})


@pytest.mark.slow
def test_parts_add_up_in_full_where_the_parameters_are_halves():
    """A weight beyond 65,504, and a sum whose parts are less than its rounding."""
    for dtype in (jnp.float16, jnp.bfloat16):
        model = L.dense(4, param_dtype=dtype)
        batch = labelled(64, weight=np.full(64, 3000, np.float32))
        batch["x"] = batch["x"].astype(dtype)
        one, metrics = stepped(dl.supervised(model, CE), batch, 1, model, optax.sgd(1.0))
        other, others = stepped(dl.supervised(model, CE), batch, 64, model, optax.sgd(1.0))
        assert other.params["kernel"].dtype == dtype
        for a, b in zip(jax.tree.leaves(other.params), jax.tree.leaves(one.params), strict=True):
            atol = 3 * float(jnp.finfo(dtype).eps)
            np.testing.assert_allclose(a.astype(jnp.float32), b.astype(jnp.float32), rtol=0, atol=atol)
        assert metrics == pytest.approx(others, rel=1e-2)


def test_a_sum_that_leaves_out_the_weights_is_named():
    model, batch = L.dense(4), labelled(6, weight=np.ones(6, np.float32))
    params, _ = model.init(jax.random.key(0), batch["x"])
    loss_fn = dl.supervised(model, CE, metrics={"mine": lambda prediction, y: dl.Sum.of(prediction)})
    text = "have weights, mine must give a value for each, or take .* Did you mean to mark it with dl.metrics.reducing?"
    with pytest.raises(ValueError, match=text):
        loss_fn(params, {}, batch, key=None, train=False)


# --- averages of the weights


def test_ema_is_the_weighted_mean_of_the_weights_after_each_update():
    decay, weights = 0.9, []
    optimizer = dl.ema(optax.adam(0.1), decay)
    params = {"a": jnp.array([1.0, -2.0]), "b": jnp.array(3.0, jnp.bfloat16)}
    state = optimizer.init(params)
    train_state = dl.TrainState(0, params, {}, state, None)
    jax.tree.map(np.testing.assert_array_equal, dl.ema_params(train_state), params)
    update = jax.jit(optimizer.update)
    for step in range(5):
        gradients = {name: jnp.cos(leaf + step).astype(leaf.dtype) for name, leaf in params.items()}
        updates, state = update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        weights.append(np.asarray(params["a"], np.float64))
        share = decay ** np.arange(step, -1, -1)
        np.testing.assert_allclose(state.average["a"], share @ np.stack(weights) / share.sum(), rtol=1e-6)
        # The same as the debiased average of optax, were it of weights.
    biased = optax.ema(decay)
    kept = biased.init({"a": weights[0]})
    for value in weights:
        debiased, kept = biased.update({"a": jnp.asarray(value, jnp.float32)}, kept)
    np.testing.assert_allclose(state.average["a"], debiased["a"], rtol=1e-5)
    assert state.average["b"].dtype == jnp.float32
    averaged = dl.ema_params(train_state.replace(params=params, opt_state=state))
    assert averaged["b"].dtype == jnp.bfloat16


@pytest.mark.slow
def test_ema_of_a_part_leaves_the_rest_and_trains_evaluates_and_resumes(tmp_path):
    data = labelled(16)
    model = dl.sequential(("stem", L.dense(8)), jnp.tanh, ("head", L.dense(4)))
    optimizer = dl.by_path({"head/*": dl.ema(optax.adam(1e-2), 0.5)}, optax.sgd(0.1))
    options = dict(loss=CE, optimizer=optimizer, batch_size=4, progress=False)
    state, _ = dl.fit(model, data, epochs=2, checkpoint=tmp_path / "a", **options)
    averaged = dl.ema_params(state)
    assert averaged["stem"]["kernel"] is state.params["stem"]["kernel"]
    assert not np.allclose(averaged["head"]["kernel"], state.params["head"]["kernel"])
    found = dl.evaluate(model, state.replace(params=averaged), data, loss=CE)
    assert np.isfinite(found["loss"])
    dl.fit(model, data, epochs=1, checkpoint=tmp_path / "b", **options)
    resumed, _ = dl.fit(model, data, epochs=2, checkpoint=tmp_path / "b", resume=True, **options)
    jax.tree.map(np.testing.assert_array_equal, dl.ema_params(resumed), averaged)


def test_ema_in_a_frozen_model_and_around_a_partition_agree():
    params = {"stem": {"w": jnp.ones(2)}, "head": {"w": jnp.ones(2), "count": jnp.array(3)}}
    gradients = {"stem": {"w": jnp.ones(2)}, "head": {"w": jnp.ones(2), "count": jnp.array(0)}}
    found = []
    for optimizer in (dl.freeze(dl.ema(optax.sgd(0.1)), "stem/*"), dl.ema(dl.freeze(optax.sgd(0.1), "stem/*"))):
        updates, state = optimizer.update(gradients, optimizer.init(params), params)
        new = optax.apply_updates(params, updates)
        found.append(dl.ema_params(dl.TrainState(1, new, {}, state, None)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *found)


def test_wrong_averages_are_named():
    assert dl.ema(OPTIMIZER, 0.9) == dl.ema(OPTIMIZER, 0.9) != dl.ema(OPTIMIZER, 0.99)
    for wrong in (0, 1, True, "0.9"):
        with pytest.raises(ValueError, match="ema: decay must be between 0 and 1"):
            dl.ema(OPTIMIZER, wrong)
    with pytest.raises(TypeError, match="ema: an optimizer must be from optax"):
        dl.ema(0.9)
    with pytest.raises(ValueError, match="ema: update must be given the params"):
        dl.ema(OPTIMIZER).update({}, dl.ema(OPTIMIZER).init({}))
    state = create_state(L.dense(2), OPTIMIZER, jnp.ones((1, 2)))
    with pytest.raises(ValueError, match=r"optimizer that averages.*Did you mean optimizer=dl.ema\(optimizer\)\?"):
        dl.ema_params(state)


# --- rates by epoch


def test_rates_by_epoch_change_at_its_first_step():
    for steps in (1, 7, 45, 49):
        rate = jax.jit(dl.by_epoch(optax.piecewise_constant_schedule(1.0, {3: 0.5, 41: 0.5}), steps))
        found = [float(rate(jnp.int32(step))) for step in (0, 3 * steps - 1, 3 * steps, 41 * steps - 1, 41 * steps)]
        assert found == [1.0, 1.0, 0.5, 0.5, 0.25]
    half = dl.by_epoch(optax.linear_schedule(0.0, 1.0, 2), 10)
    np.testing.assert_allclose([half(step) for step in range(0, 25, 5)], [0, 0.25, 0.5, 0.75, 1], rtol=1e-6)
    assert half == dl.by_epoch(half.schedule, 10) != dl.by_epoch(half.schedule, 11)
    with pytest.raises(ValueError, match="steps_per_epoch must be a positive int"):
        dl.by_epoch(lambda count: count, 0)
    with pytest.raises(TypeError, match="schedule must be a function"):
        dl.by_epoch(0.1, 10)


# --- classes that count unequally


def by_class(weights, batch, values):
    """The mean of the values, in NumPy: by the class and by the example, divided by the sum of both."""
    weight = np.asarray([weights[label] for label in batch["y"]]) * batch.get("weight", 1)
    return (np.asarray(values, np.float64) * weight).sum() / weight.sum()


def test_class_weights_multiply_the_loss_in_training_alone():
    model, weights = L.dense(4), {0: 1.0, 1: 5.0, 2: 0.5, 3: 0.0}
    for more in ({}, {"weight": RNG.random(9).astype(np.float32)}):
        batch = labelled(9, **more)
        params, state = model.init(jax.random.key(0), batch["x"])
        loss_fn = dl.supervised(model, CE, class_weight=weights, metrics={"accuracy": dl.metrics.accuracy})
        logits = model.apply(params, state, batch["x"], train=True)[0]
        total, (_, metrics) = loss_fn(params, state, batch, key=None, train=True)
        np.testing.assert_allclose(total.mean(), by_class(weights, batch, CE(logits, batch["y"])), rtol=1e-6)
        plain = dl.supervised(model, CE, metrics={"accuracy": dl.metrics.accuracy})
        _, (_, others) = plain(params, state, batch, key=None, train=False)
        assert means(metrics)["accuracy"] == means(others)["accuracy"]
        assert means(loss_fn(params, state, batch, key=None, train=False)[1][1]) == means(others)
        array = dl.supervised(model, CE, class_weight=[1.0, 5.0, 0.5, 0.0], metrics={"accuracy": dl.metrics.accuracy})
        assert array == loss_fn != plain
        assert hash(array) == hash(loss_fn)


@pytest.mark.slow
def test_positions_of_ragged_sequences_count_by_their_class():
    x = dl.Ragged(RNG.normal(size=(2, 3, 3)).astype(np.float32), np.array([3, 1], np.int32))
    y = np.array([[1, 2, 3], [2, -7, 99]], np.int32)  # beyond a length, anything
    model, weights = L.dense(4), {1: 2.0, 2: 1.0, 3: 4.0}
    params, _ = model.init(jax.random.key(0), x)
    values = np.asarray(CE(model.apply(params, {}, x, train=True)[0].x, np.where(np.abs(y) > 3, 0, y)))
    expected = (2 * values[0, 0] + values[0, 1] + 4 * values[0, 2] + 3 * values[1, 0]) / 10
    for target in (y, dl.Ragged(y, x.lengths)):
        batch = {"x": x, "y": target, "weight": np.array([1, 3], np.float32)}
        loss_fn = dl.supervised(model, CE, class_weight=weights)
        total, _ = jax.jit(partial(loss_fn, key=None, train=True))(params, {}, batch)
        np.testing.assert_allclose(total.mean(), expected, rtol=1e-6)


@pytest.mark.slow
def test_balanced_is_the_formula_of_scikit_learn_and_a_mask_does_not_count():
    data = labelled(30)
    data["y"] = np.repeat(np.array([0, 1, 3], np.int32), [20, 6, 4])
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=data["y"])
    options = dict(loss=CE, optimizer=OPTIMIZER, epochs=2, batch_size=8, progress=False, validation=data)
    model = L.dense(4)
    named, history = dl.fit(model, data, class_weight=dict(zip((0, 1, 3), expected, strict=True)), **options)
    for form in (data, (data["x"], data["y"])):
        balanced, others = dl.fit(model, form, class_weight="balanced", **options)
        jax.tree.map(np.testing.assert_array_equal, balanced.params, named.params)
        assert others["validation_loss"] == history["validation_loss"]
    plain, _ = dl.fit(model, data, **options)
    assert not np.allclose(plain.params["kernel"], named.params["kernel"])
    masked = data | {"weight": np.r_[np.zeros(10), np.ones(20)].astype(np.float32)}
    halves = dict(
        zip((0, 1, 3), compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=data["y"][10:]), strict=True)
    )
    one, _ = dl.fit(model, masked, class_weight="balanced", **options)
    other, _ = dl.fit(model, masked, class_weight=halves, **options)
    jax.tree.map(np.testing.assert_array_equal, one.params, other.params)


class Source:
    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data["y"])

    def __getitem__(self, index):
        return {name: leaf[index] for name, leaf in self.data.items()}


@pytest.mark.parametrize(
    ("class_weight", "changes", "kind", "text"),
    [
        ({0: 1.0, 3: 2.0}, {}, ValueError, r"a weight for each label; got none for \[1, 2\], only for \[0, 3\]"),
        ([1.0, 2.0, 1.0], {}, ValueError, r"got none for \[3\], only for \[0, 1, 2\]"),
        ({0: -1.0}, {}, ValueError, "finite numbers of 0 or more"),
        ([1.0, float("nan")], {}, ValueError, "finite numbers of 0 or more"),
        ({0: "heavy"}, {}, ValueError, "finite numbers of 0 or more; got {0: 'heavy'}"),
        (["heavy"], {}, ValueError, "finite numbers of 0 or more"),
        ({}, {}, ValueError, "of labels from 0 on"),
        ({"cat": 1.0}, {}, ValueError, "of labels from 0 on"),
        ([[1.0]], {}, ValueError, r"of shape \(classes,\)"),
        ("even", {}, ValueError, "must be \"balanced\" .* or a weight for each class, .*; got 'even'"),
        ({0: 1.0}, {"y": np.ones((8, 4), np.float32)}, TypeError, "needs integer labels; got float32"),
        ("balanced", {"y": np.ones((8, 4), np.float32)}, TypeError, "needs integer labels; got float32"),
        ("balanced", {"y": np.full(8, -1)}, ValueError, "of labels from 0 on; got {-1: 1.0}"),
    ],
)
def test_wrong_class_weights_are_named(class_weight, changes, kind, text):
    data = labelled(8) | {"y": np.arange(8, dtype=np.int32) % 4} | changes
    options = dict(loss=CE, optimizer=OPTIMIZER, epochs=1, batch_size=4, progress=False)
    with pytest.raises(kind, match=text):
        dl.fit(L.dense(4), data, class_weight=class_weight, **options)


def test_a_label_that_no_check_saw_has_no_other_class_weight():
    """A transform is trusted with the labels that it makes."""
    batch = labelled(3) | {"y": np.array([0, 1, 3], np.int32)}
    for labels, expected in (([0, 1, 3], False), ([0, 1, -1], False), ([0, 1, 2], True)):
        loss_fn = dl.supervised(L.dense(4), CE, class_weight=[1, 2, 1])
        params, _ = L.dense(4).init(jax.random.key(0), batch["x"])
        measured = jax.jit(partial(loss_fn, key=None, train=True))
        given = batch | {"y": jnp.array(labels)}
        assert bool(jnp.isfinite(measured(params, {}, given)[0].mean())) == expected
        assert np.isfinite(measured(params, {}, given | {"weight": jnp.array([1.0, 1, 0])})[0].mean())


def test_class_weights_of_sources_and_sequences():
    data = labelled(8) | {"y": np.arange(8, dtype=np.int32) % 4}
    options = dict(loss=CE, optimizer=OPTIMIZER, epochs=1, batch_size=4, progress=False)
    with pytest.raises(ValueError, match="labels are at hand: .* got Source. Did you mean class_weight="):
        dl.fit(L.dense(4), Source(data), class_weight="balanced", **options)
    with pytest.raises(ValueError, match=r"got none for \[3\]"):
        dl.fit(L.dense(4), Source(data), class_weight=[1, 1, 1], **options)
    with pytest.raises(ValueError, match="a loss of each label, not of whole sequences; got <function ctc"):
        dl.supervised(L.dense(4), dl.losses.ctc, class_weight=[1, 1])
