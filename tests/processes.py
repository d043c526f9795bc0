"""What runs over several processes: with the name of a function of this file and its arguments, the first one prints
what that finds as JSON, on a line of its own.

python -m jaxdl.launch --processes 2 tests/processes.py shares
"""

import hashlib
import json
import os
import signal
import sys
import time
import warnings
from pathlib import Path

import jax
import numpy as np
import optax
from jax.experimental import multihost_utils
from meshes import farthest, mlp, whole

import jaxdl as dl
from jaxdl import layers as L
from jaxdl.core.processes import Team
from jaxdl.train.checkpoint import Checkpoint, Store
from jaxdl.train.placement import placement_on
from jaxdl.train.shared_store import SharedStore

ASKED = {"loss": dl.losses.cross_entropy, "optimizer": optax.sgd(0.1, momentum=0.9), "progress": False}


class Recorded:
    """Examples by number; which were asked for is kept."""

    def __init__(self):
        _, self.x, self.y = mlp()
        self.read = []

    def __len__(self):
        return len(self.y)

    def __getitem__(self, row):
        self.read.append(int(row))
        return {"x": self.x[row].astype("float32"), "y": self.y[row]}


def alone(*arguments, **named):
    """A run of each process by itself, which it is warned of."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = dl.fit(*arguments, **named)
    return result, [str(warning.message) for warning in said]


def shares(folder):
    """A source that is read in chunks, a stream, and arrays: how far from one process, and who read and wrote what."""
    model, x, y = mlp()
    x = x.astype("float32")
    batches = [{"x": x[at : at + 16], "y": y[at : at + 16]} for at in (0, 16)]
    kinds = {
        "source": (Recorded(), {"batch_size": 16}),
        "stream": (lambda epoch, start: iter(batches[start:]), {}),
        "arrays": ((x, y), {"batch_size": 16}),
    }
    found, me = {}, jax.process_index()
    for name, (data, how) in kinds.items():
        how = ASKED | how | {"epochs": 2}
        (one, expected), said = alone(model, data, **how)
        if name == "source":
            data.read.clear()
        path = f"{folder}/{name}_{me}.csv"
        mesh = dl.mesh(data=-1)
        callbacks = [dl.train.history_file(path)]
        s, history = dl.fit(model, data, mesh=mesh, sharding="fsdp", callbacks=callbacks, **how)
        found[name] = farthest((s.params, history["loss"]), (one.params, expected["loss"]))
        found["warned"] = said
    read = sorted(kinds["source"][0].read[1:])  # without the one that shows what examples are like
    found["read"] = [int(count) for count in multihost_utils.process_allgather(np.array(len(read)))]
    found["files"] = sorted(path.name for path in Path(folder).iterdir())
    dl.interop.save_params(f"{folder}/params.safetensors", s.params)
    said = dl.predict(model, s, x), dl.predict(model, one, x)
    found["predicted"] = farthest(*said)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dl.predict(model, s, np.full_like(x, np.nan))
    told = sum("hold nan" in str(warning.message) for warning in caught)
    found["nan"] = [int(count) for count in multihost_utils.process_allgather(np.array(told))]
    if me == 0:
        found["saved"] = farthest(dl.interop.load_params(f"{folder}/params.safetensors"), one.params)
    return found


def bits(tree):
    """A digest of the bits of a train state."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        leaf = jax.random.key_data(leaf) if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        found.update(np.asarray(whole(leaf)).tobytes())
    return found.hexdigest()


def trained(folder, epochs, sharding, stop=""):
    """A run with checkpoints, gone on with where there are any; process ``stop`` is killed in its second epoch."""
    model, x, y = mlp()
    where = {"mesh": dl.mesh(data=-1), "sharding": sharding} if len(jax.devices()) > 1 else {}

    def kill(event):
        if str(jax.process_index()) == stop and event.kind == "program" and (event.epoch, event.step) == (2, 2):
            os.kill(os.getpid(), signal.SIGKILL)

    settings = Checkpoint(folder, every_steps=1)
    how = ASKED | {"epochs": int(epochs), "batch_size": 16, "callbacks": [kill], "checkpoint": settings}
    s, history = dl.fit(model, (x.astype("float32"), y), resume=True, **where, **how)
    return {"loss": history["loss"], "bits": bits(s)}


def long(folder):
    """A run of slow epochs, which a signal is to end."""
    model, x, y = mlp()
    how = ASKED | {"epochs": 50, "batch_size": 16, "checkpoint": folder, "resume": True, "progress": True}
    slow = [lambda event: time.sleep(2) if event.kind == "epoch" else None]
    _, history = dl.fit(model, (x.astype("float32"), y), mesh=dl.mesh(data=-1), callbacks=slow, **how)
    return {"epochs": len(history["epoch"])}


def stored(folder, damage=""):
    """A train state, saved twice by all processes or one, the later perhaps damaged ("flip" a bit, or "cut" what one
    process wrote, and alone reads again), and read onto other places."""
    model = dl.sequential(L.dense(512), jax.nn.relu, L.dense(4))
    team = Team(jax.process_count(), jax.process_index())
    one = dl.train.create_state(model, optax.adam(0.1), np.zeros((1, 256), "float32"))
    mesh = dl.mesh(data=-1)
    spread = placement_on("test", mesh, "fsdp").placed(one)
    store = SharedStore(Checkpoint(folder), team) if team.count > 1 else Store(Checkpoint(folder))
    if not store.numbers():
        for number in (1, 2):
            store.save(number, spread, {"number": number})
        store.wait()
    if damage:
        if team.is_first:
            spoil(f"{folder}/checkpoint_2/state", damage)
        team.wait("damaged")
    like = placement_on("test", mesh, "fsdp" if damage == "cut" else "data").placed(one)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        state, position = store.restore(like)
    store.close()
    lies = str(state.params["dense"]["kernel"].sharding.spec)
    return {"same": bits(state) == bits(one), "number": position["number"], "warned": len(said), "lies": lies}


def spoil(folder, damage):
    """Flip a bit in the middle of the largest file of the last process's arrays, or cut it there."""
    largest = max(Path(folder).glob("ocdbt.process_1/d/*"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content[: len(content) // 2] if damage == "cut" else content)


def differ(folder):
    """What a run says to what is not the same in all processes."""
    model, x, y = mlp()
    x, said, me = x.astype("float32"), [], jax.process_index()
    one = dl.train.create_state(model, ASKED["optimizer"], x, seed=me)
    batches = [{"x": x[at : at + 4], "y": y[at : at + 4]} for at in range(0, 40, 4)]
    sized = {"batch_size": 16}
    for data, how in (
        ((x + me, y), sized),
        ((x, y), sized | {"train_state": one}),
        ((x, y), sized | {"seed": me}),
        ((x, y), sized | {"validation": (x, y) if me else None}),
        ((x, y), sized | {"checkpoint": None if me else f"{folder}/first"}),
        ((x, y), sized | {"checkpoint": f"{folder}/own_{me}"}),
        (lambda epoch, start: iter(batches[start : 10 - me]), {}),
        (lambda epoch, start: iter(batches[start + me :]), {}),
    ):
        try:
            dl.fit(model, data, mesh=dl.mesh(data=-1), epochs=1, **(ASKED | how))
        except ValueError as error:
            said.append(str(error).partition(" than in process 0")[0])
    s, _ = dl.fit(model, (x, y), mesh=dl.mesh(data=-1), epochs=1, **ASKED, **sized)
    measured = {"loss": ASKED["loss"], "batch_size": 16}
    asked = lambda: dl.predict(model, s, x + me), lambda: dl.evaluate(model, s, (x + me, y), **measured)
    for ask in asked:
        try:
            ask()
        except ValueError as error:
            said.append(str(error).partition(" than in process 0")[0])
    time.sleep(0 if me else 25)  # the others wait for the first one, which draws pictures
    return said


def fails(index):
    """One process ends with an error in the middle of a run; the others would wait for it for ever."""
    model, x, y = mlp()

    def callback(event):
        if event.kind == "epoch" and event.epoch == 2 and str(jax.process_index()) == index:
            raise RuntimeError("this one does not go on")

    how = ASKED | {"epochs": 5, "batch_size": 16, "callbacks": [callback], "mesh": dl.mesh(data=-1)}
    dl.fit(model, (x.astype("float32"), y), **how)


def ends(status):
    """All end with this status."""
    sys.exit(int(status))


def sleeps():
    time.sleep(60)


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    result = json.dumps(globals()[what](*words))
    if jax.process_index() == 0:
        print(result)
