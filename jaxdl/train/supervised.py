"""From a model and a loss to a loss function: ``loss_fn(params, state, batch, *, key, train) -> (Sum, (state,
metrics))``.

Loss functions are records that are equal when they are made alike, so that a compiled program finds its twin.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.core import LayerLike, Ragged, Sum, bad_type, bad_value
from jaxdl.core.identity import identity
from jaxdl.core.show import function_name
from jaxdl.core.sums import ratio
from jaxdl.core.targets import is_of_sequences, is_reducing
from jaxdl.train.class_weight import ClassWeight, class_weights, weight_by_class
from jaxdl.train.precision import apply_in, check_policy

Metrics = dict[str, Any]
LossFn = Callable[..., tuple[Sum, tuple[Any, Metrics]]]


@dataclass(frozen=True)
class Supervised:
    """The loss function that :func:`supervised` makes; equal when its identity is, so that partials are taken apart."""

    model: LayerLike = field(compare=False)
    loss: Callable[..., Any] = field(compare=False)
    metrics: tuple[tuple[str, Callable[..., Any]], ...] = field(compare=False)
    penalty: Callable[[Any], jax.Array] | None = field(compare=False)
    policy: str | None
    class_weight: tuple[float, ...] | None
    identity: Any

    def __call__(
        self, params: Any, state: Any, batch: Any, *, key: jax.Array | None, train: bool
    ) -> tuple[Sum, tuple[Any, Metrics]]:
        prediction, state = apply_in(self.policy, self.model, params, state, batch["x"], train=train, key=key)
        arguments = prediction, batch["y"], batch.get("weight")
        total = _measured("loss", self.loss, prediction, batch["y"], self._loss_weight(batch, train))
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

    def _loss_weight(self, batch: Any, train: bool) -> Any:
        if self.class_weight is None or not train:
            return batch.get("weight")
        return weight_by_class(self.class_weight, batch["y"], batch.get("weight"))


def _measured(name: str, function: Callable[..., Any], prediction: Any, target: Any, weight: Any) -> Sum:
    """What a loss or a metric comes to over a batch."""
    if not is_of_sequences(function):
        if isinstance(prediction, Ragged):
            real = prediction.mask()
            weight = real if weight is None else _where_real(real, weight)
            prediction = prediction.x
        target = target.x if isinstance(target, Ragged) else target
    prediction = _detached(prediction, weight)
    if is_reducing(function):
        return _a_sum(name, function(prediction, target, weight))
    values = function(prediction, target)
    if isinstance(values, Sum):
        if weight is not None:
            needs = f"where examples have weights, {name} must give a value for each, or take the weights itself"
            raise bad_value("supervised", needs, "a Sum", "Did you mean to mark it with dl.metrics.reducing?")
        return values
    if not getattr(values, "shape", ()):
        needs = f"{name} must give a value for each example, not reduced, or a Sum"
        raise bad_value("supervised", needs, values)
    return Sum.of(values, weight)


def _where_real(real: jax.Array, weight: jax.Array) -> jax.Array:
    """The weights of examples or positions, 0 where these are padding."""
    weight = jnp.expand_dims(weight, range(weight.ndim, real.ndim))
    return jnp.where(jnp.expand_dims(real, range(real.ndim, weight.ndim)), weight, 0)


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
    policy: str | None = None,
    class_weight: ClassWeight | None = None,
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
    ``policy``: ``"bfloat16"`` or ``"float16"`` casts floating parameters and inputs to that before ``apply``, and the
    prediction to float32 for the loss and the metrics. Parameters, their gradient, the optimizer's and the layers'
    state keep their own dtype: float32, or float64 where that is enabled (the model then computes in the policy's all
    the same). Norms, softmax and statistics within the layers are float32 anyway. float16 also needs an optimizer that
    is :func:`jaxdl.train.loss_scaled`.
    ``class_weight``: ``{label: weight}`` or a weight for each class, for integer labels. While it trains, the loss of
    an example (or position) counts as its class' weight times its own, and their mean divides by the sum of these
    products, as PyTorch's does (Keras divides by the number of examples, so that there the scale of the weights is one
    of the learning rate). Metrics and the validation's loss do without. A label that has no weight is an error on the
    host, and makes the loss nan where only the program sees it (one that a transform makes).

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
    check_policy("supervised", policy)
    weights = None if class_weight is None else class_weights("supervised", class_weight)
    if weights is not None and is_of_sequences(loss):
        raise bad_value("supervised", "class_weight needs a loss of each label, not of whole sequences", loss)
    return Supervised(model, loss, chosen, penalty, policy, weights, identity((model, loss, chosen, penalty)))
