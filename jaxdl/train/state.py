"""What training carries from step to step."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from jaxdl.core import LayerLike, bad_value, child_key, specs
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
    # The key lies where the state will. Options are for a program of its own, not for a part of one being traced.
    on_cpu = not isinstance(key, jax.core.Tracer) and next(iter(key.devices())).platform == "cpu"
    return (_create_on_cpu if on_cpu else _create)(model, optimizer, (tuple(leaves), tree), key)


def _create_state(model: LayerLike, optimizer: Any, spec: Any, key: jax.Array) -> TrainState:
    params, state = model.init(key, jax.tree.unflatten(spec[1], spec[0]))
    # No child can be called so: the key of the steps is that of no layer.
    return TrainState(jnp.zeros((), jnp.int32), params, state, optimizer.init(params), child_key(key, "/train"))


_create = jax.jit(_create_state, static_argnums=(0, 1, 2))

# What draws the numbers is compiled for longer than it runs. The least optimization of LLVM halves the first and leaves
# the second; with none a large model is drawn half as fast (`python -m benchmarks.engine --only create`). One level for
# all, since a layer's bits depend on it: they are not to change when a model grows.
_create_on_cpu = jax.jit(
    _create_state, static_argnums=(0, 1, 2), compiler_options={"xla_backend_optimization_level": 1}
)


def check_state(call: str, optimizer: optax.GradientTransformation, train_state: TrainState) -> None:
    """Raise when a train state is another optimizer's, which would fail within its update."""
    expected = jax.eval_shape(optimizer.init, train_state.params)
    one, other = (
        {jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in jax.tree.leaves_with_path(tree)}
        for tree in (expected, train_state.opt_state)
    )
    if one != other:
        needs = "opt_state of train_state must be one of this optimizer, for these params"
        path = next(path for path in {**one, **other} if one.get(path) != other.get(path))
        got = f"{_leaf(other, path)} at opt_state{path}, where it has {_leaf(one, path)}"
        hint = "Did you mean train_state.replace(opt_state=optimizer.init(train_state.params))?"
        raise bad_value(call, needs, got, hint)


def _leaf(shapes: dict[str, tuple[int, ...]], path: str) -> str:
    return f"shape {list(shapes[path])}" if path in shapes else "nothing"


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
