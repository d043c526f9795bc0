"""Many layers of which each position takes a few."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import functional as F
from jaxdl.combine.stacked import vmapped
from jaxdl.core import Built, Ragged, bad_value, combinator, describe, each_position, positions
from jaxdl.core.checks import floating, positive_int
from jaxdl.core.children import Children
from jaxdl.layers import dense


@combinator
def mixture_of_experts(
    expert: Any,
    n: int,
    *,
    top_k: int = 2,
    capacity: float | None = None,
    balance: float = 0.01,
    param_dtype: Any = jnp.float32,
) -> Any:
    """n experts of which each position takes the ``top_k`` that a router chooses: ``y = Σ_k g_k f_{e_k}(x)``.

    The router is a dense layer without bias, and its softmax weighs the experts as :func:`jaxdl.functional.top_k_gates`
    says. In training the state leaf ``aux_loss`` becomes ``balance`` times :func:`jaxdl.functional.load_balance`, which
    :func:`jaxdl.supervised` adds to the loss. Padded positions of a :class:`jaxdl.Ragged` input count neither there nor
    in the capacity.

    Without a capacity every expert sees every position: exact, simple, at the cost of n experts. With one, an expert
    takes in training at most ``⌈capacity · top_k · positions / n⌉`` positions, the first choices first; a choice beyond
    that gives nothing (its position keeps the rest of its sum; put a ``residual`` around). That costs ``capacity ·
    top_k`` experts. With ``train=False`` nothing is ever dropped, so that a prediction depends on its own input alone.

    **Shapes** ``x: (…, features) -> (…, out)``; an expert treats ``(positions, features) -> (positions, out)``.

    **Params** ``router``: ``kernel: (features, n)``; ``experts``: those of ``expert``, each leaf with a leading axis of
    n. **State** ``aux_loss: ()``; an expert must have no state.

    **Args** ``expert``: a layer; ``n``: experts; ``top_k``: choices of each position; ``capacity``: room in training,
    as a multiple of an even share (1.25 in the Switch Transformer); ``balance``: weight of the balance loss;
    ``param_dtype``: of the router (the experts have their own).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxdl import layers, sequential
        >>> moe = mixture_of_experts(sequential(layers.dense(8), jnp.tanh, layers.dense(3)), 4)
        >>> params, state = moe.init(jax.random.key(0), jnp.ones((1, 3)))
        >>> params["router"]["kernel"].shape, params["experts"]["dense"]["kernel"].shape
        ((3, 4), (4, 3, 8))
        >>> y, state = moe.apply(params, state, jnp.ones((2, 5, 3)), train=True)
        >>> y.shape, sorted(state)
        ((2, 5, 3), ['aux_loss'])

    **References** Shazeer and others, Outrageously large neural networks, 2017; Fedus, Zoph and Shazeer, Switch
    transformers, 2021.
    """
    positive_int("mixture_of_experts", "n", n)
    positive_int("mixture_of_experts", "top_k", top_k)
    if top_k > n:
        raise bad_value("mixture_of_experts", f"top_k must be at most n={n}", top_k)
    for name, value in (("capacity", capacity), ("balance", balance)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
            raise bad_value("mixture_of_experts", f"{name} must be a number from 0", value)
    children = Children(
        "mixture_of_experts",
        [
            ("router", dense(n, use_bias=False, param_dtype=param_dtype)),
            ("experts", vmapped(expert, n, in_axis=0)),
        ],
    )
    router, apart = children.named
    together = ("experts", vmapped(expert, n))

    def build(key: jax.Array, x: Any, visit: Any, path: str) -> Built:
        params: dict[str, Any] = {}
        state: dict[str, Any] = {}
        tokens = jax.eval_shape(_tokens, x)
        children.build_one(router, key, tokens, visit, path, params, state)
        y = children.build_one(together, key, tokens, visit, path, params, state)
        if state:
            needs = "an expert must keep no state, as the positions that it sees change from step to step"
            raise bad_value("mixture_of_experts", needs, state["experts"])
        if not hasattr(y, "shape") or y.shape[:-1] != (n, len(tokens)):
            needs = f"an expert must give (positions, out) for its input, {describe(tokens)}"
            one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), y)
            raise bad_value("mixture_of_experts", needs, one)
        output = jax.eval_shape(lambda x, y: _like(x, y[0]), x, y)
        dtype = jnp.promote_types(jnp.result_type(tokens.dtype, params["router"]["kernel"].dtype), jnp.float32)
        return Built(params, {"aux_loss": jnp.zeros((), dtype)}, output)

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        new = {"aux_loss": state["aux_loss"]}

        def run(child: Any, x: Any) -> jax.Array:
            return children.apply_one(child, params, state, x, new, train=train, key=key)

        tokens, where = _tokens(x), _real(x)
        logits = run(router, tokens.astype(jnp.promote_types(tokens.dtype, jnp.float32)))
        weights, chosen = F.top_k_gates(logits, top_k)
        if train and capacity is not None and len(tokens):
            room = min(len(tokens), math.ceil(capacity * top_k * len(tokens) / n))
            y = _through_queues(tokens, weights, chosen, where, n, room, lambda queues: run(apart, queues))
        else:
            gates = jnp.sum(weights[..., None] * jax.nn.one_hot(chosen, n, dtype=weights.dtype), axis=1)
            each = run(together, tokens)
            # As a product of matrices, one small one a token, this would take five times as long on CPU.
            y = jnp.sum(gates.T[..., None] * each, axis=0).astype(each.dtype)
        if train:
            loss = balance * F.load_balance(logits, chosen, where)
            new["aux_loss"] = loss.astype(state["aux_loss"].dtype)
        return _like(x, y), new

    return build, apply, each_position(apply)


def _through_queues(
    tokens: jax.Array, weights: jax.Array, chosen: jax.Array, where: Any, n: int, room: int, experts: Any
) -> jax.Array:
    """Each expert over the first ``room`` tokens of its queue, and what they give brought back to the tokens."""
    place = F.queue_places(chosen, n, where)
    kept = place < room if where is None else (place < room) & where[:, None]
    slot = jnp.where(kept, chosen * room + place, n * room)  # what is not kept lies beyond the end, and reads as 0
    numbers = jnp.broadcast_to(jnp.arange(len(tokens))[:, None], slot.shape)
    source = jnp.full(n * room, len(tokens)).at[slot].set(numbers, mode="drop")
    queues = tokens.at[source].get(mode="fill", fill_value=0)
    y = experts(queues.reshape(n, room, tokens.shape[1]))
    picked = y.reshape(n * room, y.shape[-1]).at[slot].get(mode="fill", fill_value=0)
    return jnp.sum(weights[..., None] * picked, axis=1).astype(y.dtype)


def _tokens(x: Any) -> jax.Array:
    """All positions in a row: ``(positions, features)``."""
    array = positions("mixture_of_experts", x)
    floating("mixture_of_experts", "input", array)
    if array.ndim < 2:
        raise bad_value("mixture_of_experts", "input must have at least two axes, (…, features)", array)
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def _real(x: Any) -> jax.Array | None:
    """Which positions are real, in a row; None for all."""
    if not isinstance(x, Ragged):
        return None
    shape = x.x.shape[:-1]
    mask = x.mask()
    return jnp.broadcast_to(mask.reshape(*mask.shape, *[1] * (len(shape) - 2)), shape).reshape(math.prod(shape))


def _like(x: Any, y: jax.Array) -> Any:
    """Positions in a row, ``(positions, out)``, back where they were in ``x``."""
    if isinstance(x, Ragged):
        return Ragged(_like(x.x, y), x.lengths)
    return y.reshape(*x.shape[:-1], y.shape[-1])
