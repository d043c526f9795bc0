"""A branch that is added to its input."""

from typing import Any

import jax

from jaxdl.core import Built, Decoding, Ragged, bad_value, combinator, describe
from jaxdl.core.children import Children


@combinator
def residual(*layers: Any, shortcut: Any = None) -> Any:
    """``y = shortcut(x) + f(x)``, where f applies ``layers`` one after the other and the shortcut is x itself by
    default.

    Children are named as in :func:`jaxdl.sequential`; a shortcut is the child ``shortcut``.

    **Shapes** ``x -> `` the shape of ``f(x)``, which must be that of ``shortcut(x)``: nothing is broadcast. Over a
    :class:`jaxdl.Ragged` input, ``.x`` is added.

    **Raises** ``ValueError`` when the two shapes differ.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxdl.layers import dense
        >>> block = residual(dense(3), jax.nn.relu)
        >>> params, state = block.init(jax.random.key(0), jnp.ones((1, 3)))
        >>> block.apply(params, state, jnp.ones((2, 3)), train=False)[0].shape
        (2, 3)

    **References** He, Zhang, Ren and Sun, Deep residual learning for image recognition, 2015.
    """
    children = Children("residual", [*layers, *([("shortcut", shortcut)] if shortcut is not None else [])])
    branch = children.named[: len(layers)]
    aside = children.named[len(layers) :]

    def build(key: jax.Array, x: Any, visit: Any, path: str) -> Built:
        params: dict[str, Any] = {}
        state: dict[str, Any] = {}
        y = children.build_chain(branch, key, x, visit, path, params, state)
        short = children.build_chain(aside, key, x, visit, path, params, state)
        return Built(params, state, jax.eval_shape(_add, short, y))

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        new_state: dict[str, Any] = {}
        y = children.apply_chain(branch, params, state, x, new_state, train=train, key=key)
        short = children.apply_chain(aside, params, state, x, new_state, train=train, key=key)
        return _add(short, y), new_state

    def prefill(params: dict[str, Any], state: dict[str, Any], x: Any, *, length: int) -> tuple[Any, dict[str, Any]]:
        cache: dict[str, Any] = {}
        y = children.prefill_chain(branch, params, state, x, cache, length=length)
        return _add(children.prefill_chain(aside, params, state, x, cache, length=length), y), cache

    def decode(params: dict[str, Any], cache: dict[str, Any], x: Any) -> tuple[Any, dict[str, Any]]:
        new_cache: dict[str, Any] = {}
        y = children.decode_chain(branch, params, cache, x, new_cache)
        return _add(children.decode_chain(aside, params, cache, x, new_cache), y), new_cache

    return build, apply, Decoding(prefill, decode)


def _add(x: Any, y: Any) -> Any:
    if isinstance(x, Ragged):
        return Ragged(_add(x.x, y.x if isinstance(y, Ragged) else y), x.lengths)
    if x.shape != y.shape:
        hint = "Did you mean shortcut=dense(…) or shortcut=conv(…, 1)?"
        raise bad_value("residual", f"f(x) must have the shape of the shortcut, {describe(x)}", y, hint)
    return x + y
