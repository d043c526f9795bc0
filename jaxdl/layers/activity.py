"""Penalties of what passes through."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.core import Ragged, bad_type, each_position, layer, positions
from jaxdl.core.checks import floating


@layer
def activity_penalty(penalty: Any) -> Any:
    """Let ``x`` through as it is, and add a penalty of it to the loss while training, as the state leaf ``aux_loss``.

    Over a :class:`jaxdl.Ragged` input the padded positions do not count.

    **Shapes** ``x: (…, units) ->`` the same. **State** ``aux_loss``: a scalar, in ``promote_types(x.dtype, float32)``.

    **Args** ``penalty``: ``(x, mask) -> scalar``, where ``mask`` is None or ``(batch, time)``; such as
    :func:`jaxdl.penalties.activity_l1` and :func:`jaxdl.penalties.activity_kl`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxdl as dl
        >>> encoder = dl.sequential(dl.layers.dense(8), jax.nn.sigmoid, activity_penalty(dl.penalties.activity_kl(0.1)))
        >>> params, state = encoder.init(jax.random.key(0), jnp.ones((4, 3)))
        >>> _, state = encoder.apply(params, state, jnp.ones((4, 3)), train=True)
        >>> float(state["activity_penalty"]["aux_loss"]) > 0
        True

    **References** Ng, Sparse autoencoder, 2011.
    """
    if not callable(penalty):
        raise bad_type("activity_penalty", "penalty must be a function (x, mask) -> scalar", penalty)

    def init(key: jax.Array, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        array = positions("activity_penalty", x)
        floating("activity_penalty", "input", array)
        return {}, {"aux_loss": jnp.zeros((), jnp.promote_types(array.dtype, jnp.float32))}

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        if not train:
            return x, state
        found = penalty(x.x, x.mask()) if isinstance(x, Ragged) else penalty(x, None)
        return x, {"aux_loss": found.astype(state["aux_loss"].dtype)}

    return init, apply, each_position(apply)
