"""How fast this machine is at best, measured: its products of matrices, and its copying."""

import importlib.util
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from benchmarks import machine
from benchmarks.runner import Record

SIDES = {"cpu": (512, 1024, 2048), "gpu": (4096, 8192)}
MEGABYTES = {"cpu": (1, 4, 16, 64, 256), "gpu": (16, 256, 2048)}
"""Sizes of the arrays that are copied; source and result together are twice that."""


class Work(NamedTuple):
    """Of a step: floating-point operations, those of them in products and convolutions, and bytes that must move."""

    operations: int
    products: int
    bytes: int


def best(function: Callable[[], Any], seconds: float) -> float:
    """The least time of a call, over about so many seconds and at least three of them."""
    function()
    found: list[float] = []
    while len(found) < 3 or sum(found) < seconds:
        begun = time.perf_counter()
        function()
        found.append(time.perf_counter() - begun)
    return min(found)


Kernels = dict[str, Callable[[], Any]]


def products(side: int) -> Kernels:
    """The product of two square matrices, by each library that is there."""
    return {name: make() for name, make in _libraries(_numpy_product, _jax_product, _torch_product, side)}


def copies(count: int) -> Kernels:
    """Reading and writing so many float32 numbers."""
    return {name: make() for name, make in _libraries(_numpy_copy, _jax_copy, _torch_copy, count)}


def _libraries(numpy: Any, jax: Any, torch: Any, size: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    yield "jax", lambda: jax(size)
    if machine.platform() == "cpu" and machine.dtype() == "float32":
        yield "numpy", lambda: numpy(size)
    if importlib.util.find_spec("torch") is not None:
        yield "torch", lambda: torch(size)


def _numpy_product(side: int) -> Callable[[], Any]:
    a = np.ones((side, side), np.float32)
    return lambda: a @ a


def _numpy_copy(count: int) -> Callable[[], Any]:
    a, b = np.ones(count, np.float32), np.empty(count, np.float32)
    return lambda: np.copyto(b, a)


def _jax_product(side: int) -> Callable[[], Any]:
    import jax
    import jax.numpy as jnp

    a = jnp.ones((side, side), machine.dtype())
    f = jax.jit(jnp.matmul)
    return lambda: f(a, a).block_until_ready()


def _jax_copy(count: int) -> Callable[[], Any]:
    import jax
    import jax.numpy as jnp

    # Into the same two buffers again and again, as a program that trains does.
    f = jax.jit(lambda a, b: (b, a + 1), donate_argnums=1)
    held = [(jnp.ones(count, jnp.float32), jnp.ones(count, jnp.float32))]

    def copy() -> None:
        a, b = held.pop()
        held.append(jax.block_until_ready(f(a, b))[::-1])

    return copy


def _torch_product(side: int) -> Callable[[], Any]:
    import torch

    torch.set_num_threads(machine.cpu_count())
    torch.set_float32_matmul_precision("high")
    at = "cuda" if machine.platform() == "gpu" else "cpu"
    a = torch.ones(side, side, dtype=getattr(torch, machine.dtype()), device=at)
    return _settled(lambda: a @ a)


def _torch_copy(count: int) -> Callable[[], Any]:
    import torch

    at = "cuda" if machine.platform() == "gpu" else "cpu"
    a, b = torch.ones(count, device=at), torch.empty(count, device=at)
    return _settled(lambda: b.copy_(a))


def _settled(function: Callable[[], Any]) -> Callable[[], Any]:
    """The same, waiting for a GPU where there is one."""
    import torch

    def settled() -> None:
        function()
        if machine.platform() == "gpu":
            torch.cuda.synchronize()

    return settled


def measure(seconds: float = 0.3) -> Record:
    """The best rates: operations a second, and bytes a second of working sets of several sizes."""
    rates: dict[str, float] = {}
    for side in SIDES[machine.platform()]:
        for name, product in products(side).items():
            rates[f"{name}, {side} square"] = 2 * side**3 / best(product, seconds)
    fastest = max(rates, key=lambda name: rates[name])
    moves: dict[str, Any] = {}
    for megabytes in MEGABYTES[machine.platform()]:
        count = megabytes * 2**20 // 4
        by = {name: 8 * count / best(copy, seconds / 2) for name, copy in copies(count).items()}
        moves[str(8 * count)] = max(by.values())
    return {
        "limit": {"operations": rates[fastest], "by": fastest, "bytes": moves},
        "platform": machine.platform(),
        "dtype": machine.dtype(),
        **machine.describe(),
    }


def bandwidth(limit: Record, working_set: float) -> float:
    """Bytes a second, as measured with the largest working set that is no larger than this one: so caches are allowed
    for, and the limit errs to the fast side.
    """
    sizes = sorted(map(int, limit["bytes"]))
    fitting = [size for size in sizes if size <= working_set] or sizes[:1]
    return float(limit["bytes"][str(fitting[-1])])


def least_seconds(limit: Record, work: Work) -> float:
    """What a step takes at least: its operations at the best rate, or its bytes at the bandwidth if that is longer."""
    return max(work.operations / limit["operations"], work.bytes / bandwidth(limit, work.bytes))
