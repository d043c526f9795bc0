"""Many small models at once: ``dl.vmapped`` as one program, against a loop in Python over the same members.

Each member sees a batch of its own. Both have every member's state at hand and one compiled step that is donated it;
what a step costs is told for each member.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

import jaxdl as dl
from benchmarks import machine
from benchmarks.peers.jaxdl_models import MODELS
from benchmarks.runner import Record
from benchmarks.workloads import SEED, WORKLOADS, Workload

COUNTS = (1, 4, 16, 64, 256)
BATCH = 8
NAMES = ("mlp", "cnn")
ROUNDS = 5

Step = Callable[[Any, dict[str, jax.Array]], tuple[Any, Any]]


def each_loss(prediction: jax.Array, y: jax.Array) -> jax.Array:
    """The members' losses in sum, ``(batch,)``: the gradient of each is that of its own mean."""
    losses: jax.Array = jax.vmap(dl.losses.cross_entropy)(prediction, y).sum(0)
    return losses


def batches(workload: Workload, count: int) -> dict[str, jax.Array]:
    """A batch for each member, ``(count, batch, …)``."""
    data = replace(workload, examples=count * workload.batch).data()
    return {name: jnp.asarray(leaf.reshape(count, workload.batch, *leaf.shape[1:])) for name, leaf in data.items()}


def ensemble(workload: Workload, count: int) -> tuple[Step, dl.TrainState]:
    """A step of so many members over their batches, and where it begins."""
    model = dl.vmapped(MODELS[type(workload.network)](workload.network), count, in_axis=0)
    return made(model, each_loss, workload, batches(workload, count)["x"])


def single(workload: Workload) -> tuple[Step, dl.TrainState]:
    """A step of one model over a batch, and where it begins."""
    model = MODELS[type(workload.network)](workload.network)
    return made(model, dl.losses.cross_entropy, workload, batches(workload, 1)["x"][0])


def made(model: dl.Layer, loss: Any, workload: Workload, x: jax.Array) -> tuple[Step, dl.TrainState]:
    optimizer = optax.adam(workload.network.learning_rate)
    step = dl.make_step(dl.supervised(model, loss), optimizer)
    return jax.jit(step, donate_argnums=0), dl.train.create_state(model, optimizer, x, seed=SEED)


def together(workload: Workload, count: int) -> Callable[[], Any]:
    """Does one step of all members at once."""
    step, state = ensemble(workload, count)
    data, held = batches(workload, count), [state]

    def go() -> Any:
        held[0], metrics = step(held[0], data)
        return metrics

    return go


def one_by_one(workload: Workload, count: int) -> Callable[[], Any]:
    """Does one step of each member in turn."""
    step, state = single(workload)
    held = [jax.tree.map(partial(jnp.array, copy=True), state) for _ in range(count)]
    data = batches(workload, count)
    mine = [jax.tree.map(lambda leaf, i=i: leaf[i], data) for i in range(count)]

    def go() -> Any:
        metrics = None
        for i in range(count):
            held[i], metrics = step(held[i], mine[i])
        return metrics

    return go


FORMS = {"vmapped": together, "loop": one_by_one}


def timed(go: Callable[[], Any], steps: int) -> float:
    """Milliseconds of one of so many steps."""
    begun = time.perf_counter()
    for _ in range(steps):
        done = go()
    jax.block_until_ready(done)
    return 1e3 * (time.perf_counter() - begun) / steps


def measure(names: Sequence[str] = NAMES, counts: Sequence[int] = COUNTS, rounds: int = ROUNDS) -> Iterator[Record]:
    """Milliseconds a step and member of both forms, which take turns; the least of the rounds."""
    for name in names:
        workload = replace(WORKLOADS[name], batch=BATCH)
        for count in counts:
            forms = {form: make(workload, count) for form, make in FORMS.items()}
            steps = max(1, 64 // count)
            for go in forms.values():
                timed(go, 2)  # It compiles, and fills what it is donated.
            found: dict[str, list[float]] = {form: [] for form in forms}
            for _ in range(rounds):
                for form, go in forms.items():
                    found[form].append(timed(go, steps) / count)
            for form, times in found.items():
                labels = {"x_label": "members", "y_label": "ms a step and member"}
                told = {"curve": f"members of the {name}", "peer": form, "x": count, "y": min(times)} | labels
                place = {"platform": machine.platform(), "dtype": "float32", "device": jax.devices()[0].device_kind}
                yield told | place | machine.describe()
