"""What drawing the initial values takes, by how far its code is optimized: compiling it, and running it."""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

import jaxdl as dl
from benchmarks.engine.models import data, model

LEVELS = {"0": 0, "1, as create_state": 1, "as jax": None}


def large() -> tuple[Any, Any]:
    """The matrices of a Transformer of 12 layers, 124 M parameters in all."""

    def block() -> Any:
        widths = (3 * 768, 768, 4 * 768, 768)
        return dl.sequential(*[layer for width in widths for layer in (dl.layers.layer_norm(), dl.layers.dense(width))])

    blocks = [(f"block_{number}", block()) for number in range(12)]
    return dl.sequential(dl.layers.embedding(50_257, 768), *blocks), jax.ShapeDtypeStruct((1, 8), jnp.int32)


def drawn(layer: Any, x: Any, level: int | None) -> tuple[float, float]:
    """Seconds to compile ``init``, and to run it."""
    options = {} if level is None else {"xla_backend_optimization_level": level}
    key = jax.block_until_ready(jax.random.key(0))
    lowered = jax.jit(lambda key: layer.init(key, x)).lower(key)
    begun = time.perf_counter()
    compiled = lowered.compile(options)
    there = time.perf_counter()
    jax.block_until_ready(compiled(key))
    return there - begun, time.perf_counter() - there


def creating(rounds: int) -> Iterator[list[str]]:
    models: dict[str, Callable[[], tuple[Any, Any]]] = {
        "cnn": lambda: (model("cnn"), dl.core.specs(data("cnn", 1)["x"])),
        "124 M": large,
    }
    for name, make in models.items():
        found: dict[str, list[tuple[float, float]]] = {level: [] for level in LEVELS}
        for _ in range(rounds):
            for level, number in LEVELS.items():
                found[level].append(drawn(*make(), number))
        for level, times in found.items():
            compiling, running = (statistics.median(column) for column in zip(*times, strict=True))
            yield [f"{name}, {level}", f"{compiling:.2f}", f"{running:.2f}", f"{compiling + running:.2f}"]


TABLES = {"create": (["drawing initial values, s", "compile", "run", "in all"], creating)}
