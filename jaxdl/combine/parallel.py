"""Layers side by side."""

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core import Built, Decoding, Ragged, bad_type, bad_value, combinator, describe
from jaxdl.core.children import Children


@combinator
def parallel(*layers: Any, merge: str = "tuple") -> Any:
    """One layer for each element of a tuple: ``y_i = f_i(x_i)``.

    Children are named as in :func:`jaxdl.sequential`.

    **Shapes** a tuple of as many elements as there are layers ``->`` a tuple of their outputs, or what ``merge`` makes
    of it.

    **Args** ``merge``: ``"tuple"``, ``"add"`` or ``"concat"``, as in :func:`branch`. The lengths of ragged outputs that
    are added or concatenated must be equal; within a compiled function nobody sees whether they are.

    **Raises** ``TypeError`` for an input that is no such tuple; ``ValueError`` for shapes or lengths that do not fit,
    or another ``merge``.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxdl.layers import dense
        >>> both = parallel(("image", dense(3)), ("text", dense(2)))
        >>> x = jnp.ones((4, 7)), jnp.ones((4, 5))
        >>> params, state = both.init(jax.random.key(0), x)
        >>> jax.tree.map(jnp.shape, both.apply(params, state, x, train=False)[0])
        ((4, 3), (4, 2))
    """
    return _side_by_side("parallel", layers, _each_its_own, merge)


@combinator
def branch(*layers: Any, merge: str = "add") -> Any:
    """The same input to each layer, and their outputs added, concatenated or as a tuple.

    Children are named as in :func:`jaxdl.sequential`. Outputs that are :class:`jaxdl.Ragged`, of equal lengths, are
    merged in ``.x``.

    **Shapes** ``"add"``: all outputs of one shape, nothing is broadcast; ``"concat"``: ``(…, c_i) -> (…, Σ c_i)``,
    joined on the last axis.

    **Args** ``merge``: ``"add"``, ``"concat"`` or ``"tuple"``.

    **Raises** ``ValueError`` for shapes or lengths that do not fit, or another ``merge``.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxdl.layers import conv
        >>> module = branch(("narrow", conv(4, 1)), ("wide", conv(8, 3, padding="SAME")), merge="concat")
        >>> params, state = module.init(jax.random.key(0), jnp.ones((1, 6, 6, 3)))
        >>> module.apply(params, state, jnp.ones((2, 6, 6, 3)), train=False)[0].shape
        (2, 6, 6, 12)

    **References** Szegedy and others, Going deeper with convolutions, 2015.
    """
    return _side_by_side("branch", layers, lambda x, count: (x,) * count, merge)


def _side_by_side(kind: str, layers: tuple[Any, ...], inputs: Any, how: str) -> Any:
    """Children that do not see each other: ``inputs(x, count)`` gives one input each, and ``how`` says what is made of
    their outputs."""
    if how not in _MERGES:
        raise bad_value(kind, f"merge must be one of {', '.join(map(repr, _MERGES))}", repr(how))
    merge = functools.partial(_MERGES[how], kind)
    children = Children(kind, layers)
    count = len(layers)
    if not count:
        raise bad_value(kind, "there must be at least one layer", "none")

    def build(key: jax.Array, x: Any, visit: Any, path: str) -> Built:
        params: dict[str, Any] = {}
        state: dict[str, Any] = {}
        pairs = zip(children.named, inputs(x, count), strict=True)
        y = tuple(children.build_one(child, key, x, visit, path, params, state) for child, x in pairs)
        return Built(params, state, jax.eval_shape(merge, y))

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        new: dict[str, Any] = {}
        pairs = zip(children.named, inputs(x, count), strict=True)
        y = tuple(children.apply_one(child, params, state, x, new, train=train, key=key) for child, x in pairs)
        return merge(y), new

    def prefill(params: dict[str, Any], state: dict[str, Any], x: Any, *, length: int) -> tuple[Any, dict[str, Any]]:
        cache: dict[str, Any] = {}
        pairs = zip(children.named, inputs(x, count), strict=True)
        y = tuple(children.prefill_one(child, params, state, x, cache, length=length) for child, x in pairs)
        return merge(y), cache

    def decode(params: dict[str, Any], cache: dict[str, Any], x: Any) -> tuple[Any, dict[str, Any]]:
        new: dict[str, Any] = {}
        pairs = zip(children.named, inputs(x, count), strict=True)
        y = tuple(children.decode_one(child, params, cache, x, new) for child, x in pairs)
        return merge(y), new

    return build, apply, Decoding(prefill, decode)


def _each_its_own(x: Any, count: int) -> tuple[Any, ...]:
    if not isinstance(x, tuple) or len(x) != count:
        hint = "Did you mean branch(…), which gives the same input to each?" if hasattr(x, "shape") else ""
        raise bad_type("parallel", f"input must be a tuple of {count}, one element for each layer", x, hint)
    return x


def _add(kind: str, outputs: tuple[Any, ...]) -> Any:
    def total(arrays: list[Any]) -> Any:
        return functools.reduce(operator.add, arrays)

    return _merged(kind, outputs, lambda leaf: leaf.shape, total, "must have one shape, to be added")


def _concat(kind: str, outputs: tuple[Any, ...]) -> Any:
    def join(arrays: list[Any]) -> Any:
        return jnp.concatenate(arrays, axis=-1)

    needs = "must have one shape up to the last axis, to be joined"
    return _merged(kind, outputs, lambda leaf: leaf.shape[:-1], join, needs)


def _merged(kind: str, outputs: tuple[Any, ...], shape: Any, join: Any, needs: str) -> Any:
    """``join`` over the outputs, or over their ``.x``, once their kinds, shapes and lengths agree."""
    ragged = [isinstance(y, Ragged) for y in outputs]
    arrays = [y.x if isinstance(y, Ragged) else y for y in outputs]
    fit = all(hasattr(array, "shape") and array.shape for array in arrays) and len({*map(shape, arrays)}) == 1
    if not fit or len({*ragged}) > 1:
        raise bad_value(kind, f"the outputs of its layers {needs}", ", ".join(map(describe, outputs)))
    merged = join(arrays)
    if not ragged[0]:
        return merged
    lengths = outputs[0].lengths
    for other in (y.lengths for y in outputs[1:]):
        known = other is not lengths and not any(isinstance(each, jax.core.Tracer) for each in (lengths, other))
        if known and not np.array_equal(lengths, other):
            got = f"{np.asarray(lengths).tolist()} and {np.asarray(other).tolist()}"
            raise bad_value(kind, "the ragged outputs of its layers must have the same lengths", got)
    return Ragged(merged, lengths)


_MERGES = {"add": _add, "concat": _concat, "tuple": lambda kind, outputs: outputs}
