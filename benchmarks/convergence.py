"""``python -m benchmarks.convergence``: the fast forms train as the plain ones do, and half precision as the full one.

Each network is trained from several seeds with ``method="lax"`` and with ``method="auto"``, and with each policy of
``fit``, on data that :mod:`jaxdl.data` finds (by ``JAXDL_DATA_DIR``, or in its cache). It prints Markdown tables of
means over the seeds and their spread on data that were not trained on.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import jaxdl as dl
from benchmarks.report import table
from jaxdl import layers as L

FORMS: dict[str, list[tuple[str, str, str | None]]] = {
    "methods": [("lax", "lax", None), ("auto", "auto", None)],
    "policies": [("float32", "auto", None), ("bfloat16", "auto", "bfloat16"), ("float16", "auto", "float16")],
}
"""What is compared: a name, the method and the policy."""
CHARACTERS = 64
"""How many a sequence has."""


class Task(NamedTuple):
    """What is trained on what; ``model(method)`` makes the network."""

    about: str
    model: Callable[[str], Any]
    train: Any
    test: Any
    epochs: int
    batch_size: int
    rate: float


def cnn(method: str) -> Any:
    """Wide enough that its second convolution is filtered, by Winograd's forms."""
    return dl.sequential(
        L.conv(64, 3, strides=2, padding="SAME", method=method),
        jax.nn.relu,
        L.conv(64, 3, padding="SAME", method=method),
        jax.nn.relu,
        L.max_pool(2, method=method),
        L.flatten(),
        L.dense(128),
        jax.nn.relu,
        L.dense(10),
    )


def mnist(examples: int) -> Task:
    """The first of MNIST's digits, and 2,000 to test on."""
    train, test = dl.data.mnist()
    some = {name: values[:examples] for name, values in train.items()}
    held_out = {name: values[:2000] for name, values in test.items()}
    return Task(f"CNN, {examples:,} digits", cnn, some, held_out, 2, 64, 1e-3)


def characters(steps: int) -> Task:
    """The next character of tiny Shakespeare, for so many steps of 32 sequences; the test is from its last tenth."""
    text = np.frombuffer(dl.data.tiny_shakespeare().encode("ascii"), np.uint8)
    letters, ids = np.unique(text, return_inverse=True)
    cut = len(ids) * 9 // 10

    def windows(part: np.ndarray, count: int) -> dict[str, np.ndarray]:
        starts = np.linspace(0, len(part) - CHARACTERS - 1, count).astype(int)
        rows = part[starts[:, None] + np.arange(CHARACTERS + 1)].astype(np.int32)
        return {"x": rows[:, :-1], "y": rows[:, 1:]}

    def model(method: str) -> Any:
        return dl.sequential(L.embedding(len(letters), 32), L.lstm(128, method=method), L.dense(len(letters)))

    about = f"LSTM, {steps:,} steps of characters"
    return Task(about, model, windows(ids[:cut], 32 * steps), windows(ids[cut:], 256), 1, 32, 5e-3)


def outcomes(task: Task, form: tuple[str, str, str | None], seeds: int) -> Iterator[tuple[float, float, float]]:
    """Loss, accuracy and seconds for each seed."""
    name, method, policy = form
    model, optimizer = task.model(method), optax.adam(task.rate)
    measured = {"loss": dl.losses.cross_entropy, "metrics": {"accuracy": dl.metrics.accuracy}, "policy": policy}
    for seed in range(seeds):
        begun = time.perf_counter()
        state, _ = dl.fit(
            model,
            task.train,
            loss=dl.losses.cross_entropy,
            optimizer=optimizer,
            epochs=task.epochs,
            batch_size=task.batch_size,
            seed=seed,
            policy=policy,
            progress=False,
        )
        seconds = time.perf_counter() - begun
        found = dl.evaluate(model, state, task.test, **measured)
        print(f"{task.about}, {name}, seed {seed}: {found}, {seconds:.1f} s", file=sys.stderr)
        yield float(found["loss"]), float(found["accuracy"]), seconds


def rows(task: Task, forms: Sequence[tuple[str, str, str | None]], seeds: int) -> Iterator[list[str]]:
    """One row for each form."""
    for form in forms:
        losses, accuracies, seconds = zip(*outcomes(task, form, seeds), strict=True)
        share = [100 * value for value in accuracies]
        yield [task.about, form[0], spread(losses, ".4f"), spread(share, ".2f"), f"{statistics.median(seconds):.1f}"]


def spread(values: Sequence[float], form: str) -> str:
    """Mean, and the standard deviation where there are several."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):{form}} ± {deviation:{form}}"


HEAD = ["network", "form", "test loss", "test accuracy, %", "seconds"]


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.convergence", description="All forms learn the same.")
    parser.add_argument("--only", choices=FORMS, help="default: all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--digits", type=int, default=2000, help="examples of MNIST")
    parser.add_argument("--steps", type=int, default=300, help="steps over tiny Shakespeare")
    arguments = parser.parse_args(argv)
    for name in [arguments.only] if arguments.only else FORMS:
        tasks = [mnist(arguments.digits), *([characters(arguments.steps)] if name == "methods" else [])]
        found = [row for task in tasks for row in rows(task, FORMS[name], arguments.seeds)]
        print(table(HEAD, found, text_columns=2), end="\n\n")


if __name__ == "__main__":
    main()
