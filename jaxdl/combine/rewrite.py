"""A layer whose parameters are made of others: what tied, normalised and adapted weights have in common."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util

from jaxdl.core import Built, Decoding, Part, bad_value, build, flat_paths, select
from jaxdl.core.children import kind_of
from jaxdl.core.contract import LayerLike, Params, State
from jaxdl.core.layer import checked_result, decoding_of

Begin = Callable[[jax.Array, Params], tuple[Params, State]]
"""``(key, fresh parameters of the layer inside) -> (own parameters, own state)``."""

Make = Callable[[Params, State, bool], tuple[Params, State]]
"""``(own parameters, own state, update) -> (parameters of the layer inside, own state)``."""

At = Callable[[Params], Params]
"""A subtree of that shape of tree, where a part of the model stands; ``{}`` where there is none."""


def rewritten(
    kind: str, inner: LayerLike, begin: Begin, make: Make, *, share: Callable[[Params, At], Params] | None = None
) -> tuple[Any, Any, Decoding]:
    """``(build, apply, decoding)`` of ``inner``, over parameters that ``make`` turns into its own before each use.

    A state of one's own lies under the entry ``kind`` of the state, beside that of ``inner``. It is updated in
    training, by a batch of any example at all.

    **Args** ``share``: ``(own parameters, at) ->`` those that a part of the model has, for summaries; ``at`` takes the
    part's own subtree out of a tree.
    """

    def build_own(key: jax.Array, x: Any, visit: Any, path: str) -> Built:
        parts: list[Part] = []
        built = build(inner, key, x, None if visit is None else parts.append, path)
        params, own = begin(key, built.params)
        if kind in built.state:
            raise bad_value(kind, f"the layer inside must have no state of the name {kind!r}", sorted(built.state))
        for part in parts:
            names = part.path.removeprefix(path).strip("/").split("/") if part.path != path else []
            at = _subtree_at(names)
            shared = at(params) if share is None else share(params, at)
            aside = at(own)
            state = part.built.state | ({kind: aside} if aside else {})
            visit(part._replace(built=part.built._replace(params=shared, state=state)))
        return Built(params, _joined(kind, built.state, own), built.output)

    def apply(
        params: Params, state: State, x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        rest, own = _parted(kind, state)
        # A batch without examples leaves every state alone.
        update = train and all(leaf.size for leaf in jax.tree.leaves(x))
        inner_params, own = make(params, own, update)
        y, new = checked_result(kind_of(inner), inner.apply(inner_params, rest, x, train=train, key=key))
        return y, _joined(kind, new, own)

    def prefill(params: Params, state: State, x: Any, *, length: int) -> tuple[Any, dict[str, Any]]:
        rest, own = _parted(kind, state)
        y, cache = decoding_of(inner).prefill(make(params, own, False)[0], rest, x, length=length)
        return y, {"layer": cache, kind: own}

    def decode(params: Params, cache: Any, x: Any) -> tuple[Any, dict[str, Any]]:
        own = cache.get(kind, {})
        y, new = decoding_of(inner).decode(make(params, own, False)[0], cache.get("layer", {}), x)
        return y, {"layer": new, kind: own}

    return build_own, apply, Decoding(prefill, decode)


def kernels(kind: str, params: Params, where: str | Sequence[str]) -> dict[str, jax.Array]:
    """The leaves that match, by path: floating, with two or more axes."""
    chosen = flat_paths(select(kind, params, where))
    found = {path: leaf for path, leaf in flat_paths(params).items() if chosen[path]}
    for path, leaf in found.items():
        if leaf.ndim < 2 or not jnp.issubdtype(leaf.dtype, jnp.floating):
            needs = f"where must match floating kernels with two or more axes, (…, out); {path!r} does"
            raise bad_value(kind, needs, leaf)
    return found


def nested(flat: dict[str, Any]) -> Params:
    """The nested dicts of leaves, or subtrees, by path."""
    return traverse_util.unflatten_dict(flat, sep="/")


def _parted(kind: str, state: State) -> tuple[State, State]:
    return {name: leaf for name, leaf in state.items() if name != kind}, state.get(kind, {})


def _joined(kind: str, state: State, own: State) -> State:
    return {**state, kind: own} if own else state


def _subtree_at(names: list[str]) -> At:
    def at(tree: Params) -> Params:
        for name in names:
            tree = tree.get(name, {})
        return tree

    return at
