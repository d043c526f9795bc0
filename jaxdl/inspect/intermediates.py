"""What passes through a model, and the gradient of a loss in it, by the path of each layer."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.core import LayerLike, bad_value
from jaxdl.core.watch import is_floating
from jaxdl.inspect.places import Watched, answers, asking, choose


def intermediates(
    model: LayerLike,
    params: Any,
    state: Any,
    x: Any,
    *,
    train: bool = False,
    key: jax.Array | None = None,
    paths: str | Sequence[str] = "**",
) -> dict[str, Any]:
    """The output of each layer by its path, in the order of the computation: ``{path: y}``.

    A combinator comes after its layers, and the model itself, under the path ``""``, last. The parts of a ``repeat`` or
    a ``vmapped`` have one value for each member, stacked along a leading axis; the output of one whole member has the
    stack's path and ``[:]``, so that ``"blocks[:]"`` is what runs through a deep stack, ``(n, batch, …)``. A wrapper
    and the layer inside have one path and one output.

    It is a function like any other, for ``jit``, ``grad`` and ``vmap`` (which sort what they give by name, as all
    dicts); the model computes what it always does.

    **Shapes** those of the outputs, :class:`jaxdl.Ragged` where a layer gives that.

    **Args** ``train``, ``key``: as for ``apply``; ``paths``: a glob of paths or several, in which ``*`` stands for any
    text, ``/`` included. What is not asked for costs nothing within a program.

    **Raises** ``ValueError`` for a glob that matches no layer; it lists the nearest paths.

    Example:
        >>> import jax, jax.numpy as jnp, jaxdl as dl
        >>> block = dl.residual(dl.layers.dense(4), jnp.tanh)
        >>> model = dl.sequential(("blocks", dl.repeat(block, 3)), ("head", dl.layers.dense(2)))
        >>> params, state = model.init(jax.random.key(0), jnp.ones((1, 4)))
        >>> values = intermediates(model, params, state, jnp.ones((5, 4)))
        >>> for path, value in values.items():
        ...     print(repr(path), value.shape)
        'blocks/dense' (3, 5, 4)
        'blocks/tanh' (3, 5, 4)
        'blocks[:]' (3, 5, 4)
        'blocks' (5, 4)
        'head' (5, 2)
        '' (5, 2)
    """
    places = choose("intermediates", model, x, paths)
    _, seen = Watched(model).apply(params, asking(state, places), x, train=train, key=key)
    return {name: values["output"] for name, values in answers(seen, places).items()}


def gradients(
    model: LayerLike,
    params: Any,
    state: Any,
    x: Any,
    loss: Callable[[Any], jax.Array],
    *,
    train: bool = False,
    key: jax.Array | None = None,
    paths: str | Sequence[str] = "**",
) -> dict[str, Any]:
    """The gradient of a loss in the output of each layer, by its path: ``{path: ∂ loss(model(x)) / ∂ y_path}``.

    Names, order and shapes are those of :func:`intermediates`; a leaf that is not floating has None for its gradient,
    and a layer without any floating output is left out.

    **Args** ``loss``: a function of the model's output that gives a scalar, such as
    ``lambda y: dl.losses.cross_entropy(y, labels).mean()``; the others as for :func:`intermediates`.

    **Raises** ``ValueError`` for a loss that is no floating scalar, and a glob that matches no layer.

    Example:
        >>> import jax, jax.numpy as jnp, jaxdl as dl
        >>> model = dl.sequential(jnp.square, jnp.sum)
        >>> for path, gradient in gradients(model, {}, {}, jnp.array([1.0, 3.0]), lambda y: 10 * y).items():
        ...     print(repr(path), gradient)
        'square' [10. 10.]
        'sum' 10.0
        '' 10.0
    """
    places = choose("gradients", model, x, paths)

    def run(moves: Any) -> tuple[jax.Array, dict[str, Any]]:
        y, seen = Watched(model).apply(params, asking(state, places, moves), x, train=train, key=key)
        return _scalar(loss(y)), answers(seen, places)

    _, values = jax.eval_shape(run, {})
    cotangents = jax.grad(lambda moves: run(moves)[0])(zero_moves(values, ("output",)))
    # In the order of the places: what comes out of a transformation is sorted by name.
    outputs = {place.name: values[place.name]["output"] for place in places if place.name in values}
    return {
        name: _as_the_tree(output, cotangents[name]["output"]) for name, output in outputs.items() if _floats(output)
    }


def _scalar(value: Any) -> jax.Array:
    if getattr(value, "shape", None) != () or not is_floating(value):
        raise bad_value("gradients", "loss must give a floating scalar", value, "Did you mean its .mean()?")
    return value


def _floats(tree: Any) -> list[Any]:
    return [leaf for leaf in jax.tree.leaves(tree) if is_floating(leaf)]


def zero_moves(values: dict[str, Any], ends: Sequence[str]) -> dict[str, Any]:
    """Zeros to be added at each place, at these ends of its layer: what a gradient is taken in."""

    def zeros(tree: Any) -> list[jax.Array]:
        return [jnp.zeros(leaf.shape, leaf.dtype) for leaf in _floats(tree)]

    return {
        name: {end: zeros(value[end]) if end in ends else None for end in ("input", "output")}
        for name, value in values.items()
    }


def _as_the_tree(tree: Any, floats: list[Any]) -> Any:
    left = iter(floats)
    return jax.tree.map(lambda leaf: next(left) if is_floating(leaf) else None, tree)
