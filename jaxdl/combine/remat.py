"""Memory for time."""

from collections.abc import Callable
from typing import Any

import jax

from jaxdl.core import Built, Decoding, bad_type, build, wrapper
from jaxdl.core.children import kind_of
from jaxdl.core.layer import checked_result, decoding_of
from jaxdl.core.lift import lift


@wrapper
def remat(layer: Any, *, policy: Callable[..., bool] | None = None) -> Any:
    """The layer, computed anew for its gradient instead of kept: :func:`jax.checkpoint` around its ``apply``.

    Parameters, state, their paths and all results are those of ``layer``; a batch norm inside updates once. In a
    deep stack, ``repeat(block, n, remat=True)`` keeps one input a block. On CPU only that saves memory: blocks in a row
    are one program, in which XLA finds that both computations are the same and keeps the first.

    **Args** ``policy``: what may be kept nevertheless, one of ``jax.checkpoint_policies``; nothing by default.

    **Raises** ``TypeError`` for a policy that cannot be called.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxdl import layers, sequential
        >>> block = sequential(layers.dense(8), jnp.tanh, layers.dense(3))
        >>> params, state = remat(block).init(jax.random.key(0), jnp.ones((1, 3)))
        >>> sorted(params)
        ['dense', 'dense_1']

    **References** Chen, Xu, Zhang and Guestrin, Training deep nets with sublinear memory cost, 2016.
    """
    inner = lift("remat", layer)
    if policy is not None and not callable(policy):
        raise bad_type("remat", "policy must be one of jax.checkpoint_policies, or None", policy)

    def build_inner(key: jax.Array, x: Any, visit: Any, path: str) -> Built:
        return build(inner, key, x, visit, path)

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        def run(params: Any, state: Any, x: Any, key: Any) -> Any:
            return checked_result(kind_of(inner), inner.apply(params, state, x, train=train, key=key))

        return jax.checkpoint(run, policy=policy)(params, state, x, key)

    def prefill(params: dict[str, Any], state: dict[str, Any], x: Any, *, length: int) -> tuple[Any, Any]:
        return decoding_of(inner).prefill(params, state, x, length=length)

    def decode(params: dict[str, Any], cache: Any, x: Any) -> tuple[Any, Any]:
        return decoding_of(inner).decode(params, cache, x)

    return build_inner, apply, Decoding(prefill, decode)
