"""Seeing what passes through the layers of a model: what is wanted is asked for in the state, and comes back in it.

State reaches each layer of a model and comes back from it, through loops, maps and programs alike. So a layer is
watched by one more entry of its state, of a name that no layer's own can have. Nothing is kept anywhere else, and
where no state asks nothing is traced: :func:`jaxdl.inspect.intermediates` puts the entries in and takes them out.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.core.contract import State

WATCH = "*"
"""The entry of a watched layer's state. Of a member of a stack, whose state is the stack's own, it has one star more.

It holds ``{"input": …, "output": …}``: what is added to the floating leaves there, None for nothing. What comes back
under it are the input and the output themselves."""

Run = Callable[[State, Any], tuple[Any, State]]


def watched(run: Run, state: State, x: Any) -> tuple[Any, State]:
    """``run(state, x) -> (y, new state)`` of a layer; its input and output are in the new state if the state asks."""
    if WATCH not in state:
        return run(state, x)
    asked = state[WATCH]
    x = _moved(x, asked["input"])
    y, new = run({name: leaf for name, leaf in state.items() if name != WATCH}, x)
    y = _moved(y, asked["output"])
    return y, {**new, WATCH: {"input": x, "output": y}}


def watched_member(run: Run, state: State, x: Any) -> tuple[Any, State]:
    """:func:`watched` for a member of a stack, whose state is the stack's own."""
    if not any(map(_is_star, state)):
        return run(state, x)
    y, new = watched(run, {name[_is_star(name) :]: leaf for name, leaf in state.items()}, x)
    return y, {WATCH * _is_star(name) + name: leaf for name, leaf in new.items()}


def _is_star(name: str) -> bool:
    return name.startswith(WATCH)


def is_floating(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.floating)


def _moved(tree: Any, moves: Any) -> Any:
    if moves is None:
        return tree
    left = iter(moves)
    return jax.tree.map(lambda leaf: leaf + next(left) if is_floating(leaf) else leaf, tree)
