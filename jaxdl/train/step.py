"""From a loss function to a step: ``step(train_state, batch) -> (train_state, metrics)``.

Steps are records that are equal when they are made alike, so that a compiled program finds its twin.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxdl.core import Sum, bad_type, bad_value
from jaxdl.core.checks import positive_int
from jaxdl.core.show import function_name
from jaxdl.core.sums import ratio
from jaxdl.train.accumulate import accumulated
from jaxdl.train.precision import LossScale, is_scaled, scale_metrics, select, unscaled
from jaxdl.train.state import TrainState
from jaxdl.train.supervised import LossFn, Metrics

Transform = Callable[[Any, jax.Array | None], Any]


@dataclass(frozen=True)
class Step:
    """The step that :func:`make_step` makes."""

    loss_fn: LossFn
    optimizer: optax.GradientTransformation
    accumulate: int
    log_norms: bool

    def __call__(self, train_state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        scaled = train_state.opt_state if isinstance(train_state.opt_state, LossScale) else None
        gradients, state, metrics = self._gradients(train_state, batch, None if scaled is None else scaled.scale)
        if self.log_norms:
            if {"gradient_norm", "parameter_norm"} & set(metrics):
                raise bad_value("make_step", "log_norms=True needs these names for itself", sorted(metrics))
            norms = {"gradient_norm": gradients, "parameter_norm": train_state.params}
            metrics = metrics | {name: optax.tree.norm(tree) for name, tree in norms.items()}
        updates, opt_state = self.optimizer.update(gradients, train_state.opt_state, train_state.params)
        params = optax.apply_updates(train_state.params, updates)
        if scaled is not None:
            state = select(opt_state.skipped, train_state.state, state)
            metrics = scale_metrics(scaled, opt_state, metrics)
        return TrainState(train_state.step + 1, params, state, opt_state, train_state.key), metrics

    def _gradients(self, train_state: TrainState, batch: Any, scale: jax.Array | None) -> tuple[Any, Any, Metrics]:
        """The gradient of the loss function's mean, the layers' new state and the metrics."""

        def objective(params: Any, state: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, Any]:
            total, (state, metrics) = self.loss_fn(params, state, batch, key=key, train=True)
            if not isinstance(total, Sum):
                raise bad_type("make_step", "loss_fn must return (Sum(total, weight), (state, metrics))", total)
            if self.accumulate > 1 and total.finish is not ratio:
                needs = f"accumulate={self.accumulate} needs a Sum whose finish is the mean"
                raise bad_value("make_step", needs, f"finish={function_name(total.finish)}")
            mean = total.mean()
            return mean if scale is None else mean * scale, (jnp.asarray(total.weight), state, metrics)

        key = jax.random.fold_in(train_state.key, train_state.step)
        arguments = train_state.params, train_state.state, batch, key
        if self.accumulate > 1:
            gradients, state, metrics = accumulated(objective, self.accumulate, *arguments)
        else:
            (_, (_, state, metrics)), gradients = jax.value_and_grad(objective, has_aux=True)(*arguments)
        return gradients if scale is None else unscaled(gradients, scale), state, metrics


def make_step(
    loss_fn: LossFn, optimizer: optax.GradientTransformation, *, accumulate: int = 1, log_norms: bool = False
) -> Step:
    """A training step: the gradient of ``loss_fn``'s mean, and one update of the optimizer.

    Each step has a key of its own, ``fold_in(train_state.key, train_state.step)``.

    Gradients are clipped by optax, before the optimizer and within what else is around it:
    ``optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))``; ``optax.clip_by_block_rms`` does so leaf by leaf,
    and ``optax.adaptive_grad_clip`` by the parameters' norms. They see the gradient of the whole batch, not scaled.

    **Args** ``accumulate``: compute the batch in so many parts, one after the other, in their memory alone; the last
    one is smaller where they cannot be equal, and a few examples may come to fewer parts. Totals and weights are added
    up and divided once, so that the gradient and the metrics are those of the whole batch within rounding, also with
    weights, masks and ragged sequences. What a layer computes over its batch it computes over each part: batch norm
    normalises by the part's statistics and hands its state from part to part, an ``aux_loss`` is the parts' mean by
    their weight, and dropout has a key for each.
    ``log_norms``: report the global (L2) norms of the gradient and the parameters as metrics.

    Where the optimizer is :func:`jaxdl.train.loss_scaled`, the metrics have ``loss_scale``, and ``skipped``: how many
    steps of the epoch were.

    Example:
        >>> import optax, jax.numpy as jnp
        >>> from jaxdl import layers, losses, train
        >>> model, optimizer = layers.dense(1), optax.sgd(0.1)
        >>> step = make_step(train.supervised(model, losses.mean_squared_error), optimizer)
        >>> s = train.create_state(model, optimizer, jnp.ones((1, 2)))
        >>> s, metrics = step(s, {"x": jnp.zeros((3, 2)), "y": jnp.ones((3, 1))})
        >>> int(s.step), float(metrics["loss"].mean()), round(float(s.params["bias"][0]), 6)
        (1, 1.0, 0.2)
    """
    if getattr(loss_fn, "policy", None) == "float16" and not is_scaled(optimizer):
        hint = "Did you mean dl.train.loss_scaled(optimizer)?"
        raise bad_value("make_step", 'policy="float16" needs an optimizer that scales the loss', "one without", hint)
    return Step(loss_fn, optimizer, positive_int("make_step", "accumulate", accumulate), log_norms)
