"""Which expert treats which token."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxdl.core.checks import floating, positive_int
from jaxdl.core.errors import bad_value


def top_k_gates(logits: jax.Array, top_k: int) -> tuple[jax.Array, jax.Array]:
    """For each token its top_k experts and the weight of each: the largest of ``p = softmax(logits)``.

    The weights are ``p`` over its sum over the chosen experts, as in GShard. With ``top_k=1`` that would be 1 always,
    and the router would learn nothing: there the weight is ``p`` itself, as in the Switch Transformer. Of equal experts
    the first is taken.

    **Shapes** ``logits: (…, experts) -> `` weights ``(…, top_k)`` in ``promote_types(dtype, float32)``, and expert
    numbers ``(…, top_k)``, the best first.

    Example:
        >>> import jax.numpy as jnp
        >>> weights, experts = top_k_gates(jnp.log(jnp.array([[0.1, 0.6, 0.3]])), 2)
        >>> weights.round(4), experts
        (Array([[0.6667, 0.3333]], dtype=float32), Array([[1, 2]], dtype=int32))

    **References** Lepikhin and others, GShard, 2020; Fedus, Zoph and Shazeer, Switch transformers, 2021.
    """
    floating("top_k_gates", "logits", logits)
    positive_int("top_k_gates", "top_k", top_k)
    if not logits.shape or top_k > logits.shape[-1]:
        raise bad_value("top_k_gates", f"logits must have an axis of at least {top_k} experts last", logits)
    weights, experts = lax.top_k(probabilities(logits), top_k)
    return (weights if top_k == 1 else weights / weights.sum(-1, keepdims=True)), experts


def probabilities(logits: jax.Array) -> jax.Array:
    """The softmax over the last axis, in ``promote_types(dtype, float32)``."""
    return jax.nn.softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)), axis=-1)


def load_balance(logits: jax.Array, experts: jax.Array, where: jax.Array | None = None) -> jax.Array:
    """How unevenly tokens go to experts: ``n Σ_e f_e P_e``, 1 where all is even and n where one expert takes all.

    ``f_e`` is the share of all choices that fell on expert e, ``P_e`` the mean of ``softmax(logits)_e`` over the
    tokens; the gradient goes through ``P``. For ``top_k=1`` it is the Switch Transformer's.

    **Shapes** ``logits: (tokens, n)``, ``experts: (tokens, top_k)`` ``-> ()``; 0 for no token.

    **Args** ``where``: ``(tokens,)``, False for tokens that do not count.

    Example:
        >>> import jax.numpy as jnp
        >>> float(load_balance(jnp.zeros((4, 2)), jnp.array([[0], [1], [0], [1]])))
        1.0

    **References** Fedus, Zoph and Shazeer, Switch transformers, 2021.
    """
    floating("load_balance", "logits", logits)
    if logits.ndim != 2 or experts.ndim != 2 or len(logits) != len(experts):
        raise bad_value("load_balance", "logits and experts must be (tokens, n) and (tokens, top_k)", (logits, experts))
    if where is not None and where.shape != logits.shape[:1]:
        raise bad_value("load_balance", f"where must have shape ({len(logits)},)", where)
    p, n = probabilities(logits), logits.shape[1]
    real = jnp.ones(len(p), p.dtype) if where is None else where.astype(p.dtype)
    tokens = jnp.maximum(real.sum(), 1)
    choices = jax.nn.one_hot(experts, n, dtype=p.dtype).sum(1) / experts.shape[1]
    return n * jnp.sum((real @ choices) / tokens * ((real @ p) / tokens))


def queue_places(experts: jax.Array, n: int, where: jax.Array | None = None) -> jax.Array:
    """The place of each choice in the queue before its expert, from 0: first choices before second, tokens in order.

    **Shapes** ``experts: (tokens, top_k) ->`` the same. **Args** ``where``: ``(tokens,)``, False for tokens that take
    no place; what stands there is without meaning.

    Example:
        >>> import jax.numpy as jnp
        >>> queue_places(jnp.array([[0, 1], [1, 0], [0, 1]]), 2).tolist()
        [[0, 1], [0, 2], [1, 2]]
    """
    tokens, top_k = experts.shape
    chosen = jax.nn.one_hot(experts.T.reshape(top_k * tokens), n, dtype=jnp.int32)
    if where is not None:
        chosen = chosen * jnp.tile(where, top_k).astype(jnp.int32)[:, None]
    before = jnp.cumsum(chosen, axis=0) - chosen
    return jnp.sum(before * chosen, axis=1).reshape(top_k, tokens).T
