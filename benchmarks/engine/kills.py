"""A run that is killed at random moments and begun again each time: does it come to the same bits?

Each life is a process of its own, forked from one that has imported everything but has not touched a device. It tells
of each program that is done; the kill comes some programs and a random moment later, so that it lands while steps are
computed, copied, written and removed; or before the first of them, while the last checkpoint is read. Every life has
another number of steps a program.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint  # noqa: F401  (once, not in each life)

import jaxdl as dl
from jaxdl import layers as L

KINDS = ("arrays", "source", "stream")
kills = 200
RNG = np.random.default_rng(0)
DATA = {"x": RNG.normal(size=(50, 4)).astype(np.float32), "y": RNG.integers(0, 3, 50).astype(np.int32)}
MODEL = dl.sequential(L.dense(8), jnp.tanh, L.batch_norm(), L.dropout(0.3), L.dense(3))


class Source:
    """Examples one by one, as from a disk."""

    def __len__(self) -> int:
        return len(DATA["y"])

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: leaf[index] for name, leaf in DATA.items()}


def stream(epoch: int, start: int) -> Iterator[dict[str, Any]]:
    """Batches from any step on, the last of them smaller."""
    order = dl.data.epoch_order(len(DATA["y"]), seed=0, epoch=epoch)
    for step in range(start, 7):
        rows = order[8 * step : 8 * step + 8]
        yield {name: leaf[rows] for name, leaf in DATA.items()}


def train(kind: str, result: Path, epochs: int, **arguments: Any) -> None:
    """A whole run, and what it comes to: the leaves of the train state, and the history."""
    data: Any = {"arrays": DATA, "source": Source(), "stream": stream}[kind]
    size = {} if kind == "stream" else {"batch_size": 8}
    state, history = dl.fit(
        MODEL,
        data,
        loss=dl.losses.cross_entropy,
        optimizer=optax.adam(optax.exponential_decay(1e-2, 10, 0.99)),
        epochs=epochs,
        metrics={"accuracy": dl.metrics.accuracy},
        validation=DATA,
        progress=False,
        **size,
        **arguments,
    )
    history.pop("seconds")
    keyless = jax.random.key_data(state.key)
    np.savez(result.with_suffix(".npz"), *map(np.asarray, jax.tree.leaves(state.replace(key=keyless))))
    result.with_suffix(".json").write_text(json.dumps(history))


def life(kind: str, folder: Path, epochs: int, every: int) -> tuple[int, int]:
    """Begin or go on in a process of its own; its number, and the end of a pipe that tells of each program."""
    told, tell = os.pipe()
    if child := os.fork():
        os.close(tell)
        return child, told
    code = 1
    try:
        dl.enable_compile_cache(folder.parent / "programs")
        saved = {"checkpoint": dl.Checkpoint(folder, every_steps=every), "resume": True} if every else {}

        def note(event: dl.train.Event) -> None:
            if event.kind == "program":
                os.write(tell, b".")

        train(kind, folder, epochs, callbacks=[note], **saved)
        code = 0
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def ended(child: int, told: int) -> int:
    os.close(told)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(kind: str, count: int) -> dict[str, Any]:
    """A run that is killed so often, beside one that is not."""
    generator, epochs, landed, lives = random.Random(kind), max(4, 5 * count), 0, 0
    with tempfile.TemporaryDirectory() as place:
        whole, broken = Path(place) / "whole", Path(place) / "broken"
        if code := ended(*life(kind, whole, epochs, 0)):
            raise SystemExit(f"the whole run ended with {code}")
        while True:
            child, told = life(kind, broken, epochs, generator.choice([1, 2, 3, 5]))
            lives += 1
            if landed < count:
                programs = generator.randrange(8)
                while programs and os.read(told, 1):
                    programs -= 1
                time.sleep(generator.uniform(0, 0.2 if lives % 4 else 2))
                os.kill(child, signal.SIGKILL)
            code = ended(child, told)
            if code == 0:
                break
            if code != -signal.SIGKILL:
                raise SystemExit(f"life {lives} ended with {code}")
            landed += 1
            print(f"{kind}: killed {landed} of {count}", file=sys.stderr, flush=True)
        with np.load(f"{whole}.npz") as one, np.load(f"{broken}.npz") as other:
            same = [np.array_equal(one[name], other[name]) for name in one.files]
            same += [one.files == other.files]
        histories = [path.with_suffix(".json").read_text() for path in (whole, broken)]
    equal = all(same) and histories[0] == histories[1]
    return {"kills": landed, "lives": lives, "steps": 7 * epochs, "equal": equal}


def killing(rounds: int) -> Iterator[list[str]]:
    """A third of the kills for each kind of data; the parameter is there for the others: once is enough."""
    for kind, count in zip(KINDS, (kills - 2 * (kills // 3), kills // 3, kills // 3), strict=True):
        command = [sys.executable, "-m", "benchmarks.engine.kills", kind, str(count)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=Path(__file__).parents[2])
        found = json.loads(done.stdout.splitlines()[-1])
        equal = "all" if found["equal"] else "NOT ALL"
        yield [kind, str(found["kills"]), str(found["lives"] - 1), f"{found['steps']:,}", equal]


TABLES = {"kills": (["killed with -9", "kills", "resumed", "steps", "bits as of the whole run"], killing)}

if __name__ == "__main__":
    print(json.dumps(killed(sys.argv[1], int(sys.argv[2]))))
