"""Timing a function inside a loop, and its fast form beside the plain one as a row of a table."""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

REPEATS = 3

Function = Callable[..., Any]
Timer = Callable[[Function, tuple[jax.Array, ...], float], float]


class Measuring(NamedTuple):
    """About how long each loop is measured, and what a row's name must hold."""

    seconds: float
    match: str = ""


def milliseconds(f: Function, arguments: tuple[jax.Array, ...], seconds: float) -> float:
    """The time of ``f(*arguments)`` inside a ``fori_loop`` that takes about ``seconds``, the median of some."""

    def body(i: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        arguments, results = carry
        # Each round depends on the one before by one element of each argument, and all results are carried: nothing,
        # such as a transformed kernel, can be moved out of the loop or left out, and nothing else is computed.
        little = 1e-9 * sum(leaf.ravel()[0] for leaf in jax.tree.leaves(results))
        arguments = tuple(x.at[(0,) * x.ndim].add(little.astype(x.dtype)) for x in arguments)
        return arguments, f(*arguments)

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


def milliseconds_by_itself(f: Function, arguments: tuple[jax.Array, ...], seconds: float) -> float:
    """The time of one call of ``f(*arguments)``, in no loop, as where a model is asked; the median of some."""
    call = jax.jit(f)

    def timed(calls: int) -> float:
        begun = time.perf_counter()
        for _ in range(calls):
            jax.block_until_ready(call(*arguments))
        return (time.perf_counter() - begun) / calls

    timed(1)
    calls = max(2, round(seconds / timed(2)))
    return 1e3 * statistics.median(timed(calls) for _ in range(REPEATS))


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
    how: Measuring,
    timer: Timer = milliseconds,
) -> list[str]:
    """A row: for each kind of round, milliseconds of the fast and of the plain form, and the plain over the fast.

    Nothing, and it is not measured, where its name does not hold what it must.
    """
    if how.match not in what:
        return []
    print(f"measuring {what}", file=sys.stderr)
    cells = [what]
    for make in rounds.values():
        ours, theirs = (timer(make(f), arguments, how.seconds) for f in (fast, plain))
        cells += [f"{ours:.3g}", f"{theirs:.3g}", f"{theirs / ours:.2g}"]
    return cells


def head(what: str, rounds: dict[str, Round]) -> list[str]:
    """The head of the table whose rows :func:`beside` makes."""
    return [what, *(cell for name in rounds for cell in (f"{name}: auto", "plain", "plain / auto"))]
