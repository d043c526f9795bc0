"""Losses and states that are not finite, and memory that is at an end: what is named, what is kept, what is skipped."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxdl as dl
from benchmarks import hlo
from jaxdl import layers as L
from jaxdl.train import guard, pace, trace_count
from jaxdl.train.program import finite_leaves, train_program, zero_totals

RNG = np.random.default_rng(0)
ONES = np.arange(1, 24, dtype=np.float32)  # 23 examples: 7 batches of 3 and one of 2
STEPS = 8
KINDS = ("nan loss", "inf loss", "gradient")


def step(s, batch):
    """Adds up what it sees, exactly; in step ``bad`` of the run it goes wrong in one of three ways."""
    here = s["n"] == s["bad"]
    loss = jnp.where(jnp.isfinite(s["w"]), batch.mean(), jnp.nan)
    loss = jnp.where(here & (s["kind"] == 0), jnp.nan, jnp.where(here & (s["kind"] == 1), jnp.inf, loss))
    w = jnp.where(here & (s["kind"] == 2), -jnp.inf, s["w"] + batch.sum())
    return s | {"w": w, "n": s["n"] + 1}, {"loss": dl.Sum(loss * len(batch), jnp.float32(len(batch))), "other": loss}


def begin(bad, kind=0, least=np.inf):
    return {"w": jnp.float32(0), "n": jnp.int32(0), "bad": jnp.int32(bad), "kind": jnp.int32(kind), "least": least}


class Source:
    def __len__(self):
        return 23

    def __getitem__(self, index):
        return ONES[index]


def rows_of(number, seed=3):
    """The examples of a step of the whole run, from 0."""
    order = dl.data.epoch_order(23, seed=seed, epoch=number // STEPS)
    return order[3 * (number % STEPS) :][:3]


def stream(epoch, start):
    for number in range(epoch * STEPS + start, (epoch + 1) * STEPS):
        yield ONES[rows_of(number)]


def run(start, data=ONES, **changes):
    size = {} if callable(data) else {"batch_size": 3}
    return dl.run(step, start, data, **dict(epochs=3, seed=3, progress=False) | size | changes)


@pytest.fixture
def lengths(monkeypatch):
    """Sets how many steps a program has at most."""
    now = SimpleNamespace(steps=1)
    monkeypatch.setattr(pace.Pace, "steps", lambda self, left: min(left, now.steps))
    return now


@pytest.mark.parametrize("data", [ONES, Source(), stream], ids=["arrays", "source", "stream"])
def test_the_step_is_named_whatever_the_programs(lengths, data):
    """And the state is the one before it, in the tail as well."""

    @settings(deadline=None, max_examples=25)
    @given(st.integers(0, 3 * STEPS - 1), st.integers(1, 30), st.sampled_from([0, 1, 2]))
    def check(bad, length, kind):
        lengths.steps = length
        start = begin(bad, kind)
        with pytest.raises(dl.NonfiniteError) as caught:
            run(start, data)
        error = caught.value
        assert (error.epoch, error.step) == (bad // STEPS + 1, bad % STEPS + 1)
        rows = rows_of(bad)
        np.testing.assert_array_equal(error.batch, ONES[rows])
        if data is stream:
            assert error.examples is None
        else:
            np.testing.assert_array_equal(error.examples, rows)
        assert int(error.train_state["n"]) == bad
        assert float(error.train_state["w"]) == sum(ONES[rows_of(number)].sum() for number in range(bad))
        assert error.history.get("epoch", []) == list(range(1, bad // STEPS + 1))
        assert error.found is None
        assert not start["w"].is_deleted()

    check()


def test_the_program_is_the_same_at_no_instruction_more():
    """And so are its bits, without another trace."""
    key, order = jax.random.key(0), jnp.arange(4).reshape(2, 2)
    counts = []
    for guarded in (None, "raise"):
        totals = zero_totals(step, None, guarded, begin(-1), ONES, order, key)
        where = np.zeros(4, np.int32)
        lowered = train_program.lower(step, None, guarded, begin(-1), totals, ONES, order, key, where)
        text = lowered.compile().as_text()
        counts.append(hlo.loop_instructions(text))
    assert hlo.difference(*counts) == {}
    found = [run(begin(-1), on_nonfinite=guarded) for guarded in (None, "raise", "skip")]
    before = trace_count()
    run(begin(-1))
    assert trace_count() == before
    for state, history in found:
        jax.tree.map(np.testing.assert_array_equal, state, found[0][0])
        assert history["loss"] == found[0][1]["loss"]
    assert found[2][1]["skipped"] == [0, 0, 0]
    assert "skipped" not in found[1][1]


def test_what_a_run_begins_with_may_be_infinite_and_none_asks_nothing():
    state, _ = run(begin(-1, least=jnp.float32(jnp.inf)), on_nonfinite="skip")
    assert (int(state["n"]), float(state["least"])) == (3 * STEPS, np.inf)
    state, history = run(begin(9), on_nonfinite=None)
    assert int(state["n"]) == 3 * STEPS
    assert np.isfinite(history["loss"]).tolist() == [True, False, True]
    with pytest.raises(ValueError, match='run: on_nonfinite must be "raise", "skip" or None; got \'ignore\''):
        run(begin(9), on_nonfinite="ignore")


def test_a_step_without_a_loss_is_not_watched():
    def silent(s, batch):
        return s * jnp.nan, {"n": 1.0}

    options = dict(epochs=1, batch_size=3, progress=False)
    state, _ = dl.run(silent, jnp.ones(()), ONES, **options)
    assert np.isnan(state)
    with pytest.raises(ValueError, match=r'step: on_nonfinite="skip" needs a step with a metric named loss; got \[.n'):
        dl.run(silent, jnp.ones(()), ONES, on_nonfinite="skip", **options)


# Models


MODEL = dl.sequential(("stem", L.dense(4)), ("bend", jnp.tanh), L.dropout(0.2), ("head", L.dense(1)))
SQUARED = dl.losses.mean_squared_error
X = RNG.normal(size=(23, 3)).astype(np.float32)
Y = X.sum(1, keepdims=True)


def fit(x, model=MODEL, y=Y, **changes):
    arguments = dict(loss=SQUARED, optimizer=optax.sgd(0.05), epochs=2, batch_size=4, seed=1, progress=False)
    return dl.fit(model, changes.pop("data", (x, y)), **arguments | changes)


def spoilt(value, row=11):
    x = X.copy()
    x[row] = value
    return x


@pytest.mark.slow
def test_a_layer_that_overflows_is_named():
    model = dl.sequential(("stem", L.dense(4)), ("blow", jnp.exp), ("head", L.dense(1)))
    with pytest.raises(dl.NonfiniteError) as caught:
        fit(spoilt(1000.0), model, optimizer=optax.sgd(1e-12))
    error = caught.value
    assert (error.found.what, error.found.path) == ("output", "blow")
    assert 11 in error.examples
    assert str(error).startswith("run: the loss and the train state must stay finite; got a loss of ")
    assert f"in step {error.step} of epoch 1, on the examples {', '.join(map(str, error.examples))}\n" in str(error)
    assert "\n  the first that is not finite: the output 'blow' of exp\n" in str(error)
    assert "likely: the exponential of x overflows above 88.72" in str(error)
    assert "Did you mean a lower learning rate, optax.clip_by_global_norm(1.0)" in str(error)
    assert 'on_nonfinite="skip" leaves such steps out' in str(error)
    # The model can be looked at there, and trained on from there.
    again, _ = fit(X, model, train_state=error.train_state, optimizer=optax.sgd(1e-12), epochs=1)
    assert int(again.step) == int(error.train_state.step) + 6


@pytest.mark.slow
@pytest.mark.parametrize("length", [1, 2, 50])
def test_a_gradient_that_is_not_finite_while_the_loss_is(lengths, length):
    lengths.steps = length
    norm = lambda x: jnp.sqrt(jnp.sum(x * x, axis=-1, keepdims=True))  # noqa: E731
    model = dl.sequential(("stem", L.dense(4, use_bias=False)), ("norm", norm), ("head", L.dense(1)))
    with pytest.raises(dl.NonfiniteError, match=r"got nan or inf in train_state\.params") as caught:
        fit(spoilt(0.0), model)
    error = caught.value
    assert 11 in error.examples
    assert (error.found.what, error.found.path) == ("gradient", "norm")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(error.train_state.params))


@pytest.mark.slow
def test_an_update_that_is_too_large_and_a_transform():
    with pytest.raises(dl.NonfiniteError) as caught:
        fit(X, y=100 * Y, optimizer=optax.sgd(3e38))
    assert "got nan or inf in train_state.params['head']['bias']" in str(caught.value)
    assert "all outputs of layers and all gradients of the loss are finite: look at the penalty" in str(caught.value)

    def divide(batch, key):
        return batch | {"x": batch["x"] / batch["x"]}

    with pytest.raises(dl.NonfiniteError) as caught:
        fit(spoilt(0.0), transform=divide)
    assert (caught.value.found.what, caught.value.found.path) == ("batch", "x")
    assert np.isnan(caught.value.batch["x"]).any(-1).sum() == 1


@pytest.mark.slow
def test_masked_examples_may_be_anything_and_a_validation_is_reported():
    weight = np.ones(23, np.float32)
    weight[11] = 0
    y = Y.copy()
    y[11] = np.nan
    _, history = fit(None, data={"x": X, "y": y, "weight": weight})
    assert np.isfinite(history["loss"]).all()
    _, history = fit(X, validation=(spoilt(1e30), np.full_like(Y, 3e38)))
    assert np.isnan(history["validation_loss"]).all()


@pytest.mark.slow
def test_a_model_that_cannot_be_seen_into_does_not_hide_the_error(monkeypatch):
    def fail(*args, **arguments):
        raise RuntimeError("no way in")

    monkeypatch.setattr("jaxdl.inspect.locate_nonfinite", fail)
    with pytest.raises(dl.NonfiniteError, match="where it comes from could not be found: RuntimeError: no way in"):
        fit(X, y=100 * Y, optimizer=optax.sgd(3e38))


@pytest.mark.slow
def test_float64_and_half_precision():
    with jax.enable_x64(True):
        x = spoilt(0.0).astype(np.float64)
        model = dl.sequential(("log", lambda x: jnp.log(jnp.abs(x))), L.dense(1, param_dtype=jnp.float64))
        with pytest.raises(dl.NonfiniteError) as caught:
            fit(x, model, Y.astype(np.float64))
        assert caught.value.found.path == "log"
        assert caught.value.train_state.params["dense"]["kernel"].dtype == jnp.float64
    half = dl.sequential(L.dense(1, param_dtype=jnp.float16))
    with pytest.raises(dl.NonfiniteError, match="nan or inf in train_state"):
        fit(X.astype(np.float16), half, (100 * Y).astype(np.float16), optimizer=optax.sgd(6e4))


def test_what_is_finite_is_told_on_every_kind_of_leaf():
    with np.errstate(over="ignore"):
        tree = [jnp.full(3, 3e38), jnp.array([1, jnp.inf]), jnp.arange(2), jax.random.key(0), jnp.bfloat16([1, np.nan])]
    assert guard.are_finite(tree).tolist() == [True, False, True, True, False]
    assert guard.are_finite({}).shape == (0,)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_large_leaves_are_told_by_any_entry(dtype, x64):
    largest = jnp.finfo(dtype).max
    for shape in ((128, 160), (33, 5, 131), (20_000,), (1 << 14,), (5,)):
        fine = jnp.full(shape, largest, dtype)
        leaves = [fine, -fine, *(fine.at[(-1,) * len(shape)].set(bad) for bad in (jnp.inf, -jnp.inf, jnp.nan))]
        assert jax.jit(finite_leaves)(leaves).tolist() == [True, True, False, False, False]


# Skipping


def batches(kept):
    """The same batches in each epoch; two of seven overflow, and are given or left out."""
    for at in range(7):
        bad = at in (2, 6)
        if kept or not bad:
            rows = slice(3 * at, 3 * at + 3)
            yield {"x": X[rows] * np.float32(1e30 if bad else 1), "y": Y[rows]}


@pytest.mark.parametrize("optimizer", [optax.sgd(0.05), optax.adam(1e-2)], ids=["sgd", "adam"])
def test_what_is_skipped_is_as_if_it_had_not_been(lengths, optimizer):
    options = dict(optimizer=optimizer, batch_size=None, on_nonfinite="skip")
    lengths.steps = 3
    model = dl.sequential(L.dense(4), L.batch_norm(), jnp.tanh, L.dropout(0.2), L.dense(1))
    loss = lambda prediction, y: jnp.sum((prediction - y) ** 2, -1)  # noqa: E731
    # The normalisation bounds what the loss sees; the running variance is what overflows.
    found, history = fit(None, model, data=lambda epoch, start: batches(True), loss=loss, **options)
    expected, clean = fit(None, model, data=lambda epoch, start: batches(False), loss=loss, **options)
    jax.tree.map(np.testing.assert_array_equal, found.replace(key=0), expected.replace(key=0))
    assert history["loss"] == clean["loss"]
    assert (history["skipped"], clean["skipped"]) == ([2, 2], [0, 0])
    assert history["steps"] == [7, 7]


def test_all_is_skipped_and_what_was_so_before_may_stay():
    state, history = fit(np.full_like(X, 1e30), dl.sequential(L.dense(1)), epochs=1, on_nonfinite="skip")
    assert (int(state.step), history["skipped"]) == (0, [6])
    assert np.isnan(history["loss"]).all()


def count_of(total, weight):
    return total


def test_a_step_that_skips_by_itself_counts_both():
    def own(s, batch):
        s, metrics = step(s | {"n": s["n"] + 1}, batch)  # twice as fast
        even = (batch.sum() % 2 == 0).astype(jnp.float32)
        return s, metrics | {"skipped": dl.Sum(even, jnp.float32(1), count_of)}

    start = begin(-1) | {"w": jnp.float32(jnp.nan)}  # so every loss is nan
    options = dict(epochs=1, batch_size=3, progress=False, on_nonfinite="skip")
    assert dl.run(own, start, ONES, **options)[1]["skipped"] == [STEPS]
    _, history = dl.run(own, begin(-1), ONES, **options)
    assert history["skipped"] == [sum(ONES[rows_of(number, seed=0)].sum() % 2 == 0 for number in range(STEPS))]


# Checkpoints


@pytest.mark.slow
def test_sums_are_gone_on_with_by_another_guard(tmp_path, lengths):
    """In the middle of an epoch, where what was skipped is counted after it was not, or no longer."""
    lengths.steps = 3

    def stop(event):
        return dl.Stop() if event.kind == "program" and event.epoch == 2 else None

    expected = run(begin(-1), epochs=2)[1]
    for number, guards in enumerate([("raise", "skip"), ("skip", None)]):
        settings = dl.Checkpoint(tmp_path / str(number), every_steps=1)
        run(begin(-1), checkpoint=settings, callbacks=[stop], on_nonfinite=guards[0])
        _, history = run(begin(-1), epochs=2, checkpoint=settings, resume=True, on_nonfinite=guards[1])
        assert history["loss"] == expected["loss"]
        assert history["other"] == expected["other"]
        assert history["skipped"] == ([None, 0] if guards[1] else [0, None])


def test_sums_are_gone_on_with_by_name(tmp_path, lengths):
    """A metric that is new counts from there on, and takes nothing of another's."""
    lengths.steps = 3

    def renamed(s, batch):
        s, metrics = step(s, batch)
        return s, {"loss": metrics["loss"], "another": 0 * metrics["other"]}

    def stop(event):
        return dl.Stop() if event.kind == "program" else None

    run(begin(-1), epochs=1, checkpoint=tmp_path, callbacks=[stop])
    options = dict(epochs=1, batch_size=3, seed=3, progress=False)
    _, history = dl.run(renamed, begin(-1), ONES, checkpoint=tmp_path, resume=True, **options)
    assert history["loss"] == run(begin(-1), epochs=1)[1]["loss"]
    assert history["another"] == [0]


@pytest.mark.slow
def test_a_checkpoint_is_never_of_a_bad_state_and_a_resumed_run_may_skip(tmp_path, lengths):
    for kind in (0, 2):
        lengths.steps = 3
        settings = dl.Checkpoint(tmp_path / str(kind), every_steps=2)
        errors = []
        for _ in range(2):
            with pytest.raises(dl.NonfiniteError) as caught:
                run(begin(13, kind), checkpoint=settings, resume=True)
            errors.append(caught.value)
            lengths.steps = 50
        names = sorted(int(path.name.partition("_")[2]) for path in (tmp_path / str(kind)).glob("checkpoint_*"))
        assert names[-1] == 12 + 1  # 12 steps, in the second epoch
        assert str(errors[0]) == str(errors[1])
        jax.tree.map(np.testing.assert_array_equal, errors[0].train_state, errors[1].train_state)
        # The step that is skipped leaves the count alone, on which this one's badness depends: all others after it go.
        state, history = run(begin(13, kind), checkpoint=settings, resume=True, on_nonfinite="skip")
        assert history["skipped"] == [None, 3, 8]
        assert int(state["n"]) == 13


def test_sums_that_are_not_finite_cannot_be_gone_on_with(tmp_path, lengths):
    lengths.steps = 2

    def stop(event):
        return dl.Stop() if event.kind == "program" and event.step == 6 else None

    run(begin(3), checkpoint=tmp_path, callbacks=[stop], on_nonfinite=None)
    with pytest.raises(ValueError, match=r"run: the losses of the epoch .* must be finite.*Did you mean an earlier"):
        run(begin(3), checkpoint=tmp_path, resume=True)


# Memory


def test_memory_at_an_end_says_what_takes_it():
    def greedy(s, batch):
        many = jnp.arange(1 << 23) * batch.sum()
        table = jnp.sort(many[:, None] * many[None, :], axis=0)  # 2⁴⁸ bytes, which no machine gives
        return s, {"loss": table[0].sum()}

    start = {"w": jnp.zeros(1000)}
    with pytest.raises(MemoryError) as caught:
        dl.run(greedy, start, ONES, epochs=1, batch_size=3, progress=False)
    text = str(caught.value)
    assert text.startswith("run: a step must fit into the memory of the device; got RESOURCE_EXHAUSTED")
    assert 'a train state of 4 kB, twice, as on_nonfinite="raise" keeps the one before' in text
    assert "92 bytes of data on the device, and batches of 3 examples (12 bytes)" in text
    assert "Did you mean a smaller batch_size, accumulate=" in text
    assert isinstance(caught.value.__cause__, jax.errors.JaxRuntimeError)
    assert start["w"].sum() == 0


def test_another_error_of_a_program_stays_what_it_is():
    def fails(s, batch):
        jax.debug.callback(lambda: 1 / 0)
        return s, {"loss": batch.mean()}

    with pytest.raises(jax.errors.JaxRuntimeError):
        dl.run(fails, jnp.zeros(()), ONES, epochs=1, batch_size=3, progress=False)


@pytest.mark.parametrize("kind", ["source", "stream"])
def test_data_that_are_not_finite_are_skipped_as_they_are_read(kind):
    x = np.arange(40, dtype=np.float32)
    x[13] = np.nan
    data = list(x) if kind == "source" else (lambda epoch, start: iter(x.reshape(10, 4)[start:]))
    options = {"batch_size": 4, "shuffle": False} if kind == "source" else {}

    def step(state, batch):
        return state + batch.sum(), {"loss": batch.mean()}

    state, history = dl.run(step, 0.0, data, epochs=1, progress=False, on_nonfinite="skip", **options)
    assert history["skipped"] == [1]
    assert float(state) == np.arange(40).sum() - np.arange(12, 16).sum()
    with pytest.raises(ValueError, match="run: data must be finite; got 1 nan or inf"):
        dl.run(step, 0.0, data, epochs=1, progress=False, **options)
