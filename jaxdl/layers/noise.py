"""Regularising noise: active while training, the identity otherwise."""

from typing import Any

import jax

from jaxdl import functional as F
from jaxdl.core import Ragged, bad_value, each_position, layer, positions
from jaxdl.core.checks import floating, fraction


@layer
def dropout(rate: float) -> Any:
    """Drop a share ``rate`` of the elements while training; see :func:`jaxdl.functional.dropout`.

    **Shapes** ``x`` of any shape ``->`` the same.

    **Raises** ``ValueError`` when it trains without a key.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> y, _ = dropout(0.5).apply({}, {}, jnp.ones(6), train=True, key=jax.random.key(1))
        >>> sorted(set(y.tolist()))
        [0.0, 2.0]

    **References** Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, Dropout, 2014.
    """
    fraction("dropout", "rate", rate)

    def init(key: jax.Array, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        floating("dropout", "input", positions("dropout", x))
        return {}, {}

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        if not train or rate == 0:
            return x, state
        if key is None:
            raise bad_value("dropout", "train=True needs a key", None, "Did you mean key=jax.random.key(0)?")
        y = F.dropout(key, positions("dropout", x), rate)
        return (Ragged(y, x.lengths) if isinstance(x, Ragged) else y), state

    return init, apply, each_position(apply)
