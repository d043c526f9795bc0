"""That memory stays flat while a model is trained on a memory map that is larger than it."""

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import optax

import jaxdl as dl

WIDTH = 1024
gigabytes = 4.0


def own_bytes() -> int:
    """What this process holds itself: pages of files, which the system takes back when it needs them, do not count."""
    found = re.search(r"RssAnon:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def passing(rounds: int) -> Iterator[list[str]]:
    """The process' own memory at each tenth of a pass over a file with a hole for its contents, in megabytes.

    The parameter is there for the others: one pass is enough.
    """
    count = max(256, int(gigabytes * 1e9) // (4 * WIDTH))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.bin"
        with path.open("wb") as file:
            os.truncate(file.fileno(), count * WIDTH * 4)
        x = np.memmap(path, np.float32, "r", shape=(count, WIDTH))
        seen: list[tuple[float, int]] = []

        def look(event: dl.train.Event) -> None:
            if event.kind == "program" and event.steps and event.step / event.steps >= 0.1 * (len(seen) + 1):
                seen.append((event.step / event.steps, own_bytes()))

        dl.fit(
            dl.layers.dense(2),
            {"x": x, "y": np.zeros(count, np.int32)},
            loss=dl.losses.cross_entropy,
            optimizer=optax.sgd(0.1),
            epochs=1,
            batch_size=256,
            callbacks=[look],
        )
        del x
    first = seen[0][1]
    for share, used in seen:
        yield [f"{share:.0%} of {count * WIDTH * 4 / 1e9:.1f} GB", f"{used / 1e6:.0f}", f"{(used - first) / 1e6:+.0f}"]


TABLES = {"memory": (["a memory map, MB of the process' own", "used", "since the first tenth"], passing)}
