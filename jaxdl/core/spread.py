"""What a program that runs over several devices asks of the layers as it is traced.

It holds within one trace only: no function of the library is jitted by itself, so that none is found in a cache with
the answer of another trace.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax
from jax.lax import with_sharding_constraint

from jaxdl.core.select import flat_paths

Gather = Callable[[str, Any], Any]
"""``(path, parameter) ->`` how the parameter is to lie where it is used; None for as it does."""


class _Trace(NamedTuple):
    gather: Gather
    path: list[str]


_TRACE: ContextVar[_Trace | None] = ContextVar("jaxdl_spread", default=None)


@contextmanager
def spreading(gather: Gather) -> Iterator[None]:
    """Within it, layers are traced for several devices, and each parameter is gathered so before it is used."""
    token = _TRACE.set(_Trace(gather, []))
    try:
        yield
    finally:
        _TRACE.reset(token)


def is_spread() -> bool:
    """Whether what is traced will run over several devices: axes of a batch and others are then not to be merged, which
    would take a batch from device to device."""
    return _TRACE.get() is not None


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

    What is gathered for it is gathered again for its derivative, and not kept until then.
    """
    trace = _TRACE.get()
    if trace is None or not params:
        return apply(params, *arguments, key=key)
    home = "".join(f"{name}/" for name in trace.path)
    found = {path: trace.gather(home + path, leaf) for path, leaf in flat_paths(params).items()}
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
