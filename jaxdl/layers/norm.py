"""Normalisation."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import functional as F
from jaxdl.core import Ragged, bad_value, each_position, layer, positions
from jaxdl.core.checks import fraction
from jaxdl.functional.norm import check_batch_norm


@layer
def batch_norm(
    *,
    momentum: float = 0.9,
    epsilon: float = 1e-5,
    use_scale: bool = True,
    use_bias: bool = True,
    param_dtype: Any = jnp.float32,
) -> Any:
    """Batch normalisation over all axes but the last; see :func:`jaxdl.functional.batch_norm` for formula and
    conventions.

    Over a :class:`jaxdl.Ragged` input the padded positions count in no statistic.

    **Shapes** ``x: (batch, …, channels) ->`` the same. **Params** ``scale``, ``bias``: ``(channels,)``.
    **State** ``mean``, ``var``: ``(channels,)``, the running statistics that ``train=False`` uses, in
    ``promote_types(param_dtype, float32)``.

    **Args** ``momentum``: the share of the running statistics that is kept at each step.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> norm = batch_norm()
        >>> params, state = norm.init(jax.random.key(0), jnp.ones((8, 4)))
        >>> y, state = norm.apply(params, state, jnp.ones((8, 4)), train=True)
        >>> float(y.max()), round(float(state["mean"][0]), 6)
        (0.0, 0.1)

    **References** Ioffe and Szegedy, Batch normalization, 2015.
    """
    fraction("batch_norm", "momentum", momentum)
    if epsilon <= 0:
        raise bad_value("batch_norm", "epsilon must be positive", epsilon)
    statistics_dtype = jnp.promote_types(param_dtype, jnp.float32)

    def init(key: jax.Array, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        array = positions("batch_norm", x)
        check_batch_norm("batch_norm", array)
        shape = array.shape[-1:]
        params = {}
        if use_scale:
            params["scale"] = jnp.ones(shape, param_dtype)
        if use_bias:
            params["bias"] = jnp.zeros(shape, param_dtype)
        return params, {"mean": jnp.zeros(shape, statistics_dtype), "var": jnp.ones(shape, statistics_dtype)}

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        array = positions("batch_norm", x)
        y, mean, var = F.batch_norm(
            array,
            params.get("scale"),
            params.get("bias"),
            state["mean"],
            state["var"],
            train=train,
            momentum=momentum,
            epsilon=epsilon,
            where=x.mask().reshape(*array.shape[:2], *[1] * (array.ndim - 2)) if isinstance(x, Ragged) else None,
        )
        return (Ragged(y, x.lengths) if isinstance(x, Ragged) else y), {"mean": mean, "var": var}

    return init, apply, each_position(apply)
