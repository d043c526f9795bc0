"""Measuring a model on data, and its predictions."""

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core import LayerLike, Ragged, bad_value, describe, specs
from jaxdl.core.checks import positive_int
from jaxdl.core.spread import spreading
from jaxdl.data.split import count_examples
from jaxdl.losses import check_targets
from jaxdl.train.class_weight import check_class_weight
from jaxdl.train.dispatch import Dispatcher
from jaxdl.train.feed import Feed, alike, some_bytes
from jaxdl.train.placement import Spread, spread_like
from jaxdl.train.precision import apply_in, check_policy
from jaxdl.train.program import means
from jaxdl.train.sources import open_feed
from jaxdl.train.state import TrainState
from jaxdl.train.step import Transform
from jaxdl.train.supervised import Supervised, supervised


def named_batch(call: str, batch: Any) -> dict[str, Any]:
    """``{"x", "y"}`` and perhaps ``"weight"``, from that or from its shorthand ``(x, y)``; else an error."""
    if isinstance(batch, tuple | list) and len(batch) == 2:
        batch = {"x": batch[0], "y": batch[1]}
    if not isinstance(batch, dict):
        raise bad_value(call, 'a batch must be {"x": …, "y": …} or (x, y)', batch)
    if not {"x", "y"} <= batch.keys() or not batch.keys() <= {"x", "y", "weight"}:
        needs = 'data must have the keys "x" and "y", and may have "weight"'
        raise bad_value(call, needs, f"the keys {sorted(map(str, batch))}")
    return batch


def prediction_spec(model: LayerLike, params: Any, state: Any, x: Any) -> Any:
    """The spec of a model's output for inputs like ``x``."""
    return jax.eval_shape(functools.partial(model.apply, train=False), params, state, x)[0]


def watch_targets(
    feed: Feed,
    loss_fn: Supervised,
    train_state: TrainState,
    transform: Transform | None,
    class_weight: tuple[float, ...] | None = None,
) -> None:
    """Have the targets checked on the host, for what no one sees inside of ``jit``: labels out of range, or without a
    class weight.

    A transform that makes new targets is trusted with them.
    """
    example = feed.example()
    if transform is not None and not _keeps_targets(transform, example):
        return
    x = transformed(transform, example)["x"]
    prediction = prediction_spec(loss_fn.model, train_state.params, train_state.state, x)
    prediction = prediction.x if isinstance(prediction, Ragged) else prediction
    feed.watch(lambda data: check_targets(loss_fn.loss, prediction, data["y"], data.get("weight")))
    if class_weight is not None:
        feed.watch(lambda data: check_class_weight("fit", class_weight, data["y"], data.get("weight")))


def transformed(transform: Transform | None, example: Any) -> Any:
    """The spec of a batch as the step sees it; a transform is called with no key."""
    return example if transform is None else jax.eval_shape(lambda batch: transform(batch, None), example)


def _keeps_targets(transform: Transform, example: Any) -> bool:
    """Whether the targets that come out of a transform are those that went in: one and the same traced value."""
    kept = []

    def look(batch: Any) -> None:
        before = jax.tree.leaves(batch["y"])
        after = jax.tree.leaves(transform(dict(batch), None)["y"])
        kept.append(len(before) == len(after) and all(a is b for a, b in zip(after, before, strict=True)))

    jax.eval_shape(look, example)
    return kept[0]


@dataclass(frozen=True)
class Measure:
    """``measure((params, state), batch) -> ((params, state), metrics)``, equal when its loss function is."""

    loss_fn: Supervised

    def __call__(self, variables: tuple[Any, Any], batch: Any) -> tuple[Any, dict[str, Any]]:
        return variables, self.loss_fn(*variables, batch, key=None, train=False)[1][1]


class Evaluation:
    """The mean loss and metrics of a loss function over a feed, for any train state; in programs like those of a run.

    ``met`` is what the last measurement came to.
    """

    def __init__(self, call: str, loss_fn: Supervised, feed: Feed, transform: Transform | None):
        self.feed = feed
        self.dispatcher = Dispatcher(call, Measure(loss_fn), transform, feed)
        self.met: dict[str, Any] = {}

    def programs(self, train_state: TrainState) -> Iterator[int]:
        """Measure, one program after the other; gives how many steps are done after each. The last one sets ``met``."""
        variables = (train_state.params, train_state.state)
        spread = spread_like(train_state.params)
        if spread is not None:
            self.feed.device = self.dispatcher.placement = spread
        totals, done = None, 0
        for segment in alike(self.dispatcher.call, self.feed.device.team, self.feed.epoch(0)):
            at = 0
            while at < segment.steps:
                _, totals, count = self.dispatcher.advance(variables, totals, segment, 0, at, segment.steps)
                at, done = at + count, done + count
                yield done
        self.met = means(totals or {})

    def __call__(self, train_state: TrainState) -> dict[str, Any]:
        list(self.programs(train_state))  # each is run when it is asked for
        return self.met


def evaluate(
    model: LayerLike,
    train_state: TrainState,
    data: Any,
    *,
    loss: Callable[[Any, Any], Any],
    metrics: Mapping[str, Callable[..., Any]] | None = None,
    batch_size: int = 256,
    steps_per_epoch: int | None = None,
    transform: Transform | None = None,
    policy: str | None = None,
) -> dict[str, Any]:
    """The mean loss and metrics of a model over data, exact whatever the batches, with ``train=False``.

    Figures are floats, or NumPy arrays where a metric has several, such as a confusion matrix.

    **Args** as for :func:`jaxdl.fit`; ``transform`` is called with no key (None), in which case it must not augment.

    Example:
        >>> import optax, jax.numpy as jnp
        >>> from jaxdl import layers, losses, train
        >>> model = layers.dense(1)
        >>> s = train.create_state(model, optax.sgd(0.1), jnp.ones((1, 2)))
        >>> data = {"x": jnp.zeros((5, 2)), "y": jnp.full((5, 1), 2.0)}
        >>> evaluate(model, s, data, loss=losses.mean_squared_error, batch_size=2)
        {'loss': 4.0}
    """
    loss_fn = supervised(model, loss, metrics=metrics, policy=policy)
    feed = evaluation_feed("evaluate", data, batch_size, steps_per_epoch)
    watch_targets(feed, loss_fn, train_state, transform)
    if (spread := spread_like(train_state.params)) is not None:
        spread.team.check_same("evaluate", "the data", feed.marks())
    return Evaluation("evaluate", loss_fn, feed, transform)(train_state)


def evaluation_feed(call: str, data: Any, batch_size: int, steps_per_epoch: int | None = None) -> Feed:
    """A feed in the data's own order, whose batches are at most ``batch_size``."""
    positive_int(call, "batch_size", batch_size)
    if not callable(data) and hasattr(data, "__len__"):
        named = named_batch(call, data) if isinstance(data, dict | tuple) else None
        batch_size = max(1, min(batch_size, count_examples(call, named) if named is not None else len(data)))
    return open_feed(
        call,
        data,
        batch_size=batch_size,
        shuffle=False,
        steps_per_epoch=steps_per_epoch,
        prepare=functools.partial(named_batch, call),
    )


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _forward(model: LayerLike, policy: str | None, spread: Spread | None, params: Any, state: Any, x: Any) -> Any:
    with spreading(None if spread is None else spread.where(params)):
        return apply_in(policy, model, params, state, x, train=False)[0]


def predict(
    model: LayerLike, train_state: TrainState, x: Any, *, batch_size: int = 256, policy: str | None = None
) -> Any:
    """The model's outputs for inputs of any number, as NumPy arrays, with ``train=False``.

    The last batch is filled up and its output cut, so that one shape is compiled.

    **Args** ``x``: an array or a pytree of arrays, examples first; ``batch_size``: how many go at once;
    ``policy``: as for :func:`jaxdl.fit`; the outputs are float32.

    **Warns** where outputs are nan, of which examples: by inputs or parameters that are not finite, or by ids that are
    not in the table of an embedding. Of several processes the first one warns.

    Example:
        >>> import optax, jax.numpy as jnp
        >>> from jaxdl import layers, train
        >>> model = layers.dense(3)
        >>> s = train.create_state(model, optax.sgd(0.1), jnp.ones((1, 2)))
        >>> predict(model, s, jnp.ones((5, 2)), batch_size=2).shape
        (5, 3)
    """
    count = count_examples("predict", x)
    size = min(positive_int("predict", "batch_size", batch_size), count)
    if not count:
        raise bad_value("predict", "x must hold at least one example", x)
    check_policy("predict", policy)
    spread = spread_like(train_state.params)
    if spread is not None:
        spread.team.check_same("predict", "x", [describe(specs(x)).encode(), *some_bytes(x)])

    def forward(x: Any) -> Any:
        x = x if spread is None else spread.inputs(x)
        y = _forward(model, policy, spread, train_state.params, train_state.state, x)
        return y if spread is None else spread.readable(y)

    size += 0 if spread is None else -size % spread.layout.parts
    if size == count:
        found = jax.tree.map(np.array, forward(x))  # the caller's own, and not read-only
    else:
        parts = [jax.tree.map(np.asarray, forward(_rows(x, start, size, count))) for start in range(0, count, size)]
        found = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts)
    if (rows := _with_nan(found, count)).size and (spread is None or spread.team.is_first):
        text = (
            f"predict: the outputs of {len(rows):,} of {count:,} examples hold nan, first those of example {rows[0]}; "
        )
        text += "likely inputs or parameters that are not finite, or ids out of an embedding's table"
        warnings.warn(f"{text}: dl.inspect.locate_nonfinite names the layer", stacklevel=2)
    return found


def _with_nan(outputs: Any, count: int) -> np.ndarray:
    """Which examples' outputs hold a nan."""
    found = np.zeros(count, bool)
    for leaf in jax.tree.leaves(outputs):
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and leaf.shape[:1] == (count,):
            found |= np.isnan(leaf).any(axis=tuple(range(1, leaf.ndim)))
    return np.flatnonzero(found)


def _rows(x: Any, start: int, size: int, count: int) -> Any:
    """``size`` examples from ``start``; beyond the last one, that one again."""
    if start + size <= count:
        return jax.tree.map(lambda leaf: leaf[start : start + size], x)
    rows = np.minimum(np.arange(start, start + size), count - 1)
    return jax.tree.map(lambda leaf: leaf[rows], x)
