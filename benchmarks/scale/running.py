"""Small steps that really run over the devices of this process."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxdl as dl
from benchmarks.scale import program
from benchmarks.scale.cases import Size
from benchmarks.scale.collectives import KINDS, step_collectives
from benchmarks.scale.measure import batches
from jaxdl.inspect import count_operations
from jaxdl.train.program import zero_totals

GPT = Size("small", 2, 128, 4, 32, vocabulary=256)
STEPS, ROUNDS = 5, 4


def gpt(batch: int) -> tuple[dl.Layer, Any, Any]:
    """A network, and a batch for it."""
    x = np.random.default_rng(0).integers(0, GPT.vocabulary, (batch, GPT.length), np.int32)
    return program.gpt(GPT, remat=False), x, np.roll(x, -1, 1)


def mlp(batch: int) -> tuple[dl.Layer, Any, Any]:
    """A network, and a batch for it."""
    random = np.random.default_rng(0)
    x = random.normal(size=(batch, 512)).astype(np.float32)
    return dl.models.mlp(512, 512, 16), x, random.integers(0, 16, batch, np.int32)


NETWORKS = {"gpt": gpt, "mlp": mlp}


def measured(network: str, preset: str, devices: int) -> list[dict[str, Any]]:
    """The steps of a network over the devices of this process: a record a batch."""
    return [_measured(network, preset, devices, batch) for batch in batches(network, devices)]


def _measured(network: str, preset: str, devices: int, batch: int) -> dict[str, Any]:
    model, x, y = NETWORKS[network](batch)
    step, place = program.step_of(model, "float32"), program.placed({"data": devices}, preset)
    state = place.created(model, program.OPTIMIZER, x[:1], seed=0)
    data, key = place.data({"x": x, "y": y}), jax.random.key(0)
    order = place.order(np.tile(np.arange(batch, dtype=np.int32), (STEPS, 1)))
    compiled = program.lowered(step, place, state, data, order).compile()
    text = compiled.as_text()
    held = program.bytes_on_one(state.params), program.bytes_on_one(state.opt_state)
    products = count_operations(step, state, data).products

    def run(state: Any) -> Any:
        totals = place.whole(zero_totals(step, None, None, state, data, order, key, placement=place))
        where = place.whole(np.array([0, STEPS, 0, 0], np.int32))
        jax.block_until_ready(totals)
        began = time.perf_counter()
        state, *_ = jax.block_until_ready(compiled(state, totals, data, order, place.whole(key), where))
        return state, (time.perf_counter() - began) / STEPS

    state, _ = run(state)
    found = []
    for _ in range(ROUNDS):
        state, seconds = run(state)
        found.append(seconds)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            _, seconds = run(state)
        share = in_collectives(folder) / (devices * STEPS * seconds)
    return {
        "network": network,
        "preset": preset,
        "devices": devices,
        "batch": batch,
        "seconds": min(found),
        "spread": statistics.median(found) / min(found) - 1,
        "in_collectives": share,
        "products": products,
        "state": sum(held),
        "gradients": held[0],
        "collectives": step_collectives(text, text, devices),
    }


def in_collectives(folder: str) -> float:
    """Seconds that a profile's devices together were within collectives, where they also wait for one another."""
    (path,) = Path(folder).rglob("*.xplane.pb")
    planes = jax.profiler.ProfileData.from_file(str(path)).planes
    events = (event for plane in planes for line in plane.lines for event in line.events)
    return 1e-9 * sum((float(event.duration_ns) for event in events if event.name.startswith(KINDS)), 0.0)
