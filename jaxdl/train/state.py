"""What training carries from step to step."""

import math
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

    Its values are those of ``model.init`` with the same key, within rounding: each program rounds in its own way.

    **Args** ``x``: an array or spec, or a pytree of them, of any batch size; ``seed``: an int or a key.
    """
    leaves, tree = jax.tree.flatten(specs(x))
    key = seed if isinstance(seed, jax.Array) else jax.random.key(np.uint32(check_seed("create_state", seed)))
    arguments = model, optimizer, (tuple(leaves), tree), key
    return (_create_at_once if _is_small(arguments) else _create)(*arguments)


def _create_state(model: LayerLike, optimizer: Any, spec: Any, key: jax.Array) -> TrainState:
    params, state = model.init(key, jax.tree.unflatten(spec[1], spec[0]))
    # No child can be called so: the key of the steps is that of no layer.
    return TrainState(jnp.zeros((), jnp.int32), params, state, optimizer.init(params), child_key(key, "/train"))


_create = jax.jit(_create_state, static_argnums=(0, 1, 2))

# On CPU, optimizing what draws the numbers took longer than drawing them: the course's CNN 2.9 s, as it is 0.6 s.
_create_at_once = jax.jit(
    _create_state, static_argnums=(0, 1, 2), compiler_options={"xla_backend_optimization_level": 0}
)

SMALL = 4_000_000
"""Parameters up to which their numbers are drawn by code that is not optimized, at about 0.1 us more for each."""


def _is_small(arguments: tuple[Any, ...]) -> bool:
    # Options are for a program of its own, not for a part of one that is being traced.
    if isinstance(arguments[-1], jax.core.Tracer) or jax.local_devices()[0].platform != "cpu":
        return False
    params = _create_at_once.eval_shape(*arguments).params
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) <= SMALL


def owned(train_state: Any, consume: bool) -> Any:
    """The train state in arrays of the engine's own, each in a buffer of its own, so that it can be donated."""
    seen: set[int] = set()

    def own(leaf: Any) -> jax.Array:
        again = id(leaf) in seen  # One buffer cannot be donated twice.
        seen.add(id(leaf))
        array = jnp.asarray(leaf) if consume and not again else jnp.array(leaf, copy=True)
        # A weakly typed leaf, such as a Python float's, would come back strongly typed and ask for another trace.
        return array.astype(array.dtype) if getattr(array, "weak_type", False) else array

    return jax.tree.map(own, train_state)
