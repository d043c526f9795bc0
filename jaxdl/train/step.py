"""From a model and a loss to a step: ``step(train_state, batch) -> (train_state, metrics)``.

Steps and loss functions are records that are equal when they are made alike, so that a compiled program finds its twin.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxdl.core import LayerLike, Ragged, Sum, bad_type, bad_value
from jaxdl.core.identity import identity
from jaxdl.core.show import function_name
from jaxdl.core.sums import ratio
from jaxdl.core.targets import is_of_sequences, is_reducing
from jaxdl.train.state import TrainState

Metrics = dict[str, Any]
LossFn = Callable[..., tuple[Sum, tuple[Any, Metrics]]]
Transform = Callable[[Any, jax.Array | None], Any]


@dataclass(frozen=True)
class Supervised:
    """The loss function that :func:`supervised` makes; equal when its identity is, so that partials are taken apart."""

    model: LayerLike = field(compare=False)
    loss: Callable[..., Any] = field(compare=False)
    metrics: tuple[tuple[str, Callable[..., Any]], ...] = field(compare=False)
    penalty: Callable[[Any], jax.Array] | None = field(compare=False)
    identity: Any

    def __call__(
        self, params: Any, state: Any, batch: Any, *, key: jax.Array | None, train: bool
    ) -> tuple[Sum, tuple[Any, Metrics]]:
        prediction, state = self.model.apply(params, state, batch["x"], train=train, key=key)
        arguments = prediction, batch["y"], batch.get("weight")
        total = _measured("loss", self.loss, *arguments)
        if total.finish is not ratio:
            needs = "loss must be a mean: a value for each example, or a Sum without a finish of its own"
            raise bad_value("supervised", needs, f"a Sum with finish={function_name(total.finish)}")
        metrics = {"loss": total} | {name: _measured(name, metric, *arguments) for name, metric in self.metrics}
        extra, state = take_aux_loss(state)
        if train and not isinstance(extra, float):
            metrics["aux_loss"] = Sum.of(extra)
        if self.penalty is not None:
            penalty = self.penalty(params)
            metrics["penalty"] = Sum.of(penalty)
            extra = extra + penalty
        return Sum(total.total + extra * total.weight, total.weight), (state, metrics)


def _measured(name: str, function: Callable[..., Any], prediction: Any, target: Any, weight: Any) -> Sum:
    """What a loss or a metric comes to over a batch."""
    if not is_of_sequences(function):
        if isinstance(prediction, Ragged):
            real = prediction.mask()
            weight = real if weight is None else real * jnp.expand_dims(weight, range(weight.ndim, 2))
            prediction = prediction.x
        target = target.x if isinstance(target, Ragged) else target
    prediction = _detached(prediction, weight)
    if is_reducing(function):
        return _a_sum(name, function(prediction, target, weight))
    values = function(prediction, target)
    if isinstance(values, Sum):
        return values
    if not getattr(values, "shape", ()):
        needs = f"{name} must give a value for each example, not reduced, or a Sum"
        raise bad_value("supervised", needs, values)
    return Sum.of(values, weight)


def _detached(prediction: Any, weight: Any) -> Any:
    """The prediction, without a gradient where the weight is 0: there a loss's may be nan, which 0 does not mask."""
    if weight is None:
        return prediction
    masked = jnp.asarray(weight) == 0

    def detach(leaf: Any) -> Any:
        if leaf.shape[: masked.ndim] != masked.shape:
            return leaf
        return jnp.where(jnp.expand_dims(masked, range(masked.ndim, leaf.ndim)), jax.lax.stop_gradient(leaf), leaf)

    return jax.tree.map(detach, prediction)


def _a_sum(name: str, result: Any) -> Sum:
    if not isinstance(result, Sum):
        raise bad_type("supervised", f"{name} is marked as reducing and must give a Sum", result)
    return result


def take_aux_loss(state: Any) -> tuple[jax.Array | float, Any]:
    """The sum of all leaves named ``aux_loss`` (a float where there is none), and the state with them set to zero."""
    found: list[jax.Array] = []

    def take(path: tuple[Any, ...], leaf: Any) -> Any:
        if not path or getattr(path[-1], "key", None) != "aux_loss":
            return leaf
        found.append(leaf.sum())
        return jnp.zeros_like(leaf)

    state = jax.tree.map_with_path(take, state)
    return sum(found, start=0.0), state


def supervised(
    model: LayerLike,
    loss: Callable[[Any, Any], Any],
    *,
    metrics: Mapping[str, Callable[..., Any]] | None = None,
    penalty: Callable[[Any], jax.Array] | None = None,
) -> Supervised:
    """A loss function of a model and a loss: ``loss_fn(params, state, batch, *, key, train) -> (Sum, (state,
    metrics))``.

    The objective is the weighted mean of ``loss(prediction, y)`` over the batch, plus the ``aux_loss`` leaves that
    layers put into their state, plus ``penalty(params)``. The metrics are ``loss`` (the data's part alone, which
    compares with the validation's), those given, and ``penalty``; and, while a model
    trains that has such leaves, ``aux_loss``.

    A :class:`jaxdl.Ragged` prediction gives its array to the loss and the metrics, and its padded positions no weight.
    What has weight 0 is masked: its target may be anything, also nan, and no gradient goes through its prediction.

    **Args** ``batch``: ``{"x", "y"}`` and, where examples count unequally or are masked, ``"weight"``. ``metrics``: by
    name, ``(prediction, y) ->`` values like a loss, or such as :func:`jaxdl.metrics.reducing` marks. ``penalty``: a
    function of the parameters, such as those of :mod:`jaxdl.penalties`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxdl import layers, losses
        >>> model = layers.dense(1)
        >>> params, state = model.init(jax.random.key(0), jnp.ones((1, 2)))
        >>> batch = {"x": jnp.zeros((3, 2)), "y": jnp.ones((3, 1))}
        >>> total, _ = supervised(model, losses.mean_squared_error)(params, state, batch, key=None, train=False)
        >>> float(total.mean())
        1.0
    """
    metrics = dict(metrics or {})
    if {"loss", "penalty", "aux_loss"} & set(metrics):
        raise bad_value("supervised", "metrics must have other names than loss, penalty and aux_loss", sorted(metrics))
    chosen = tuple(metrics.items())
    return Supervised(model, loss, chosen, penalty, identity((model, loss, chosen, penalty)))


@dataclass(frozen=True)
class Step:
    """The step that :func:`make_step` makes."""

    loss_fn: LossFn
    optimizer: optax.GradientTransformation
    log_norms: bool

    def __call__(self, train_state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(train_state.key, train_state.step)

        def objective(params: Any) -> tuple[jax.Array, tuple[Any, Metrics]]:
            total, aux = self.loss_fn(params, train_state.state, batch, key=key, train=True)
            if not isinstance(total, Sum):
                raise bad_type("make_step", "loss_fn must return (Sum(total, weight), (state, metrics))", total)
            return total.mean(), aux

        (_, (state, metrics)), gradients = jax.value_and_grad(objective, has_aux=True)(train_state.params)
        if self.log_norms:
            if {"gradient_norm", "parameter_norm"} & set(metrics):
                raise bad_value("make_step", "log_norms=True needs these names for itself", sorted(metrics))
            norms = {"gradient_norm": gradients, "parameter_norm": train_state.params}
            metrics = metrics | {name: optax.tree.norm(tree) for name, tree in norms.items()}
        updates, opt_state = self.optimizer.update(gradients, train_state.opt_state, train_state.params)
        params = optax.apply_updates(train_state.params, updates)
        return TrainState(train_state.step + 1, params, state, opt_state, train_state.key), metrics


def make_step(loss_fn: LossFn, optimizer: optax.GradientTransformation, *, log_norms: bool = False) -> Step:
    """A training step: the gradient of ``loss_fn``'s mean, and one update of the optimizer.

    Each step has a key of its own, ``fold_in(train_state.key, train_state.step)``.

    **Args** ``log_norms``: report the global (L2) norms of the gradient and the parameters as metrics.

    Example:
        >>> import optax, jax.numpy as jnp
        >>> from jaxdl import layers, losses, train
        >>> model, optimizer = layers.dense(1), optax.sgd(0.1)
        >>> step = make_step(supervised(model, losses.mean_squared_error), optimizer)
        >>> s = train.create_state(model, optimizer, jnp.ones((1, 2)))
        >>> s, metrics = step(s, {"x": jnp.zeros((3, 2)), "y": jnp.ones((3, 1))})
        >>> int(s.step), float(metrics["loss"].mean()), round(float(s.params["bias"][0]), 6)
        (1, 1.0, 0.2)
    """
    return Step(loss_fn, optimizer, log_norms)
