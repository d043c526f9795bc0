"""The feed-forward part of a transformer."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import functional as F
from jaxdl.core import Ragged, bad_type, each_position, layer, positions
from jaxdl.core.checks import positive_int
from jaxdl.functional.linear import check_dense
from jaxdl.layers import noise
from jaxdl.layers.attention import draw_products
from jaxdl.layers.initializers import Initializer, glorot_uniform, zeros


@layer
def feed_forward(
    hidden: int | None = None,
    *,
    activation: Callable[[jax.Array], jax.Array] = jax.nn.gelu,
    gated: bool = False,
    use_bias: bool = True,
    dropout: float = 0.0,
    kernel_init: Initializer = glorot_uniform,
    down_init: Initializer | None = None,
    bias_init: Initializer = zeros,
    param_dtype: Any = jnp.float32,
) -> Any:
    """Two products with an activation between, at each position: ``y = act(x W_up) W_down`` or, gated,
    ``y = (act(x W_gate) ⊙ x W_up) W_down``.

    ``gated=True`` with :func:`jax.nn.silu` is SwiGLU, with :func:`jax.nn.gelu` GEGLU. :func:`jax.nn.gelu` is the
    approximation by tanh, as in GPT-2; PyTorch's default and BERT's is ``partial(jax.nn.gelu, approximate=False)``.

    **Shapes** ``x: (…, features) ->`` the same. **Params** ``up``, ``gate`` where gated, ``down``: each ``kernel`` and
    ``bias``.

    **Args** ``hidden``: the features between, by default four times those of the input (two thirds of that give SwiGLU
    as many parameters). ``dropout``: the share of hidden features that is dropped while training. ``kernel_init``:
    Glorot uniform, as in :func:`dense`. ``down_init``: of ``down``, by default as the others.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> swiglu = feed_forward(16, activation=jax.nn.silu, gated=True, use_bias=False)
        >>> params, state = swiglu.init(jax.random.key(0), jnp.ones((2, 6)))
        >>> jax.tree.map(jnp.shape, params)
        {'down': {'kernel': (16, 6)}, 'gate': {'kernel': (6, 16)}, 'up': {'kernel': (6, 16)}}

    **References** Vaswani et al., Attention is all you need, 2017; Shazeer, GLU variants improve transformer, 2020.
    """
    call = "feed_forward"
    if hidden is not None:
        positive_int(call, "hidden", hidden)
    if not callable(activation):
        raise bad_type(call, "activation must be a function of arrays", activation)
    dropped = noise.dropout(dropout)

    def init(key: jax.Array, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        array = positions(call, x)
        check_dense(call, array)
        features = array.shape[-1]
        inner = hidden or 4 * features
        names = ("up", "gate") if gated else ("up",)
        shapes = {**dict.fromkeys(names, (features, inner)), "down": (inner, features)}
        inits = {**dict.fromkeys(names, kernel_init), "down": down_init or kernel_init}
        return draw_products(key, param_dtype, shapes, inits, bias_init if use_bias else None), {}

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        array = positions(call, x)
        y = F.dense(array, **params["up"])
        y = activation(F.dense(array, **params["gate"])) * y if gated else activation(y)
        y = F.dense(dropped.apply({}, {}, y, train=train, key=key)[0], **params["down"])
        return (Ragged(y, x.lengths) if isinstance(x, Ragged) else y), state

    return init, apply, each_position(apply)
