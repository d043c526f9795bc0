"""Timing a function inside a loop, and its fast form beside the plain one as a row of a table."""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

REPEATS = 3

Function = Callable[..., Any]


def milliseconds(f: Function, arguments: tuple[jax.Array, ...], seconds: float) -> float:
    """The time of ``f(*arguments)`` inside a ``fori_loop`` that takes about ``seconds``, the median of some."""

    def body(i: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        (x, *rest), results = carry
        # Each round depends on the one before by one element, and all results are carried: nothing can be moved out of
        # the loop or left out, and nothing else is computed.
        x = x.at[(0,) * x.ndim].add(1e-9 * sum(leaf.ravel()[0] for leaf in jax.tree.leaves(results)))
        return (x, *rest), f(x, *rest)

    @jax.jit
    def loop(arguments: tuple[jax.Array, ...], rounds: Any) -> Any:
        results = jax.tree.map(lambda spec: jnp.zeros(spec.shape, spec.dtype), jax.eval_shape(f, *arguments))
        return lax.fori_loop(0, rounds, body, (arguments, results))

    def timed(rounds: int) -> float:
        begun = time.perf_counter()
        jax.block_until_ready(loop(arguments, rounds))
        return (time.perf_counter() - begun) / rounds

    timed(1)
    rounds = max(2, round(seconds / timed(2)))
    return 1e3 * statistics.median(timed(rounds) for _ in range(REPEATS))


def forward(f: Function) -> Function:
    """``f`` alone."""
    return f


def gradients(wrt: tuple[int, ...], f: Function) -> Function:
    """The gradients of ``½ Σ y²``, ``y = f(…)``, whose cotangent is ``y`` itself: cheap, and no constant."""

    def energy(*arguments: jax.Array) -> jax.Array:
        y = f(*arguments)
        return 0.5 * jnp.vdot(y, y)

    return jax.grad(energy, wrt)


Round = Callable[[Function], Function]
"""What is measured of a function: itself, or its gradients."""


def beside(
    what: str,
    rounds: dict[str, Round],
    fast: Function,
    plain: Function,
    arguments: tuple[jax.Array, ...],
    seconds: float,
) -> list[str]:
    """A row: for each kind of round, milliseconds of the fast and of the plain form, and the plain over the fast."""
    print(f"measuring {what}", file=sys.stderr)
    cells = [what]
    for make in rounds.values():
        ours, theirs = (milliseconds(make(f), arguments, seconds) for f in (fast, plain))
        cells += [f"{ours:.3g}", f"{theirs:.3g}", f"{theirs / ours:.2g}"]
    return cells


def head(what: str, rounds: dict[str, Round]) -> list[str]:
    """The head of the table whose rows :func:`beside` makes."""
    return [what, *(cell for name in rounds for cell in (f"{name}: auto", "plain", "plain / auto"))]
