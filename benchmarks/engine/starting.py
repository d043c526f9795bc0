"""From a fresh process to the first step: imports, tracing, compiling; and with a cache of programs.

Peers' first calls are those that ``python -m benchmarks compare`` prints.
"""

import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

MODELS = ("mlp", "cnn", "lstm", "gpt")


def apart(*arguments: str) -> dict[str, float]:
    """What a first call takes in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.engine.first", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=Path(__file__).parents[2])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def medians(rounds: int, *arguments: str) -> dict[str, float]:
    found = [apart(*arguments) for _ in range(rounds)]
    return {name: statistics.median(one[name] for one in found) for name in found[0]}


def compiling(rounds: int) -> Iterator[list[str]]:
    """Seconds until the first steps of each model are done, and where they go."""
    for name in MODELS:
        found = medians(rounds, name)
        yield [name, *(f"{found[part]:.2f}" for part in ("first", "create", "trace", "lower", "compile"))]


def cached(rounds: int) -> Iterator[list[str]]:
    """Seconds from the start of Python to the first steps: without a cache, filling one, and finding all in it."""
    for name in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            without = medians(rounds, name)
            filling = apart(name, folder)
            finding = medians(rounds, name, folder)
        ratio = finding["total"] / without["total"]
        yield [name, *(f"{found['total']:.2f}" for found in (without, filling, finding)), f"{ratio:.2f}"]


def importing(rounds: int) -> Iterator[list[str]]:
    """Seconds to import packages, each in a process of its own."""
    for package in ("jax", "optax", "flax", "jaxdl", "flax.nnx", "torch", "keras"):
        if importlib.util.find_spec(package.partition(".")[0]) is None:
            continue
        code = f"import time; t = time.perf_counter(); import {package}; print(time.perf_counter() - t)"
        run = [sys.executable, "-c", code]
        times = [
            float(subprocess.run(run, stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-1])
            for _ in range(rounds)
        ]
        yield [package, f"{statistics.median(times):.2f}", f"{min(times):.2f}"]


TABLES: dict[str, tuple[list[str], Callable[[int], Iterator[list[str]]]]] = {
    "compile": (["first call, s", "in all", "create_state", "of fit: trace", "lower", "compile"], compiling),
    "cache": (["from start to first steps, s", "no cache", "filling it", "finding all", "ratio"], cached),
    "import": (["import, s", "median", "least"], importing),
}
