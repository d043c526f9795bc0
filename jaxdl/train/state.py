"""What training carries from step to step."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from jaxdl.core import LayerLike, child_key, specs
from jaxdl.core.checks import check_seed


@struct.dataclass
class TrainState:
    """The whole of training as one pytree: ``step`` counts updates; ``key`` is where each step's key comes from.

    Example:
        >>> import optax, jax.numpy as jnp
        >>> from jaxdl import layers
        >>> s = create_state(layers.dense(2), optax.sgd(0.1), jnp.ones((1, 3)))
        >>> int(s.step), s.params["kernel"].shape
        (0, (3, 2))
    """

    step: Any
    params: Any
    state: Any
    opt_state: Any
    key: Any


def create_state(
    model: LayerLike, optimizer: optax.GradientTransformation, x: Any, *, seed: int | jax.Array = 0
) -> TrainState:
    """A fresh :class:`TrainState` of a model, for inputs shaped like ``x``.

    **Args** ``x``: an array or spec, or a pytree of them, of any batch size; ``seed``: an int or a key.
    """
    leaves, tree = jax.tree.flatten(specs(x))
    key = seed if isinstance(seed, jax.Array) else jax.random.key(np.uint32(check_seed("create_state", seed)))
    return _create(model, optimizer, (tuple(leaves), tree), key)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _create(model: LayerLike, optimizer: Any, spec: Any, key: jax.Array) -> TrainState:
    params, state = model.init(key, jax.tree.unflatten(spec[1], spec[0]))
    # No child can be called so: the key of the steps is that of no layer.
    return TrainState(jnp.zeros((), jnp.int32), params, state, optimizer.init(params), child_key(key, "/train"))
