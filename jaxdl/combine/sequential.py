"""Layers one after the other."""

from typing import Any

import jax

from jaxdl.core import Built, Decoding, combinator
from jaxdl.core.children import Children


@combinator
def sequential(*layers: Any) -> Any:
    """Apply layers one after the other.

    Each child is a layer, a bare function of arrays (``jax.nn.relu``), or a ``(name, layer)`` pair. Unnamed children
    are named after their kind: ``conv``, then ``conv_1``. Names make the keys, so that appending a layer, or adding a
    named one, changes no other layer's initial values.

    **Params**, **State** one subtree for each child that has one, under its name.

    **Raises** ``ValueError`` when two children have the same name; an error inside a child carries its path.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxdl.layers import dense
        >>> mlp = sequential(dense(4), jax.nn.relu, ("head", dense(2)))
        >>> mlp
        sequential(dense(features=4), relu, ('head', dense(features=2)))
        >>> params, state = mlp.init(jax.random.key(0), jnp.ones((1, 3)))
        >>> jax.tree.map(jnp.shape, params)
        {'dense': {'bias': (4,), 'kernel': (3, 4)}, 'head': {'bias': (2,), 'kernel': (4, 2)}}
    """
    children = Children("sequential", layers)

    def build(key: jax.Array, x: Any, visit: Any, path: str) -> Built:
        params: dict[str, Any] = {}
        state: dict[str, Any] = {}
        y = children.build_chain(children.named, key, x, visit, path, params, state)
        return Built(params, state, y)

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        new_state: dict[str, Any] = {}
        y = children.apply_chain(children.named, params, state, x, new_state, train=train, key=key)
        return y, new_state

    def prefill(params: dict[str, Any], state: dict[str, Any], x: Any, *, length: int) -> tuple[Any, dict[str, Any]]:
        cache: dict[str, Any] = {}
        y = children.prefill_chain(children.named, params, state, x, cache, length=length)
        return y, cache

    def decode(params: dict[str, Any], cache: dict[str, Any], x: Any) -> tuple[Any, dict[str, Any]]:
        new_cache: dict[str, Any] = {}
        y = children.decode_chain(children.named, params, cache, x, new_cache)
        return y, new_cache

    return build, apply, Decoding(prefill, decode)
