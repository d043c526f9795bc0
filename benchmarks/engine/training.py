"""What ``run`` costs beside the compiled steps, and how loaders and checkpoints change it."""

import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxdl as dl
from benchmarks.engine.models import BATCH, Task, leaves, model, task
from jaxdl.data import epoch_order
from jaxdl.train.checkpoint import Store
from jaxdl.train.program import train_program, zero_totals

Timed = Callable[[], float]
"""Does some work, and gives the milliseconds of a step."""


def by_turns(
    forms: dict[str, Timed], rounds: int, pick: Callable[[list[float]], float] = statistics.median
) -> dict[str, float]:
    """The median (or another pick) of each form; they take turns, after one turn that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in forms}
    for number in range(1 + rounds):
        for name, form in forms.items():
            taken = form()
            if number:
                times[name].append(taken)
    return {name: pick(values) for name, values in times.items()}


def bare(what: Task, transform: Any = None, rounds: int = 1) -> Timed:
    """The compiled program alone, over the whole epoch in one go, ``rounds`` times."""
    steps = len(what.data["x"]) // what.batch
    arrays = jax.tree.map(jnp.asarray, what.data)
    order = jnp.asarray(epoch_order(steps * what.batch, seed=0, epoch=0).reshape(steps, what.batch))
    key, where = jax.random.key(np.uint32(0)), np.array([0, steps, 0, 0], np.int32)
    start = jax.tree.map(functools.partial(jnp.array, copy=True), what.state)
    held: list[Any] = [start, zero_totals(what.step, transform, None, start, arrays, order, key)]

    def timed() -> float:
        begun = time.perf_counter()
        for _ in range(rounds):
            held[:] = train_program(what.step, transform, None, *held, arrays, order, key, where)[:2]
            jax.block_until_ready(held[1])
        return 1e3 * (time.perf_counter() - begun) / (steps * rounds)

    return timed


def engine(what: Task, epochs: int, examples: Any = None, **arguments: Any) -> Timed:
    """``run`` with its progress on: the wall time from the end of the first epoch to the end of the last."""
    steps = len(what.data["x"]) // what.batch

    def timed() -> float:
        ends = []
        note = [lambda event: ends.append(time.perf_counter()) if event.kind == "epoch" else None]
        size = {} if examples is not None and callable(examples) else {"batch_size": what.batch}
        given = what.data if examples is None else examples
        dl.run(what.step, what.state, given, epochs=1 + epochs, callbacks=note, **size, **arguments)
        return 1e3 * (ends[-1] - ends[0]) / (steps * epochs)

    return timed


def dispatch(rounds: int) -> Iterator[list[str]]:
    """Long and short epochs of small steps, of many leaves, and of the mlp."""
    kinds = {
        "10 leaves": (leaves, 10, 20_000),
        "100 leaves": (leaves, 100, 5_000),
        "1,000 leaves": (leaves, 1000, 2_000),
        "mlp": (task, "mlp", 400),
        "10 leaves, epochs of 5 steps": (leaves, 10, 5),
        "100 leaves, epochs of 5 steps": (leaves, 100, 5),
        "mlp, epochs of 5 steps": (task, "mlp", 5),
    }
    for name, (make, size, steps) in kinds.items():
        what, epochs = make(size, steps), 200 if steps == 5 else 2
        found = by_turns({"bare": bare(what, rounds=epochs), "run": engine(what, epochs)}, rounds)
        lost = (found["run"] - found["bare"]) * steps
        cells = [f"{found['run']:.4g}", f"{found['bare']:.4g}", f"{found['run'] / found['bare']:.3f}", f"{lost:.3g}"]
        yield [name, str(steps), *cells]


def shares(rounds: int) -> Iterator[list[str]]:
    """The mlp and the cnn: one batch again and again, with shuffle and gather, metrics, bytes, augmentation."""
    augment = dl.data.augment.chain(dl.data.augment.crop(2), dl.data.augment.flip())
    for name in ("mlp", "cnn"):
        what = task(name, 8 if name == "cnn" else 60)
        first = {key: jnp.asarray(leaf[: BATCH[name]]) for key, leaf in what.data.items()}
        scored = dl.make_step(
            dl.supervised(model(name), dl.losses.cross_entropy, metrics={"accuracy": dl.metrics.accuracy}),
            what.step.optimizer,
        )
        raw = what._replace(data=what.data | {"x": (255 * what.data["x"]).astype(np.uint8)})
        forms = {
            "one batch": bare(what, lambda batch, key, first=first: first, 5),
            "gather": bare(what, None, 5),
            "metric": bare(what._replace(step=scored), None, 5),
            "bytes": bare(raw, lambda batch, key: batch | {"x": batch["x"].astype(jnp.float32) / 255}, 5),
            "augmented": bare(what, augment, 5),
        }
        found = by_turns(forms, rounds)
        yield [name, *(f"{found[form]:.3g}" for form in SHARES)]


SHARES = ("one batch", "gather", "metric", "bytes", "augmented")


def overlap(rounds: int) -> Iterator[list[str]]:
    """A loader that takes 0.8 of a step's time for each batch, asleep or at work on a core of its own."""
    name, steps = "mlp", 300
    what = task(name, steps)
    seconds = 0.8 * by_turns({"bare": bare(what)}, 1)["bare"] / 1e3
    numbers = np.random.default_rng(0).normal(size=(64, 64))
    apart: dict[str, float] = {}

    def busy() -> None:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            numbers @ numbers

    for kind, wait in {"none": lambda: None, "asleep": lambda: time.sleep(seconds), "at work": busy}.items():

        def batches(epoch: int, start: int, wait: Any = wait) -> Iterator[dict[str, np.ndarray]]:
            for rows in epoch_order(len(what.data["x"]), seed=0, epoch=epoch).reshape(steps, -1)[start:]:
                wait()
                yield {key: leaf[rows] for key, leaf in what.data.items()}

        found = by_turns({"resident": engine(what, 2), "stream": engine(what, 2, batches)}, rounds)
        share = f"{1e3 * seconds / found['resident']:.2f}" if kind != "none" else "0"
        apart[kind] = found["stream"] / found["resident"]
        times = (f"{found['stream']:.3g}", f"{found['resident']:.3g}")
        yield [kind, share, *times, f"{apart[kind]:.3f}", f"{apart[kind] / apart['none']:.3f}"]


def checkpoint(rounds: int) -> Iterator[list[str]]:
    """The mlp, saved every so many steps beside the training: the least of all rounds, since the writer and the steps
    share the cores with whatever else is at work."""
    what = task("mlp", 400)
    with tempfile.TemporaryDirectory() as folder:
        numbers = iter(range(10**6))

        def saved(every: int) -> Timed:
            def timed() -> float:
                place = Path(folder) / str(next(numbers))
                return engine(what, 2, checkpoint=dl.Checkpoint(place, every_steps=every))()

            return timed

        forms = {"never": engine(what, 2)} | {f"{every} steps": saved(every) for every in (50, 200)}
        found = by_turns(forms, rounds, min)
    for form, taken in found.items():
        each = f"{(taken - found['never']) * int(form.split()[0]):.3g}" if form != "never" else ""
        yield [form, f"{taken:.3g}", f"{taken / found['never']:.3f}", each]


def save(rounds: int) -> Iterator[list[str]]:
    """What one save takes by itself: the copy, for which the training waits, and the processor's time in all, which is
    the most that training loses where every core is at work. The least of all rounds."""
    kinds = {
        "mlp": task("mlp", 1).state,
        "100 leaves": leaves(100, 1).state,
        "1,000 leaves": leaves(1000, 1).state,
        "32 leaves of 4 MB": {str(i): jnp.full(2**20, float(i)) for i in range(32)},
    }
    for name, state in kinds.items():
        found = []
        with tempfile.TemporaryDirectory() as folder:
            store = Store(dl.Checkpoint(folder))
            for number in range(1, 2 + max(3, rounds)):
                begun, used = time.perf_counter(), time.process_time()
                store.save(number, state, {})
                copied = time.perf_counter()
                store.wait()
                found.append((copied - begun, time.perf_counter() - begun, time.process_time() - used))
            store.close()
        copy, wall, used = (min(column[1:]) for column in zip(*found, strict=True))
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) / 1e6
        times = [f"{1e3 * seconds:.3g}" for seconds in (copy, wall, used)]
        yield [name, f"{size:.3g}", *times, f"{used / 60:.2%}", f"{used / 0.03:.2g}"]


TABLES: dict[str, tuple[list[str], Callable[[int], Iterator[list[str]]]]] = {
    "dispatch": (
        ["dispatch", "steps an epoch", "run, ms a step", "program alone", "ratio", "ms more an epoch"],
        dispatch,
    ),
    "shares": (["ms a step, in the program", *SHARES], shares),
    "overlap": (["loader", "of a step's time", "stream, ms a step", "resident", "ratio", "over no wait"], overlap),
    "checkpoint": (["saved every", "ms a step", "ratio", "ms each save"], checkpoint),
    "save": (["a save of", "MB", "copy, ms", "in all", "processor", "once a minute", "3 % is once in … s"], save),
}
