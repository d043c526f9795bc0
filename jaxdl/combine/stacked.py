"""One layer many times over stacked parameters: one after the other, or side by side."""

import functools
import zlib
from typing import Any

import jax
import numpy as np
from jax import lax

from jaxdl.core import Built, Decoding, bad_value, build, combinator, describe, specs
from jaxdl.core.checks import positive_int
from jaxdl.core.children import kind_of
from jaxdl.core.contract import LayerLike, Part, Visit
from jaxdl.core.layer import checked_result, decoding_of
from jaxdl.core.lift import lift
from jaxdl.core.watch import watched_member


@combinator
def repeat(layer: Any, n: int, *, remat: bool = False) -> Any:
    """``layer`` n times one after the other, each time with parameters of its own: ``y = f_{n−1}(… f_0(x))``.

    It is one :func:`jax.lax.scan` over stacked parameters: what is traced and compiled does not grow with n. Its
    numbers are those of ``sequential(("0", layer), ("1", layer), …)``, initial values and dropout masks included.

    **Shapes** ``x ->`` the same: the output must be like the input, in tree, shapes and dtypes.

    **Params**, **State** those of ``layer``, each leaf with a leading axis of n. To take out member i:
    ``jax.tree.map(lambda leaf: leaf[i], params)``.

    **Args** ``n``: how often; ``remat``: compute each pass anew for its gradient, and keep its input alone.

    **Raises** ``ValueError`` when the output is not like the input.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxdl.combine import residual
        >>> from jaxdl.layers import dense
        >>> stack = repeat(residual(dense(4), jnp.tanh), 12)
        >>> params, state = stack.init(jax.random.key(0), jnp.ones((1, 4)))
        >>> params["dense"]["kernel"].shape, stack.apply(params, state, jnp.ones((2, 4)), train=False)[0].shape
        ((12, 4, 4), (2, 4))
    """
    inner = lift("repeat", layer)
    positive_int("repeat", "n", n)
    if not isinstance(remat, bool):
        raise bad_value("repeat", "remat must be True or False", remat, "For a policy, repeat a remat(layer, policy=…)")

    def build_members(key: jax.Array, x: Any, visit: Any, path: str) -> Built:
        built = _members(inner, n, key, x, visit, path)
        _check_alike(x, built.output)
        return built

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        def once(x: Any, member: Any) -> tuple[Any, Any]:
            params, state, key = member
            y, new = _apply_member(inner, params, state, x, train, key)
            return _check_alike(x, y), new

        # Within a scan nothing can be merged with the first pass, so that the guard against it would only cost.
        body = jax.checkpoint(once, prevent_cse=False) if remat else once
        return lax.scan(body, x, (params, state, _member_keys(key, n)), length=n)

    def prefill(params: dict[str, Any], state: dict[str, Any], x: Any, *, length: int) -> tuple[Any, Any]:
        def once(x: Any, member: Any) -> tuple[Any, Any]:
            params, state = member
            y, cache = decoding_of(inner).prefill(params, state, x, length=length)
            return _check_alike(x, y), cache

        return lax.scan(once, x, (params, state), length=n)

    def decode(params: dict[str, Any], cache: Any, x: Any) -> tuple[Any, Any]:
        def once(x: Any, member: Any) -> tuple[Any, Any]:
            params, cache = member
            y, cache = decoding_of(inner).decode(params, cache, x)
            return _check_alike(x, y), cache

        return lax.scan(once, x, (params, cache), length=n)

    return build_members, apply, Decoding(prefill, decode)


@combinator
def vmapped(layer: Any, n: int, *, in_axis: int | None = None) -> Any:
    """An ensemble: n members of one layer side by side as one program, :func:`jax.vmap` over stacked parameters.

    Member i begins and draws with the key of its own that a child named ``str(i)`` would have.

    **Shapes** ``x ->`` what ``layer`` gives, each leaf with a leading axis of n (of a :class:`jaxdl.Ragged` output
    ``.x`` and ``lengths``: for ``in_axis=0`` of another ensemble, or one member at a time).

    **Params**, **State** those of ``layer``, each leaf with a leading axis of n.

    **Args** ``n``: the members; ``in_axis``: None gives the same input to each, 0 to each its own along a leading axis
    of n, as another ensemble gives it.

    **Raises** ``ValueError`` for another ``in_axis``, or an input without that leading axis.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxdl import layers, sequential
        >>> ensemble = vmapped(sequential(layers.dense(8), jnp.tanh, layers.dense(3)), 5)
        >>> params, state = ensemble.init(jax.random.key(0), jnp.ones((1, 2)))
        >>> y, _ = ensemble.apply(params, state, jnp.ones((4, 2)), train=False)
        >>> y.shape, y.mean(0).shape
        ((5, 4, 3), (4, 3))

    **References** Lakshminarayanan, Pritzel and Blundell, Simple and scalable predictive uncertainty estimation using
    deep ensembles, 2017.
    """
    inner = lift("vmapped", layer)
    positive_int("vmapped", "n", n)
    if in_axis is not None and (isinstance(in_axis, bool) or in_axis != 0):
        raise bad_value("vmapped", "in_axis must be None (one input for all) or 0 (one for each)", in_axis)

    def build_members(key: jax.Array, x: Any, visit: Any, path: str) -> Built:
        one = x if in_axis is None else jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(_own(leaf), leaf.dtype), x)
        built = _members(inner, n, key, one, visit, path)
        return built._replace(output=_stacked(built.output, n))

    def _own(leaf: Any) -> tuple[int, ...]:
        if leaf.shape[:1] != (n,):
            raise bad_value("vmapped", f"with in_axis=0, input must have a leading axis of {n}, the members", leaf)
        return leaf.shape[1:]

    def over_members(function: Any, *arguments: Any, x: Any) -> tuple[Any, Any]:
        if in_axis is not None:
            jax.tree.map(_own, x)
        axes = (0,) * len(arguments)
        return jax.vmap(function, (*axes, in_axis), axis_size=n)(*arguments, x)

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        def one(params: Any, state: Any, key: Any, x: Any) -> tuple[Any, Any]:
            return _apply_member(inner, params, state, x, train, key)

        return over_members(one, params, state, _member_keys(key, n), x=x)

    def prefill(params: dict[str, Any], state: dict[str, Any], x: Any, *, length: int) -> tuple[Any, Any]:
        one = functools.partial(decoding_of(inner).prefill, length=length)
        return over_members(one, params, state, x=x)

    def decode(params: dict[str, Any], cache: Any, x: Any) -> tuple[Any, Any]:
        return over_members(decoding_of(inner).decode, params, cache, x=x)

    return build_members, apply, Decoding(prefill, decode)


def _member_keys(key: jax.Array | None, n: int) -> Any:
    """The keys of children named ``"0"``, ``"1"``, …, stacked."""
    names = np.array([zlib.crc32(str(i).encode()) for i in range(n)], np.uint32)
    return None if key is None else jax.vmap(jax.random.fold_in, (None, 0))(key, names)


def _apply_member(inner: LayerLike, params: Any, state: Any, x: Any, train: bool, key: Any) -> tuple[Any, Any]:
    def run(state: Any, x: Any) -> tuple[Any, Any]:
        return checked_result(kind_of(inner), inner.apply(params, state, x, train=train, key=key))

    return watched_member(run, state, x)


def _members(inner: LayerLike, n: int, key: jax.Array, x: Any, visit: Visit | None, path: str) -> Built:
    """What n members are built of, stacked; the output spec is that of one.

    ``lax.map`` traces one member, and gives each just the numbers that it would have alone, whatever the generator.
    """
    x = specs(x)
    parts: list[Part] = []
    output: Any = None

    def one(key: jax.Array) -> tuple[Any, Any]:
        nonlocal output
        parts.clear()
        built = build(inner, key, x, parts.append, path)
        parts[:] = [part._replace(built=Built(*specs(part.built))) for part in parts]
        output = built.output
        return built.params, built.state

    params, state = lax.map(one, _member_keys(key, n))
    if visit is not None:
        for part in parts:
            params_, state_ = _stacked(part.built[:2], n)
            whole = Built(params_, state_, part.built.output)
            visit(part._replace(built=whole, stacks=((path, n), *part.stacks)))
    return Built(params, state, output)


def _stacked(tree: Any, n: int) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((n, *leaf.shape), leaf.dtype), tree)


def _check_alike(x: Any, y: Any) -> Any:
    """``y``, once it is like ``x``: only then can it be the next pass's input."""
    if specs(y) != specs(x):
        raise bad_value("repeat", f"the output must be like the input, {describe(x)}", y)
    return y
