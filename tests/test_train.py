"""The training contract and the engine."""

import os
import signal
import threading
import warnings
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl as dl
from jaxdl import layers as L
from jaxdl.launch.launcher import _passing_on
from jaxdl.train import create_state, trace_count
from jaxdl.train.interrupt import catch_interrupt

RNG = np.random.default_rng(0)
DATA = {"x": RNG.normal(size=(23, 3)).astype(np.float32), "y": RNG.integers(0, 2, 23).astype(np.int32)}
OPTIMIZER = optax.adam(1e-2)


def model():
    return dl.sequential(L.dense(4), L.batch_norm(), jnp.tanh, L.dropout(0.3), L.dense(2))


def fit(data=DATA, **changes):
    arguments = dict(
        loss=dl.losses.cross_entropy, optimizer=OPTIMIZER, epochs=2, batch_size=5, progress=False, seed=1,
        metrics={"accuracy": dl.metrics.accuracy},
    ) | changes  # fmt: skip
    return dl.fit(model(), data, **arguments)


def assert_equal(one, two):
    def compare(a, b):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)

    jax.tree.map(compare, one, two)


@pytest.fixture(scope="module")
def trained():
    return fit()


class Source:
    """A random-access source of examples, as a dataset of files would be."""

    def __len__(self):
        return len(DATA["y"])

    def __getitem__(self, index):
        return {name: leaf[index] for name, leaf in DATA.items()}


def batches_of(epoch, start):
    """The engine's own batches of an epoch, as a stream."""
    order = dl.data.epoch_order(len(DATA["y"]), seed=1, epoch=epoch)
    for first in range(5 * start, len(order), 5):
        yield {name: leaf[order[first : first + 5]] for name, leaf in DATA.items()}


def plain_loop(epochs=2):
    """The same training, one jitted step at a time: what the engine must compute, up to rounding."""
    step = jax.jit(
        dl.make_step(
            dl.supervised(model(), dl.losses.cross_entropy, metrics={"accuracy": dl.metrics.accuracy}), OPTIMIZER
        )
    )
    state = create_state(model(), OPTIMIZER, DATA["x"], seed=1)
    history = []
    for epoch in range(epochs):
        sums = []
        for batch in batches_of(epoch, 0):
            state, metrics = step(state, batch)
            sums.append(metrics)
        total = jax.tree.map(lambda *leaves: sum(leaves), *sums)
        history.append({name: float(s.total / s.weight) for name, s in total.items()})
    return state, history


def test_fit_equals_a_plain_loop(trained):
    state, history = trained
    expected, rows = plain_loop()
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6),
        (state.params, state.state, state.opt_state),
        (expected.params, expected.state, expected.opt_state),
    )
    assert int(state.step) == int(expected.step) == 10
    assert history["epoch"] == [1, 2]
    assert history["steps"] == [5, 5]
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(history[name], [row[name] for row in rows], rtol=1e-5)
    assert list(history)[:4] == ["epoch", "steps", "loss", "accuracy"]


def test_a_run_repeats_and_seeds_differ(trained):
    assert_equal(fit()[0], trained[0])
    assert not np.array_equal(fit(seed=2)[0].params["dense"]["kernel"], trained[0].params["dense"]["kernel"])


@pytest.mark.parametrize("data", [Source(), batches_of, (DATA["x"], DATA["y"])], ids=["source", "callable", "tuple"])
def test_every_kind_of_data_gives_the_same_bits(trained, data):
    state, history = fit(data)
    assert_equal(state, trained[0])
    assert history["loss"] == trained[1]["loss"]


def test_data_that_do_not_fit_are_fed_in_chunks_to_the_same_bits(trained, monkeypatch):
    monkeypatch.setattr("jaxdl.train.sources.resident_bytes", lambda: 0)
    assert_equal(fit()[0], trained[0])
    monkeypatch.setattr("jaxdl.train.chunks.CHUNK_STEPS", 3)
    assert_equal(fit()[0], trained[0])


def test_streams_of_any_length_are_compiled_once_a_shape(monkeypatch):
    monkeypatch.setattr("jaxdl.train.chunks.CHUNK_STEPS", 3)
    before = trace_count()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        state, history = fit(batches_of)
    assert history["steps"] == [5, 5]
    assert trace_count() - before <= 2
    assert_equal(state, fit()[0])


@pytest.mark.slow
def test_float64_is_kept_where_it_is_enabled(monkeypatch):
    with jax.enable_x64(True):
        data = {"x": DATA["x"].astype(np.float64), "y": DATA["y"]}
        wide = dl.sequential(L.dense(2, param_dtype=jnp.float64))
        options = dict(loss=dl.losses.cross_entropy, optimizer=OPTIMIZER, epochs=2, batch_size=5, progress=False)
        resident, history = dl.fit(wide, data, validation=data, **options)
        monkeypatch.setattr("jaxdl.train.sources.resident_bytes", lambda: 0)
        chunked, _ = dl.fit(wide, data, **options)
        assert resident.params["dense"]["kernel"].dtype == jnp.float64
        assert_equal(resident, chunked)
        exact = dl.evaluate(wide, resident, data, loss=dl.losses.cross_entropy)
        np.testing.assert_allclose(history["validation_loss"][-1], exact["loss"], rtol=1e-14)


def test_a_list_is_a_source_of_examples(trained):
    examples = [{name: leaf[index] for name, leaf in DATA.items()} for index in range(23)]
    assert_equal(fit(examples)[0], trained[0])


def test_iterables_and_iterators():
    batches = list(batches_of(0, 0))

    class Loader:
        def __iter__(self):
            return iter(batches)

    twice, history = fit(Loader(), batch_size=None)
    assert history["steps"] == [5, 5]
    once, _ = fit(iter(batches), epochs=1)
    again, _ = fit(iter(batches), epochs=1)
    assert_equal(once, again)
    endless = (batch for _ in iter(int, 1) for batch in batches[:4])
    assert fit(endless, steps_per_epoch=3)[1]["steps"] == [3, 3]
    for changes in ({"data": iter(batches)}, {"validation": iter(batches)}):
        with pytest.raises(ValueError, match=r"data must last for 2 epochs; got an iterator, which lasts for one. Did"):
            fit(epochs=2, **changes)
    empty = [batches, []]
    with pytest.raises(ValueError, match="data must give batches in epoch 2; got none"):
        fit(lambda epoch, start: iter(empty[epoch]), epochs=2)


def test_an_iterator_gives_each_batch_once_and_a_buffer_may_be_filled_again():
    def step(s, batch):
        return s, {"sum": batch.sum()}

    def counting():
        buffer = np.zeros(1, np.float32)
        for number in range(100):
            buffer[:] = number
            yield buffer

    _, history = dl.run(step, {}, counting(), epochs=3, steps_per_epoch=2, progress=False)
    np.testing.assert_allclose(history["sum"], [0.5, 2.5, 4.5])

    def batches_once():
        for number in range(9):
            yield {"x": np.full((1, 3), number, np.float32), "y": np.array([0], np.int32)}

    mean = {"mean": lambda prediction, y: prediction[:, 0]}
    same = dl.sequential(lambda x: x[:, :2], ("gain", L.batch_norm(use_scale=False)))
    options = dict(loss=dl.losses.cross_entropy, optimizer=OPTIMIZER, progress=False, metrics=mean)
    state, history = dl.fit(same, batches_once(), epochs=3, steps_per_epoch=3, **options)
    assert history["steps"] == [3, 3, 3]
    decayed = sum(0.1 * 0.9 ** (8 - number) * number for number in range(9))
    np.testing.assert_allclose(state.state["gain"]["mean"], decayed, rtol=1e-5)


@pytest.mark.slow
def test_a_stream_of_many_shapes_warns_that_it_compiles_again():
    shapes = [{name: leaf[:size] for name, leaf in DATA.items()} for size in (13, 12, 11)]
    with pytest.warns(UserWarning, match=r"run: compiled again, for batches of 11.*after batches of 13, 12"):
        fit(lambda epoch, start: iter(shapes), epochs=1)


def test_a_loader_that_fails_fails_the_run_with_its_own_error():
    def broken(epoch, start):
        yield {name: leaf[:5] for name, leaf in DATA.items()}
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        fit(broken)


def test_an_equal_model_compiles_nothing(trained):
    before = trace_count()
    fit(epochs=3)
    fit(validation=DATA)
    once = trace_count()
    fit(validation=DATA)
    assert trace_count() == once
    assert once - before == 1, "only the evaluation was new"


def test_programs_of_any_length_give_the_same_bits(trained, monkeypatch):
    before = trace_count()
    for probe in (2, 3, 5):
        monkeypatch.setattr("jaxdl.train.pace.PROBE", probe)
        state, history = fit()
        assert_equal(state, trained[0])
        assert history["loss"] == trained[1]["loss"]
    assert trace_count() == before


def test_metrics_count_exactly_beyond_what_float32_can():
    many = jnp.float32(2**24)

    def step(s, batch):
        return s + 1, {"n": dl.Sum(jnp.where(s == 0, many, 1.0), jnp.float32(1))}

    _, history = dl.run(step, jnp.float32(0), np.zeros(1001, np.float32), epochs=1, batch_size=1, progress=False)
    assert history["n"] == [(2**24 + 1000) / 1001]


def test_a_step_is_traced_once_a_shape():
    traces = 0

    def step(s, batch):
        nonlocal traces
        traces += 1
        return s + batch.sum(), {"sum": batch.sum()}

    dl.run(step, jnp.zeros(()), np.ones(20, np.float32), epochs=3, batch_size=4, progress=False)
    assert traces == 1
    dl.run(step, jnp.zeros(()), np.ones(22, np.float32), epochs=3, batch_size=4, progress=False)
    assert traces == 2, "the smaller last batch"


def test_more_epochs_from_a_train_state_equal_one_go(trained):
    half, first = fit(epochs=1)
    whole, second = fit(train_state=half, epochs=1)
    assert_equal(whole, trained[0])
    assert first["loss"] + second["loss"] == trained[1]["loss"]
    assert second["epoch"] == [2]


def test_data_beyond_float32_are_named():
    with pytest.raises(ValueError, match="data must be finite; got 1 nan or inf"):
        fit(changed(x=np.where(np.arange(69).reshape(23, 3) == 4, 1e300, 0.0)))


def test_what_the_user_hands_in_stays_alive():
    start = create_state(model(), OPTIMIZER, DATA["x"])
    data = jax.tree.map(jnp.asarray, DATA)
    tied = {"a": start.params["dense"]["kernel"], "b": start.params["dense"]["kernel"]}
    fit(data, train_state=start)
    dl.run(lambda s, batch: (s, {}), tied, data, epochs=1, batch_size=5, progress=False)
    for leaf in jax.tree.leaves((start, data, tied)):
        assert not leaf.is_deleted()


@pytest.mark.slow
def test_consume_gives_the_state_away():
    step = dl.make_step(dl.supervised(model(), dl.losses.cross_entropy), OPTIMIZER)
    start = create_state(model(), OPTIMIZER, DATA["x"])
    dl.run(step, start, DATA, epochs=1, batch_size=5, progress=False, consume=True)
    assert start.params["dense"]["kernel"].is_deleted()


def test_remainder():
    assert fit(remainder="drop")[1]["steps"] == [4, 4]
    with pytest.raises(ValueError, match='remainder must be "train" or "drop"; got \'keep\''):
        fit(remainder="keep")


def test_weights_mask_examples_exactly():
    masked = DATA | {"weight": np.r_[np.ones(20), np.zeros(3)].astype(np.float32)}
    spoiled = masked | {"x": np.r_[DATA["x"][:20], np.full((3, 3), 7.0, np.float32)]}
    linear = dl.sequential(L.dense(2))
    options = dict(loss=dl.losses.cross_entropy, optimizer=OPTIMIZER, epochs=2, batch_size=5, progress=False)
    one, _ = dl.fit(linear, masked, **options)
    two, _ = dl.fit(linear, spoiled, **options)
    assert_equal(one.params, two.params)
    scores = dl.evaluate(linear, one, masked, loss=dl.losses.cross_entropy, batch_size=7)
    clean = {name: leaf[:20] for name, leaf in DATA.items()}
    expected = dl.evaluate(linear, one, clean, loss=dl.losses.cross_entropy, batch_size=20)
    np.testing.assert_allclose(scores["loss"], expected["loss"], rtol=1e-6)


@pytest.mark.parametrize("size", [2, 8])
def test_predict_warns_of_nan_and_says_of_which_examples(size):
    model = dl.sequential(dl.layers.embedding(5, 3), dl.layers.flatten(), dl.layers.dense(2))
    ids = np.array([[1, 2], [0, 4], [3, 9], [2, 2], [7, 0]])
    s = dl.train.create_state(model, optax.sgd(0.1), ids[:2])
    with pytest.warns(
        UserWarning, match=r"predict: the outputs of 2 of 5 examples hold nan, first those of example 2;"
    ):
        found = dl.predict(model, s, ids, batch_size=size)
    np.testing.assert_array_equal(np.isnan(found).all(axis=1), [False, False, True, False, True])
    assert np.isfinite(dl.predict(model, s, ids[[0, 1, 3]], batch_size=size)).all()


def test_evaluate_and_predict_are_exact_over_uneven_batches(trained):
    state, _ = trained
    logits, _ = model().apply(state.params, state.state, DATA["x"], train=False)
    np.testing.assert_allclose(dl.predict(model(), state, DATA["x"], batch_size=10), logits, rtol=1e-5, atol=1e-6)
    expected = {
        "loss": float(dl.losses.cross_entropy(logits, DATA["y"]).mean()),
        "accuracy": float(dl.metrics.accuracy(logits, DATA["y"]).mean()),
    }
    for size in (1, 4, 23, 100):
        found = dl.evaluate(
            model(),
            state,
            DATA,
            loss=dl.losses.cross_entropy,
            metrics={"accuracy": dl.metrics.accuracy},
            batch_size=size,
        )
        assert list(found) == ["loss", "accuracy"]
        np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-5)


def test_validation_is_measured_after_each_epoch(trained):
    state, history = fit(validation=DATA)
    assert_equal(state, trained[0])
    now = dl.evaluate(model(), state, DATA, loss=dl.losses.cross_entropy)
    np.testing.assert_allclose(history["validation_loss"][-1], now["loss"], rtol=1e-6)
    assert len(history["validation_accuracy"]) == 2


@pytest.mark.slow
def test_norms_are_logged():
    step = dl.make_step(dl.supervised(L.dense(2), dl.losses.cross_entropy), optax.sgd(0.0), log_norms=True)
    state = create_state(L.dense(2), optax.sgd(0.0), DATA["x"])
    _, history = dl.run(step, state, DATA, epochs=1, batch_size=23, progress=False)
    gradient = jax.grad(
        lambda p: dl.losses.cross_entropy(L.dense(2).apply(p, {}, DATA["x"], train=True)[0], DATA["y"]).mean()
    )(state.params)
    np.testing.assert_allclose(history["gradient_norm"][0], optax.tree.norm(gradient), rtol=1e-5)
    np.testing.assert_allclose(history["parameter_norm"][0], optax.tree.norm(state.params), rtol=1e-5)
    assert "gradient_norm" in fit(log_norms=True, epochs=1)[1]


def test_penalties_and_auxiliary_losses_are_added():
    @dl.layer
    def active():
        def init(key, x):
            return {}, {"aux_loss": jnp.zeros(())}

        def apply(params, state, x, *, train, key=None):
            return x, {"aux_loss": jnp.square(x).mean()}

        return init, apply

    net = dl.sequential(L.dense(2), ("hook", active()))
    params, state = net.init(jax.random.key(0), DATA["x"])
    logits, _ = L.dense(2).apply(params["dense"], {}, DATA["x"], train=True)
    loss_fn = dl.supervised(net, dl.losses.cross_entropy, penalty=optax.tree.norm)
    total, (new, metrics) = loss_fn(params, state, DATA, key=None, train=True)
    plain = dl.losses.cross_entropy(logits, DATA["y"]).mean()
    np.testing.assert_allclose(total.mean(), plain + optax.tree.norm(params) + jnp.square(logits).mean(), rtol=1e-6)
    np.testing.assert_allclose(metrics["loss"].mean(), plain, rtol=1e-6)
    np.testing.assert_allclose(metrics["penalty"].mean(), optax.tree.norm(params), rtol=1e-6)
    assert float(new["hook"]["aux_loss"]) == 0
    np.testing.assert_allclose(metrics["aux_loss"].mean(), jnp.square(logits).mean(), rtol=1e-6)
    assert list(loss_fn(params, state, DATA, key=None, train=False)[1][1]) == ["loss", "penalty"]


def test_the_state_of_another_optimizer_is_named(trained):
    message = r"fit: opt_state of train_state must be one of this optimizer, for these params; got"
    with pytest.raises(
        ValueError, match=message + r" .* at opt_state\[.*Did you mean train_state\.replace\(opt_state=optimizer\.init"
    ):
        fit(train_state=trained[0], optimizer=optax.sgd(0.1, momentum=0.9))
    with pytest.raises(ValueError, match=message):
        fit(train_state=trained[0], optimizer=optax.sgd(0.1))


@pytest.mark.slow
def test_layers_that_are_added_leave_the_bits_of_the_others_alone():
    """However large the model becomes: all are drawn by code that is optimized alike."""
    x = jnp.ones((1, 8, 8, 3))
    few = dl.sequential(L.dense(40), jnp.tanh, ("conv", L.conv(8, 3)))
    many = dl.sequential(L.dense(40), jnp.tanh, ("conv", L.conv(8, 3)), L.flatten(), ("large", L.dense(15_000)))
    small, large = (create_state(model, optax.sgd(0.1), x, seed=3) for model in (few, many))
    assert sum(leaf.size for leaf in jax.tree.leaves(large.params)) > 4_000_000
    assert_equal(small.params, {name: leaf for name, leaf in large.params.items() if name != "large"})


def test_a_state_lies_on_the_default_device():
    """The code is that of the device which it lies on, whichever comes first."""
    device = jax.devices("cpu")[0]
    for chosen in (device, "cpu"):
        with jax.default_device(chosen):
            state = create_state(model(), OPTIMIZER, DATA["x"], seed=1)
        assert {leaf.device for leaf in jax.tree.leaves(state)} == {device}
    assert_equal(state.params, create_state(model(), OPTIMIZER, DATA["x"], seed=jax.random.key(1)).params)


def test_a_ragged_prediction_is_masked():
    tagger = dl.sequential(L.dense(2))
    x = dl.Ragged(jnp.asarray(RNG.normal(size=(4, 5, 3)), jnp.float32), jnp.array([5, 2, 0, 3]))
    y = RNG.integers(0, 2, (4, 5))
    params, state = tagger.init(jax.random.key(0), x)
    loss_fn = dl.supervised(tagger, dl.losses.cross_entropy)
    total, _ = loss_fn(params, state, {"x": x, "y": y}, key=None, train=False)
    other, _ = loss_fn(params, state, {"x": x, "y": np.where(x.mask(), y, 1)}, key=None, train=False)
    assert float(total.weight) == 10
    assert float(total.total) == float(other.total)


@pytest.mark.slow
def test_a_transform_that_keeps_the_targets_does_not_hide_wrong_ones():
    data = DATA | {"y": DATA["y"] + 5}
    with pytest.raises(ValueError, match="labels must be from 0 to 1 for 2 classes"):
        fit(data, transform=lambda batch, key: batch | {"x": batch["x"] * 2})
    mixed = fit(data, transform=lambda batch, key: batch | {"y": batch["y"] - 5})
    assert mixed[1]["steps"] == [5, 5]


def test_a_model_with_ragged_predictions_is_fitted():
    lengths = RNG.integers(1, 6, 23).astype(np.int32)
    x = dl.Ragged(RNG.normal(size=(23, 5, 3)).astype(np.float32), lengths)
    data = {"x": x, "y": RNG.integers(0, 2, (23, 5)).astype(np.int32)}
    options = dict(loss=dl.losses.cross_entropy, optimizer=OPTIMIZER, epochs=1, batch_size=23, progress=False)
    tagger = dl.sequential(L.dense(2))
    state, history = dl.fit(tagger, data, **options)
    assert np.isfinite(history["loss"][0])
    with pytest.raises(ValueError, match="labels must be from 0 to 1"):
        dl.fit(tagger, data | {"y": data["y"] + 7}, **options)


def test_seeds_are_ints_of_any_kind_and_wrong_ones_are_named():
    assert_equal(fit(seed=np.int64(1))[0].params, fit(seed=1)[0].params)
    for seed in (-1, 2**32, 1.5, "a"):
        with pytest.raises(ValueError, match="seed must be an int from 0 to 2³² − 1; got"):
            fit(seed=seed)


def test_going_on_with_a_stream_asks_for_the_epoch():
    asked = []

    def stream(epoch, start):
        asked.append(epoch)
        return batches_of(epoch, start)

    whole, _ = fit(stream)
    half, _ = fit(stream, epochs=1)
    with pytest.raises(ValueError, match="first_epoch must be given to go on with a callable"):
        fit(stream, epochs=1, train_state=half)
    rest, history = fit(stream, epochs=1, train_state=half, first_epoch=1)
    assert asked[-1] == 1
    assert history["epoch"] == [2]
    assert_equal(rest, whole)


def test_names_of_columns_are_not_overwritten():
    data = np.ones((4, 2), np.float32)
    with pytest.raises(ValueError, match="metrics must have other names than epoch, steps and seconds; got 'steps'"):
        dl.run(lambda s, b: (s, {"steps": 1.0}), {}, data, epochs=1, batch_size=2, progress=False)
    options = dict(epochs=1, batch_size=2, progress=False)
    _, history = dl.run(lambda s, b: (s, {"loss": 1.0}), {}, data, evaluate=lambda s: {"loss": 9.0}, **options)
    assert (history["loss"], history["validation_loss"]) == ([1.0], [9.0])
    with pytest.raises(ValueError, match="log_norms=True needs these names for itself"):
        fit(metrics={"gradient_norm": dl.metrics.accuracy}, log_norms=True)


def test_a_callback_that_fails_does_not_hide_its_error():
    told = []

    def fail(event):
        told.append(event.kind)
        if event.kind == "program":
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        fit(callbacks=[fail], progress=True)
    assert told == ["begin", "program"]


def test_consume_takes_a_tree_that_holds_one_array_twice():
    array = jnp.ones(3)
    options = dict(epochs=1, batch_size=2, consume=True, progress=False)
    state, _ = dl.run(lambda s, b: (s, {}), {"a": array, "b": array}, np.ones((4, 2), np.float32), **options)
    assert state["b"].tolist() == [1, 1, 1]


def test_transform_runs_inside_and_depends_on_seed_epoch_and_step_alone(monkeypatch):
    def noisy(batch, key):
        x = batch["x"].astype(jnp.float32) / 255
        return batch | {"x": x if key is None else x + 0.1 * jax.random.normal(key, x.shape)}

    data = DATA | {"x": RNG.integers(0, 256, (23, 3)).astype(np.uint8)}
    one, history = fit(data, transform=noisy, validation=data)
    monkeypatch.setattr("jaxdl.train.sources.resident_bytes", lambda: 0)
    monkeypatch.setattr("jaxdl.train.chunks.CHUNK_STEPS", 2)
    two, _ = fit(data, transform=noisy)
    assert_equal(one, two)
    clean = dl.evaluate(model(), one, data, loss=dl.losses.cross_entropy, transform=noisy)
    np.testing.assert_allclose(clean["loss"], history["validation_loss"][-1], rtol=1e-6)


def test_callbacks_see_every_moment_and_can_stop():
    events = []

    def watch(event):
        events.append((event.kind, event.epoch, event.step))
        if event.kind != "begin":
            assert jnp.isfinite(event.state.params["dense"]["kernel"]).all()
        return dl.Stop() if event.kind == "epoch" and event.epoch == 2 else None

    _, history = fit(epochs=5, callbacks=[watch])
    assert history["epoch"] == [1, 2]
    assert events[0] == ("begin", 0, 0)
    assert ("epoch", 1, 5) in events
    assert events[-1] == ("end", 2, 5)


def test_ctrl_c_returns_what_is_reached():
    def press(event):
        if event.kind == "program" and event.epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)

    state, history = fit(epochs=50, callbacks=[press], validation=DATA)
    assert history["epoch"] == [1, 2]
    assert history["validation_loss"][-1] is None or history["steps"][-1] == 5
    assert 5 < int(state.step) <= 10
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert jnp.isfinite(state.params["dense"]["kernel"]).all()


def test_ctrl_c_is_nothing_to_a_process_that_was_told_to_ignore_it():
    def press(event):
        if event.kind == "program":
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _, history = fit(epochs=3, callbacks=[press])
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert history["epoch"] == [1, 2, 3]


@pytest.mark.parametrize(("catch", "asked"), [(catch_interrupt, True), (_passing_on, [])], ids=["fit", "launch"])
def test_signals_are_caught_but_where_they_are_ignored(catch, asked):
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with catch(asked):
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_second_ctrl_c_interrupts_at_once():
    def press_twice(event):
        if event.kind == "program":
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit(callbacks=[press_twice])


@pytest.mark.slow
def test_fit_works_in_a_thread(trained):
    found = []
    thread = threading.Thread(target=lambda: found.append(fit()[0]))
    thread.start()
    thread.join()
    assert_equal(found[0], trained[0])


def test_a_step_of_ones_own_with_any_state():
    def step(s, batch):
        s = {"a": s["a"] + batch.sum(), "n": s["n"] + 1}
        return s, {"size": dl.Sum(batch.sum(), jnp.float32(batch.shape[0])), "one": 1.0}

    start = {"a": 0.0, "n": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        state, history = dl.run(step, start, np.arange(7.0, dtype=np.float32), epochs=2, batch_size=3, progress=False)
    assert float(state["a"]) == 42
    assert int(state["n"]) == 6
    assert history["size"] == [3.0, 3.0]
    assert history["one"] == [1.0, 1.0]


def test_wrong_steps_are_named():
    options = dict(epochs=1, batch_size=2, progress=False)
    data = np.ones((4, 2), np.float32)
    for step, text in [
        (lambda s, b: s, r"a step must return \(train_state, metrics\)"),
        (lambda s, b: ({"b": s["a"]}, {}), "a step must return a train state like the one it got"),
        (lambda s, b: ({"a": s["a"].astype(int)}, {}), r"train state\['a'\] must stay float32\[2\]; got int32\[2\]"),
        (lambda s, b: (s, {"m": b}), r"the metric 'm' must be a Sum or a scalar; got float32\[2,2\]"),
    ]:
        with pytest.raises((TypeError, ValueError), match=text):
            dl.run(step, {"a": jnp.zeros(2)}, data, **options)
    with pytest.raises(TypeError, match="loss_fn must return"):
        bad = dl.make_step(lambda params, state, batch, *, key, train: (jnp.zeros(()), (state, {})), OPTIMIZER)
        dl.run(bad, create_state(L.dense(2), OPTIMIZER, data), data, **options)


def changed(**leaves):
    return DATA | leaves


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (changed(y=DATA["y"].astype(np.float32)), r"labels must be integers of shape .* Did you mean labels.astype"),
        (changed(y=DATA["y"] + 1), r"labels must be from 0 to 1 for 2 classes; got labels from 1 to 2.*labels - 1\?"),
        (changed(y=DATA["y"] - 1), r"labels must be from 0 to 1 for 2 classes; got labels from -1 to 0"),
        (changed(y=DATA["y"][:, None]), r"got int32\[23,1\]. Did you mean labels\[:, 0\]\?"),
        (
            changed(x=np.where(DATA["x"] > 1, np.nan, DATA["x"])),
            r"data must be finite; got \d+ nan or inf in data\['x'\]",
        ),
        (changed(x=DATA["x"][:5]), r"all arrays must have the same number of examples; got \{\"\['x'\]\": 5"),
        ({"x": DATA["x"]}, r"data must have the keys \"x\" and \"y\", and may have \"weight\"; got the keys \['x'\]"),
        ({"x": DATA["x"][:0], "y": DATA["y"][:0]}, "data must hold at least one example; got no example"),
        (
            {name: leaf[:4] for name, leaf in DATA.items()},
            "batch_size must be at most the number of examples, 4; got 5",
        ),
        (3, "data must be arrays, a source with len"),
        ({"x": [[1.0]], "y": [0]}, r"data must be arrays.*Did you mean np.asarray\(…\)\?"),
    ],
    ids=["float", "above", "below", "column", "nan", "lengths", "key", "empty", "small", "kind", "lists"],
)
def test_bad_data_are_named_before_anything_is_compiled(data, text):
    before = trace_count()
    with pytest.raises((TypeError, ValueError), match=text):
        fit(data)
    assert trace_count() == before


def test_tensors_of_another_library_are_named():
    tensor = SimpleNamespace(dtype="torch.float32", shape=(23, 3))
    with pytest.raises(
        TypeError, match=r"fit: data must be arrays of NumPy or JAX; got types\.SimpleNamespace\. Did you"
    ):
        fit({"x": tensor, "y": DATA["y"]})


def test_bad_data_in_a_stream_are_named():
    for spoil, text in [
        (lambda b: b | {"y": b["y"] + 5}, "labels must be from 0 to 1"),
        (lambda b: b | {"x": b["x"] * np.nan}, "data must be finite"),
        (lambda b: {"x": b["x"]}, "data must have the keys"),
    ]:
        with pytest.raises(ValueError, match=text):
            fit(lambda epoch, start, spoil=spoil: map(spoil, batches_of(epoch, start)))
    with pytest.raises(ValueError, match="data must give at least one batch; got none"):
        fit(lambda epoch, start: iter(()))


def test_bad_arguments_are_named():
    for changes, text in [
        ({"epochs": 0}, "run: epochs must be a positive int; got 0"),
        ({"batch_size": 0}, "fit: batch_size must be a positive int; got 0"),
        ({"batch_size": None}, "fit: batch_size must be given"),
        ({"steps_per_epoch": 3}, "steps_per_epoch goes with a stream of batches; got 3"),
        ({"metrics": {"loss": dl.metrics.accuracy}}, "metrics must have other names than loss, penalty and aux_loss"),
        ({"loss": lambda p, y: dl.losses.cross_entropy(p, y).mean()}, "loss must give a value for each example"),
    ]:
        with pytest.raises(ValueError, match=text):
            fit(**changes)
    with pytest.raises(TypeError, match=r"got epoch=…\. Did you mean epochs"):
        fit(epoch=3)


X, Y = np.ones((8, 4), np.float32), np.zeros(8, np.int32)
RIGHT = {"loss": dl.losses.cross_entropy, "optimizer": optax.sgd(0.1), "epochs": 1, "batch_size": 4}


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        (dl.layers.dense, {}, r"fit: model must be a layer; got .*Did you mean dense\(…\)\?"),
        ([dl.layers.dense(2)], {}, r"fit: model must be a layer; got .*Did you mean dl\.sequential\(…\)\?"),
        (None, {"optimizer": "adam"}, r"fit: optimizer must be one of optax, such as optax\.adam\(1e-3\); got adam"),
        (None, {"optimizer": optax.adam}, r"optimizer must be one of optax.*Did you mean adam\(learning_rate\)\?"),
        (None, {"loss": "cross_entropy"}, r"fit: loss must be a function, such as dl\.losses\.cross_entropy; got"),
        (None, {"penalty": 1e-4}, r"fit: penalty must be a function of the parameters.*; got 0\.0001"),
        (None, {"metrics": [dl.metrics.accuracy]}, r"fit: metrics must be functions by name"),
        (None, {"train_state": {"kernel": X}}, r"fit: train_state must be a TrainState.*; got \{'kernel'"),
        (None, {"validaton": (X, Y)}, r"fit: each argument .* got validaton=…\. Did you mean validation\?"),
        (None, {"batchsize": 4}, r"got batchsize=…\. Did you mean batch_size\?"),
    ],
)
def test_arguments_of_the_wrong_kind_or_name_are_named(model, changes, message):
    with pytest.raises(TypeError, match=message):
        dl.fit(dl.layers.dense(2) if model is None else model, (X, Y), **RIGHT | changes)


@pytest.mark.parametrize("lengths", [[9, 2], [-1, 2]])
def test_impossible_lengths_are_an_error(lengths):
    batch = dl.Ragged(np.ones((2, 5, 3), np.float32), np.array(lengths))
    model = dl.sequential(dl.layers.dense(2), dl.layers.global_avg_pool())
    with pytest.raises(ValueError, match=r"fit: lengths must be from 0 to the time, 5; got lengths from"):
        dl.fit(model, (batch, Y[:2]), **RIGHT | {"batch_size": 2})
