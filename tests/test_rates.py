"""The learning-rate finder: the rates that it tries, what it stops at, suggests, leaves alone and draws."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl as dl
from jaxdl.train.rates import smoothed, steepest

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype(np.float32)
DATA = {"x": X, "y": X @ np.array([[1.0], [-2.0], [0.5]], np.float32) + 1}
MODEL = dl.layers.dense(1)


def find(data=DATA, **arguments):
    arguments = dict(loss=dl.losses.mean_squared_error, steps=40, batch_size=8) | arguments
    return dl.find_learning_rate(MODEL, data, **arguments)


def test_it_is_a_plain_loop_with_a_growing_rate():
    found = find(highest=0.1)
    rates = 1e-6 * (0.1 / 1e-6) ** (np.arange(40) / 39)
    np.testing.assert_allclose(found.rates, rates, rtol=1e-12)
    state = dl.train.create_state(MODEL, optax.sgd(1.0), DATA["x"][:8], seed=0)
    kernel, bias = (np.asarray(state.params[name], np.float64) for name in ("kernel", "bias"))
    losses = []
    for epoch in range(8):
        order = dl.data.epoch_order(40, seed=0, epoch=epoch)
        for rows in order.reshape(5, 8):
            x, error = X[rows], X[rows] @ kernel + bias - DATA["y"][rows]
            losses.append((error**2).mean())
            kernel = kernel - rates[len(losses) - 1] * 2 * x.T @ error / 8
            bias = bias - rates[len(losses) - 1] * 2 * error.mean(0)
    np.testing.assert_allclose(found.losses, losses, rtol=1e-4)
    assert found.suggestion in found.rates
    assert found.suggestion <= found.rates[found.smoothed.argmin()]


def test_it_ends_when_the_loss_diverges_and_suggests_a_rate_that_trains():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxdl.train.pace.Pace.steps", lambda pace, most: 1)
        found = find(highest=1e4, steps=100)
    assert len(found.rates) < 95
    _, history = dl.fit(
        MODEL, DATA, loss=dl.losses.mean_squared_error, optimizer=optax.sgd(found.suggestion), epochs=20, batch_size=8,
        progress=False,
    )  # fmt: skip
    assert history["loss"][-1] < 0.1 * history["loss"][0]


def test_what_is_not_finite_is_left_out():
    found = find(highest=1e30, steps=30)
    assert np.isfinite(found.losses).all()
    assert len(found.losses) < 30
    with pytest.raises(ValueError, match="the loss must be finite at the lowest rate; got nan or inf in the first"):
        find(loss=lambda prediction, y: jnp.full(y.shape, jnp.nan))


def test_the_users_state_stays_as_it_is_and_is_what_it_begins_with():
    state, _ = dl.fit(
        MODEL, DATA, loss=dl.losses.mean_squared_error, optimizer=optax.adam(0.1), epochs=30, batch_size=8,
        progress=False,
    )  # fmt: skip
    before = jax.tree.map(np.asarray, state.params)
    found = find(train_state=state)
    assert found.losses[0] < 0.1 * find().losses[0]
    jax.tree.map(np.testing.assert_array_equal, before, state.params)
    assert int(state.step) == 150


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pair", "stream", "iterator", "source"])
def test_it_takes_any_data(kind):
    def stream(epoch, start):
        for first in range(8 * start, 40, 8):
            yield {name: leaf[first : first + 8] for name, leaf in DATA.items()}

    class Source:
        def __len__(self):
            return 40

        def __getitem__(self, index):
            return {name: leaf[index] for name, leaf in DATA.items()}

    data = {"pair": (DATA["x"], DATA["y"]), "stream": stream, "iterator": stream(0, 0), "source": Source()}[kind]
    found = find(data, highest=0.01, steps=23, batch_size=8 if kind in ("pair", "source") else None)
    assert len(found.losses) == (5 if kind == "iterator" else 23)
    assert np.isfinite(found.losses).all()


def test_a_loss_that_never_falls_has_no_suggestion():
    found = find(loss=lambda prediction, y: jnp.ones_like(y) + 0 * prediction)
    assert found.suggestion is None
    assert repr(found) == "Rates(suggestion=None)"
    assert steepest(np.ones(1), np.ones(1)) is None


def test_smoothing_does_not_lag():
    straight = np.arange(30.0)
    np.testing.assert_allclose(smoothed(straight, 2.0)[10:20], straight[10:20])


@pytest.mark.slow
def test_the_picture(tmp_path):
    found = find(highest=0.1)
    figure = dl.inspect.plot_rates(found, tmp_path / "rates.png")
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts == ["loss of a batch", "smoothed", f"suggestion {found.suggestion:.2g}"]
    assert (tmp_path / "rates.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer": optax.sgd(0.1)}, "optimizer must make one from a learning rate, such as optax.adam; got"),
        ({"optimizer": optax.sgd(0.1)}, "Did you mean it without its rate: optimizer=optax.adam?"),
        ({"lowest": 0}, "lowest must be a positive number; got 0"),
        ({"lowest": 1.0, "highest": 0.1}, "highest must be greater than lowest, 1.0; got 0.1"),
        ({"steps": 5}, "steps must be an int of 20 or more; got 5"),
        ({"data": {"a": X}}, 'find_learning_rate: data must have the keys "x" and "y"'),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        find(**arguments)
