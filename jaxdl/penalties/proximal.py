"""The proximal step: exact zeros."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxdl.core import bad_value, select
from jaxdl.core.checks import not_negative
from jaxdl.core.select import globs, with_hidden
from jaxdl.penalties.parameters import Where


class ProximalState(NamedTuple):
    """How many updates there have been: what a schedule is asked with."""

    count: Any


def proximal_l1(
    learning_rate: optax.ScalarOrSchedule, strength: float, *, where: Where = "*kernel"
) -> optax.GradientTransformation:
    """The proximal step for ``strength · Σ |w|``, to be chained after an optimizer:
    ``w ← sign(v) max(|v| − η λ, 0)``, where ``v`` is what the optimizer alone would have made of ``w``.

    Weights become exactly zero. After plain SGD with the same rate it is the proximal gradient method (ISTA), whose
    limit is the minimum of loss plus penalty; it is not the accelerated one (FISTA). After an optimizer that scales
    each weight by itself, such as Adam, it still gives exact zeros, but thresholds all weights alike.

    To train a part alone, freeze the whole chain, ``train.freeze(optax.chain(…, proximal_l1(…)), "encoder/*")``: after
    an optimizer that is frozen by itself it would still shrink the frozen weights.

    **Args** ``learning_rate``: η, a number or a schedule, the optimizer's own; ``strength``: λ.

    **Raises** ``ValueError`` for a negative strength, a pattern that matches nothing, or an update without parameters.

    Example:
        >>> import jax.numpy as jnp
        >>> optimizer = optax.chain(optax.sgd(0.1), proximal_l1(0.1, 2.0))
        >>> params = {"kernel": jnp.array([1.0, 0.1])}
        >>> updates, _ = optimizer.update({"kernel": jnp.zeros(2)}, optimizer.init(params), params)
        >>> optax.apply_updates(params, updates)["kernel"]
        Array([0.8, 0. ], dtype=float32)

    **References** Daubechies, Defrise and De Mol, An iterative thresholding algorithm, 2004; Parikh and Boyd, Proximal
    algorithms, 2014.
    """
    not_negative("proximal_l1", "strength", strength)
    patterns = globs("proximal_l1", where)

    def init(params: Any) -> ProximalState:
        select("proximal_l1", with_hidden(params), patterns)
        return ProximalState(jnp.zeros((), jnp.int32))

    def update(updates: Any, state: ProximalState, params: Any = None) -> tuple[Any, ProximalState]:
        if params is None:
            raise bad_value("proximal_l1", "update needs the parameters", None)
        rate = learning_rate(state.count) if callable(learning_rate) else learning_rate

        def shrink(use: bool, change: Any, param: Any) -> Any:
            if not use or isinstance(change, optax.MaskedNode):
                return change
            moved = param + change
            return jnp.sign(moved) * jnp.maximum(jnp.abs(moved) - rate * strength, 0).astype(param.dtype) - param

        chosen = select("proximal_l1", with_hidden(params), patterns)
        return jax.tree.map(shrink, chosen, updates, params), ProximalState(optax.safe_increment(state.count))

    return optax.GradientTransformation(init, update)
