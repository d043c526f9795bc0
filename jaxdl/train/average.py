"""Averages of the weights over the steps."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxdl.core import bad_value
from jaxdl.core.checks import within
from jaxdl.train.state import TrainState
from jaxdl.train.transformation import check_optimizer, transformation


@struct.dataclass
class WeightAverage:
    """The state of :func:`ema`: how many updates there were, the average, and the state of the optimizer within."""

    count: Any
    average: Any
    inner: Any


def ema(optimizer: optax.GradientTransformation, decay: float = 0.999) -> optax.GradientTransformation:
    """The optimizer, which keeps an exponential moving average of the weights beside: take it with :func:`ema_params`.

    After update ``t`` it is ``Σᵢ dᵗ⁻ⁱ θᵢ / Σᵢ dᵗ⁻ⁱ`` over the weights ``θ₁ … θₜ`` after each update, where ``d`` is the
    decay: corrected for its start, as Adam's moments are, so that the initial values have no share in it (Keras'
    ``use_ema`` and PyTorch's ``AveragedModel`` begin with the first weights they see and give these ``dᵗ``). It is kept
    in float32 or better. ``optax.ema`` averages updates, not weights.

    It must be around whatever changes the updates: of ``optax.chain(ema(…), …)`` it would not see the weights that they
    make. Within :func:`freeze` or :func:`by_path` it averages the parameters of that group; parameters that no average
    covers are taken as they are. State is no parameter: running statistics of batch norm are not averaged.

    **Args** ``decay``: about how long the memory is: ``1 / (1 − decay)`` updates.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> optimizer, params = ema(optax.sgd(1.0), 0.5), {"w": jnp.zeros(1)}
        >>> state = optimizer.init(params)
        >>> for _ in range(2):                                     # the weight is −1, then −2
        ...     updates, state = optimizer.update({"w": jnp.ones(1)}, state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> round(float(state.average["w"][0]), 4)                 # (0.5 · −1 + 1 · −2) / 1.5
        -1.6667

    **References** Polyak and Juditsky: "Acceleration of stochastic approximation by averaging", 1992. Kingma and Ba:
    "Adam: a method for stochastic optimization", 2015 (the correction).
    """
    check_optimizer("ema", optimizer)
    return transformation(_Averaged(optimizer, within("ema", "decay", decay)))


@dataclass(frozen=True)
class _Averaged:
    optimizer: optax.GradientTransformation
    decay: float

    def init(self, params: Any) -> WeightAverage:
        average = jax.tree.map(lambda leaf: jnp.array(leaf, _wide(leaf)), params)
        return WeightAverage(jnp.zeros((), jnp.int32), average, self.optimizer.init(params))

    def update(self, updates: Any, state: WeightAverage, params: Any = None, **extra: Any) -> tuple[Any, WeightAverage]:
        if params is None:
            raise bad_value("ema", "update must be given the params, whose average it is", None)
        inner = optax.with_extra_args_support(self.optimizer)
        updates, advanced = inner.update(updates, state.inner, params, **extra)
        count = state.count + 1
        # The newest weights' share, (1 − d) / (1 − dᵗ), where 1 − dᵗ would lose digits.
        share = (1 - self.decay) / -jnp.expm1(math.log(self.decay) * count)

        def towards(average: jax.Array, leaf: jax.Array) -> jax.Array:
            if not jnp.issubdtype(average.dtype, jnp.inexact):
                return leaf
            return average + share.astype(average.dtype) * (leaf.astype(average.dtype) - average)

        average = jax.tree.map(towards, state.average, optax.apply_updates(params, updates))
        return updates, WeightAverage(count, average, advanced)


def _wide(leaf: Any) -> Any:
    dtype = jnp.result_type(leaf)
    return jnp.promote_types(dtype, jnp.float32) if jnp.issubdtype(dtype, jnp.inexact) else dtype


def ema_params(train_state: TrainState) -> Any:
    """The average of the weights that :func:`ema` has kept, in the parameters' dtypes.

    To measure with it: ``evaluate(model, train_state.replace(params=ema_params(train_state)), …)``.

    **Raises** ``ValueError`` where the optimizer keeps none.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> from jaxdl import layers, train
        >>> s = train.create_state(layers.dense(2), ema(optax.sgd(0.1)), jnp.ones((1, 3)))
        >>> bool((ema_params(s)["kernel"] == s.params["kernel"]).all())
        True
    """
    found = [node for node in jax.tree.leaves(train_state.opt_state, is_leaf=_is_average) if _is_average(node)]
    if not found:
        needs = "train_state must be one of an optimizer that averages"
        raise bad_value("ema_params", needs, "one of another", "Did you mean optimizer=dl.ema(optimizer)?")
    params = train_state.params
    for node in found:
        params = jax.tree.map(_taken, node.average, params, is_leaf=_is_hidden)
    return params


def _is_average(node: Any) -> bool:
    return isinstance(node, WeightAverage)


def _is_hidden(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)


def _taken(average: Any, leaf: Any) -> Any:
    return leaf if _is_hidden(average) else average.astype(leaf.dtype)
