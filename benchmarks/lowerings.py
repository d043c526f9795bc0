"""Convolution and pooling, jaxdl's own forms beside plain lax: what the rules in ``jaxdl/functional/`` rest on.

``python -m benchmarks.lowerings [--only conv|conv_transpose|max_pool] [--seconds 0.4]`` prints milliseconds of a round
of a ``fori_loop``, since training runs in one, and there lax's convolutions are slower than by themselves. A gradient's
columns hold the forward pass as well.
"""

import argparse
import functools
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.report import table
from jaxdl import functional as F

REPEATS = 3


class Shape(NamedTuple):
    """A convolution of a square image (or line, or cube) with a square window."""

    batch: int
    rank: int
    side: int
    channels: int
    features: int
    window: int
    stride: int = 1
    groups: int = 1

    def __str__(self) -> str:
        spatial = "×".join([str(self.side)] * self.rank)
        kernel = "×".join([str(self.window)] * self.rank)
        stride = f", stride {self.stride}" if self.stride > 1 else ""
        groups = f", {self.groups} groups" if self.groups > 1 else ""
        return f"{self.batch} of {spatial}, {self.channels} → {self.features}, {kernel}{stride}{groups}"

    def arguments(self) -> tuple[jax.Array, jax.Array]:
        """An input and a kernel."""
        spatial, window = (self.side,) * self.rank, (self.window,) * self.rank
        x = jax.random.normal(jax.random.key(0), (self.batch, *spatial, self.channels))
        shape = (*window, self.channels // self.groups, self.features)
        return x, 0.05 * jax.random.normal(jax.random.key(1), shape)


CONVOLUTIONS = (
    Shape(32, 1, 100, 32, 64, 3),
    Shape(32, 1, 100, 64, 64, 5),
    Shape(32, 1, 1000, 1, 16, 9, 2),
    Shape(32, 2, 28, 1, 32, 3),
    Shape(256, 2, 28, 1, 32, 3),
    Shape(32, 2, 14, 1, 6, 5),
    Shape(32, 2, 32, 3, 16, 5),
    Shape(32, 2, 32, 3, 64, 3),
    Shape(32, 2, 32, 3, 64, 4, 4),
    Shape(8, 2, 64, 3, 64, 7, 2),
    Shape(32, 2, 16, 8, 16, 3),
    Shape(32, 2, 16, 16, 32, 3),
    Shape(32, 2, 13, 32, 64, 3),
    Shape(32, 2, 32, 64, 64, 1),
    Shape(32, 2, 16, 64, 128, 3, 2),
    Shape(32, 2, 32, 64, 64, 3),
    Shape(8, 2, 8, 256, 256, 3),
    Shape(4, 3, 16, 1, 16, 3),
    Shape(4, 3, 16, 16, 16, 3),
    Shape(32, 1, 100, 64, 64, 3, groups=64),
    Shape(32, 2, 14, 64, 64, 3, groups=64),
    Shape(32, 2, 14, 32, 64, 3, groups=32),
    Shape(8, 2, 28, 32, 32, 7, groups=32),
    Shape(16, 2, 14, 64, 64, 3, groups=8),
    Shape(16, 2, 14, 64, 64, 3, groups=2),
)

TRANSPOSED = (
    Shape(8, 1, 50, 64, 64, 4, 2),
    Shape(32, 2, 7, 64, 32, 4, 2),
    Shape(32, 2, 14, 32, 1, 4, 2),
    Shape(16, 2, 14, 64, 64, 3),
    Shape(16, 2, 7, 32, 32, 4, 2, 4),
    Shape(2, 3, 8, 16, 16, 4, 2),
)


class Pooled(NamedTuple):
    """What is pooled: by windows apart, or by windows that overlap and are padded."""

    batch: int
    rank: int
    side: int
    channels: int
    window: int = 2
    stride: int = 2

    def __str__(self) -> str:
        spatial = "×".join([str(self.side)] * self.rank)
        return f"{self.batch} of {spatial}, {self.channels}, window {self.window}, stride {self.stride}"


POOLED = (
    Pooled(32, 1, 100, 64),
    Pooled(32, 2, 26, 32),
    Pooled(256, 2, 26, 32),
    Pooled(32, 2, 32, 64),
    Pooled(32, 2, 13, 64),
    Pooled(4, 3, 16, 16),
    Pooled(32, 1, 100, 64, 3),
    Pooled(32, 2, 26, 32, 3),
    Pooled(16, 2, 56, 64, 3),
    Pooled(32, 2, 14, 64, 3, 1),
    Pooled(4, 3, 16, 16, 3),
    Pooled(8, 2, 28, 32, 5, 1),
)

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
CONV_ROUNDS: dict[str, Round] = {
    "forward": forward,
    "kernel gradient": functools.partial(gradients, (1,)),
    "both gradients": functools.partial(gradients, (0, 1)),
}
POOL_ROUNDS: dict[str, Round] = {"forward": forward, "gradient": functools.partial(gradients, (0,))}


def beside(
    what: str, rounds: dict[str, Round], f: Function, arguments: tuple[jax.Array, ...], seconds: float
) -> list[str]:
    """A row: for each kind of round, milliseconds of ``method="auto"`` and of ``"lax"``, and the one over the other."""
    print(f"measuring {what}", file=sys.stderr)
    cells = [what]
    for make in rounds.values():
        auto, plain = (
            milliseconds(make(functools.partial(f, method=method)), arguments, seconds) for method in ("auto", "lax")
        )
        cells += [f"{auto:.3g}", f"{plain:.3g}", f"{plain / auto:.2g}"]
    return cells


def head(what: str, rounds: dict[str, Round]) -> list[str]:
    return [what, *(cell for name in rounds for cell in (f"{name}: auto", "lax", "lax / auto"))]


def conv_rows(seconds: float) -> Iterator[list[str]]:
    """One row for each of the convolutions."""
    for shape in CONVOLUTIONS:
        f = functools.partial(F.conv, strides=shape.stride, groups=shape.groups)
        yield beside(str(shape), CONV_ROUNDS, f, shape.arguments(), seconds)


def conv_transpose_rows(seconds: float) -> Iterator[list[str]]:
    """One row for each of the transposed convolutions."""
    for shape in TRANSPOSED:
        f = functools.partial(F.conv_transpose, strides=shape.stride, padding="SAME", groups=shape.groups)
        yield beside(str(shape), CONV_ROUNDS, f, shape.arguments(), seconds)


def pool_rows(seconds: float) -> Iterator[list[str]]:
    """One row for each of the pools."""
    for pooled in POOLED:
        x = jax.random.normal(jax.random.key(0), (pooled.batch, *(pooled.side,) * pooled.rank, pooled.channels))
        padding = "VALID" if pooled.window == pooled.stride else "SAME"
        f = functools.partial(F.max_pool, window=pooled.window, strides=pooled.stride, padding=padding)
        yield beside(str(pooled), POOL_ROUNDS, f, (x,), seconds)


TABLES = {
    "conv": (CONV_ROUNDS, conv_rows),
    "conv_transpose": (CONV_ROUNDS, conv_transpose_rows),
    "max_pool": (POOL_ROUNDS, pool_rows),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lowerings", description="Forms of conv and max_pool.")
    parser.add_argument("--only", choices=TABLES, help="one of the tables")
    parser.add_argument("--seconds", type=float, default=0.4, help="about how long a loop is measured")
    arguments = parser.parse_args(argv)
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}; milliseconds a round\n")
    for name, (rounds, rows) in TABLES.items():
        if arguments.only in (None, name):
            print(table(head(name, rounds), list(rows(arguments.seconds))), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
