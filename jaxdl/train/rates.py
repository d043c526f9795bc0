"""A learning rate to begin with: train for some steps while the rate grows, and look where the loss falls fastest."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxdl.core import LayerLike, bad_type, bad_value
from jaxdl.core.checks import is_int, positive
from jaxdl.train.evaluate import named_batch, transformed, watch_targets
from jaxdl.train.events import Event, Stop
from jaxdl.train.run import drive
from jaxdl.train.sources import open_feed
from jaxdl.train.state import TrainState, create_state
from jaxdl.train.step import Step, Transform, make_step
from jaxdl.train.supervised import Metrics, supervised

CALL = "find_learning_rate"
LEAST_STEPS = 20
BEGINNING = 0.1
"""The share of the steps whose losses stand for what the loss was."""


@dataclass(frozen=True)
class Rates:
    """What :func:`find_learning_rate` found: for each step the rate, the batch's loss, and the loss smoothed.

    ``suggestion`` is the rate to begin with, None where the loss never fell.
    """

    rates: np.ndarray = field(repr=False)
    losses: np.ndarray = field(repr=False)
    smoothed: np.ndarray = field(repr=False)
    suggestion: float | None


def find_learning_rate(
    model: LayerLike,
    data: Any,
    *,
    loss: Callable[[Any, Any], Any],
    optimizer: Callable[[optax.Schedule], optax.GradientTransformation] = optax.sgd,
    batch_size: int | None = None,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 100,
    train_state: TrainState | None = None,
    transform: Transform | None = None,
    penalty: Callable[[Any], jax.Array] | None = None,
    seed: int = 0,
) -> Rates:
    """Train for some steps while the learning rate grows from ``lowest`` to ``highest`` (Smith's range test).

    The rate grows by the same factor each step; it ends early when the loss is not finite, or twice what it was at most
    in the beginning. The suggestion is the rate at which the smoothed loss falls most steeply against the rate's
    logarithm, before its least value: the rule of fast.ai and Lightning, a rate well below where training breaks. It is
    a place to begin, and as noisy as the losses are: look at :func:`jaxdl.inspect.plot_rates`.

    **Args** ``data``, ``loss``, ``batch_size``, ``transform``, ``penalty``, ``seed``: as in :func:`jaxdl.fit`; what is
    trained here is thrown away. ``optimizer``: what makes one from a rate, such as ``optax.adam`` or
    ``partial(optax.sgd, momentum=0.9)``. ``train_state``: whose parameters and state to begin with; it stays as it is.

    **Raises** ``ValueError`` for an optimizer that is made already, and for impossible rates and steps.

    Example:
        >>> import jaxdl as dl
        >>> train, _ = dl.data.digits()
        >>> model = dl.sequential(dl.layers.flatten(), dl.layers.dense(10))
        >>> found = dl.find_learning_rate(model, train, loss=dl.losses.cross_entropy, batch_size=32)
        >>> 1e-2 < found.suggestion < 1, len(found.rates) == len(found.losses)
        (True, True)

    **References** Smith, "Cyclical Learning Rates for Training Neural Networks", 2017 (the test). Howard and Gugger,
    "fastai: A Layered API for Deep Learning", 2020 (the steepest point).
    """
    _check(optimizer, lowest, highest, steps)
    made = optimizer(optax.exponential_decay(lowest, steps - 1, highest / lowest))
    loss_fn = supervised(model, loss, penalty=penalty)
    prepare = functools.partial(named_batch, CALL)
    feed = open_feed(CALL, data, batch_size=batch_size, seed=seed, remainder="drop", prepare=prepare)
    if train_state is None:
        begin = create_state(model, made, transformed(transform, feed.example())["x"], seed=seed)
    else:
        begin = replace(train_state, step=jnp.zeros((), jnp.int32), opt_state=made.init(train_state.params))
    watch_targets(feed, loss_fn, begin, transform)
    carry, _ = drive(
        Trial(make_step(loss_fn, made)),
        {"train": begin, "losses": jnp.full(steps, jnp.nan, jnp.float32)},
        feed,
        epochs=1 if feed.once else -(-steps // (feed.steps or 1)),
        seed=seed,
        callbacks=[_end],
        transform=transform,
        progress=False,
        on_nonfinite=None,
    )
    losses = _met(carry)
    if not len(losses):
        raise bad_value(CALL, "the loss must be finite at the lowest rate", "nan or inf in the first step")
    smooth = smoothed(losses, _width(steps))
    rates = np.geomspace(lowest, highest, steps)[: len(losses)]
    return Rates(rates, losses, smooth, steepest(rates, smooth))


@dataclass(frozen=True)
class Trial:
    """A step that writes down its loss as well."""

    step: Step

    def __call__(self, carry: dict[str, Any], batch: Any) -> tuple[dict[str, Any], Metrics]:
        state, metrics = self.step(carry["train"], batch)
        losses = carry["losses"].at[carry["train"].step].set(metrics["loss"].mean(), mode="drop")
        return {"train": state, "losses": losses}, {}


def _met(carry: dict[str, Any]) -> np.ndarray:
    """The losses so far, up to the first that is not finite."""
    losses = np.array(carry["losses"], np.float64)
    bad = np.flatnonzero(~np.isfinite(losses))
    return losses[: bad[0]] if len(bad) else losses


def _end(event: Event) -> Stop | None:
    """Stop once all rates were tried, or the loss is beyond hope."""
    if event.kind != "program":
        return None
    losses, steps = _met(event.state), len(event.state["losses"])
    done = int(event.state["train"].step)
    if len(losses) < min(done, steps) or done >= steps:
        return Stop()
    beginning = int(BEGINNING * steps) + 1
    least_hope = losses[:beginning].max() + abs(losses[:beginning].max())
    return Stop() if done > beginning and smoothed(losses, _width(steps))[-1] > least_hope else None


def _width(steps: int) -> float:
    """That of the bell which smooths the losses."""
    return max(2.0, 0.03 * steps)


def smoothed(losses: np.ndarray, width: float) -> np.ndarray:
    """The mean around each value, weighted by a bell of this width, which takes from both sides and so does not lag.

    >>> smoothed(np.array([0.0, 4.0, 0.0]), 0.5).round(2)
    array([0.48, 3.15, 0.48])
    """
    places = np.arange(len(losses))
    bell = np.exp(-0.5 * ((places[:, None] - places) / width) ** 2)
    return np.asarray(bell @ losses / bell.sum(1))


def steepest(rates: np.ndarray, smooth: np.ndarray) -> float | None:
    """The rate at which the loss falls fastest by the step, no later than its least; None where it never falls.

    >>> steepest(np.array([0.1, 1.0, 10.0, 100.0]), np.array([5.0, 4.5, 1.0, 3.0]))
    1.0
    """
    fallen = smooth[0] - smooth.min()
    if fallen <= 1e-9 * abs(smooth[0]):  # what rounding makes of a loss that stays
        return None
    slope = np.gradient(smooth)[: int(smooth.argmin()) + 1]
    return float(rates[slope.argmin()])


def _check(optimizer: Any, lowest: float, highest: float, steps: int) -> None:
    if not callable(optimizer):
        needs = "optimizer must make one from a learning rate, such as optax.adam"
        raise bad_type(CALL, needs, optimizer, "Did you mean it without its rate: optimizer=optax.adam?")
    positive(CALL, "lowest", lowest)
    if not positive(CALL, "highest", highest) > lowest:
        raise bad_value(CALL, f"highest must be greater than lowest, {lowest}", highest)
    if not is_int(steps) or steps < LEAST_STEPS:
        raise bad_value(CALL, f"steps must be an int of {LEAST_STEPS} or more", steps)
