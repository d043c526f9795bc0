"""Pools whose windows lie apart, and such that overlap; a convolution and its pool in one piece."""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax

from benchmarks.lowerings.rounds import Measuring, Round, beside, forward, gradients
from jaxdl import functional as F

ROUNDS: dict[str, Round] = {"forward": forward, "gradient": functools.partial(gradients, (0,))}


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


def pool_rows(how: Measuring) -> Iterator[list[str]]:
    """One row for each of the pools."""
    for pooled in POOLED:
        x = jax.random.normal(jax.random.key(0), (pooled.batch, *(pooled.side,) * pooled.rank, pooled.channels))
        padding = "VALID" if pooled.window == pooled.stride else "SAME"
        f = functools.partial(F.max_pool, window=pooled.window, strides=pooled.stride, padding=padding)
        yield beside(str(pooled), ROUNDS, f, functools.partial(f, method="lax"), (x,), how)


TABLES = {"max_pool": (ROUNDS, pool_rows)}
