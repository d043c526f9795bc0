"""What a program that runs over several devices asks of the layers as it is traced.

It holds within one trace, and is part of the key under which JAX keeps what is traced within it: a function that is
jitted by itself is traced anew for another answer.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

import jax
from jax.lax import with_sharding_constraint

from jaxdl.core.select import flat_paths


class Where(Protocol):
    """Where arrays are to lie within a trace; it can be hashed, and equals one that says the same."""

    def used(self, path: str, leaf: Any) -> Any:
        """How a parameter is to lie where it is used; None for as it does."""

    def batch(self, shape: tuple[int, ...], before: int = 0) -> Any:
        """How an array is to lie whose axis ``before`` holds examples."""


class _Trace(NamedTuple):
    where: Where
    path: list[str]


_TRACE: ContextVar[_Trace | None] = ContextVar("jaxdl_spread", default=None)
_KEY = jax.make_user_context(None)


@contextmanager
def spreading(where: Where | None) -> Iterator[None]:
    """Within it, layers are traced for several devices; None changes nothing."""
    if where is None:
        yield
        return
    token = _TRACE.set(_Trace(where, []))
    try:
        with _KEY(where):
            yield
    finally:
        _TRACE.reset(token)


def is_spread() -> bool:
    """Whether what is traced will run over several devices: axes of a batch and others are then not to be merged, which
    would take a batch from device to device."""
    return _TRACE.get() is not None


def spread_parts(tree: Any) -> Any:
    """Arrays ``(parts, examples, …)`` of which each part is to be worked on by all devices, one after the other."""
    trace = _TRACE.get()
    if trace is None:
        return tree
    return jax.tree.map(lambda leaf: with_sharding_constraint(leaf, trace.where.batch(leaf.shape, before=1)), tree)


def inside(name: str) -> AbstractContextManager[None]:
    """Within it, layers are those under that name."""
    trace = _TRACE.get()
    return nullcontext() if trace is None else _inside(trace, name)


@contextmanager
def _inside(trace: _Trace, name: str) -> Iterator[None]:
    trace.path.append(name)
    try:
        yield
    finally:
        trace.path.pop()


def gathered(apply: Callable[..., Any], params: Any, *arguments: Any, key: jax.Array | None) -> Any:
    """``apply(params, *arguments, key=key)``, with the parameters as they are to lie there.

    What is gathered for it is gathered again for its derivative, and not kept until then: so within a stack of layers
    (:func:`jaxdl.repeat`) one layer's are there at a time. Elsewhere a compiler may see that they are gathered twice.
    """
    trace = _TRACE.get()
    if trace is None or not params:
        return apply(params, *arguments, key=key)
    home = "".join(f"{name}/" for name in trace.path)
    found = {path: trace.where.used(home + path, leaf) for path, leaf in flat_paths(params).items()}
    if not any(found.values()):
        return apply(params, *arguments, key=key)

    def applied(params: Any, key: jax.Array | None, *arguments: Any) -> Any:
        leaves, tree = jax.tree.flatten(params)
        pairs = zip(leaves, found.values(), strict=True)
        here = [leaf if where is None else with_sharding_constraint(leaf, where) for leaf, where in pairs]
        return apply(jax.tree.unflatten(tree, here), *arguments, key=key)

    return jax.checkpoint(applied, policy=_is_kept)(params, key, *arguments)


def _is_kept(primitive: Any, *_: Any, **__: Any) -> bool:
    return str(primitive) != "sharding_constraint"
