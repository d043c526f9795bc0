"""Positions that stand for a whole sequence."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import functional as F
from jaxdl.core import Ragged, bad_value, layer, no_params
from jaxdl.layers.initializers import Initializer, draw, zeros
from jaxdl.layers.positions import check_sequence


@layer
def class_token(*, token_init: Initializer = zeros, param_dtype: Any = jnp.float32) -> Any:
    """Put a learned vector before each sequence, whose output an encoder can then give for the whole.

    **Shapes** ``x: (batch, time, features) -> (batch, 1 + time, features)``, ragged where x is: each length grows by
    one. **Params** ``token: (features,)``.

    **Args** ``token_init``: zeros, as in ViT, whose positions tell it from the others.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> params, state = class_token().init(jax.random.key(0), jnp.ones((2, 196, 8)))
        >>> class_token().apply(params, state, jnp.ones((2, 196, 8)), train=False)[0].shape
        (2, 197, 8)

    **References** Devlin et al., BERT, 2018; Dosovitskiy et al., An image is worth 16x16 words, 2020.
    """

    def init(key: jax.Array, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return draw(key, param_dtype, token=(token_init, check_sequence("class_token", x).shape[2:])), {}

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        array = check_sequence("class_token", x)
        if array.shape[2:] != params["token"].shape:
            raise bad_value("class_token", f"input must have {params['token'].shape[0]} features", array)
        first = jnp.broadcast_to(params["token"].astype(array.dtype), (array.shape[0], 1, array.shape[2]))
        y = jnp.concatenate([first, array], axis=1)
        return (Ragged(y, jnp.asarray(x.lengths) + 1) if isinstance(x, Ragged) else y), state

    return init, apply


@layer
def first_step() -> Any:
    """The first position of each sequence, such as a class token's; zeros for an empty sequence; see
    :func:`jaxdl.functional.first_step`.

    **Shapes** ``x: (batch, time, …) -> (batch, …)``, an array also where x is ragged.

    **Raises** ``ValueError`` for an input without a time axis, or without a position.

    Example:
        >>> import jax.numpy as jnp
        >>> first_step().apply({}, {}, jnp.array([[1, 2, 3], [4, 5, 6]]), train=False)[0].tolist()
        [1, 4]
    """

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        return (F.first_step(x.x, x.lengths) if isinstance(x, Ragged) else F.first_step(x)), state

    return lambda key, x: (no_params(key, x), {}), apply
