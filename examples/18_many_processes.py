"""One run over several processes: each reads its own share of the data, and none of them is needed to go on.

The same script runs as one process, as several on this machine, and on a cluster: its mesh is of the devices of all. A
batch is cut into shares, each process reads its own, and the order of the examples does not depend on how many there
are: so the result is that of one. The run is saved after each epoch, and goes on with another number of processes.

python examples/18_many_processes.py                                           # one process
python -m jaxdl.launch --processes 2 examples/18_many_processes.py             # two, on this machine
srun python -m jaxdl.launch examples/18_many_processes.py                      # as many as SLURM starts
python -m jaxdl.launch --processes 2 examples/18_many_processes.py --out runs/killed --kill 1      # one is killed, and
python -m jaxdl.launch --processes 3 examples/18_many_processes.py --out runs/killed               # three go on
"""

import os
import signal

import course
import jax
import numpy as np
import optax
from jax.experimental import multihost_utils

import jaxdl as dl
from jaxdl import layers as L


class Images:
    """Examples that are read one by one, as from files: a process is asked for its own alone."""

    def __init__(self, arrays):
        self.arrays, self.read = arrays, 0

    def __len__(self):
        return len(self.arrays["y"])

    def __getitem__(self, row):
        self.read += 1
        return {"x": self.arrays["x"][row], "y": self.arrays["y"][row]}


def killing(process, epoch):
    """A callback that ends one process at the end of an epoch, as a machine that fails does."""

    def kill(event):
        if event.kind == "epoch" and event.epoch == epoch and jax.process_index() == process:
            os.kill(os.getpid(), signal.SIGKILL)

    return kill


def draw(path, history, begun, reads):
    left, right = (figure := course.figure(10, 3.6)).subplots(1, 2)
    left.plot(history["epoch"], history["loss"], label="training loss")
    left.plot(history["epoch"], history["validation_loss"], label="validation loss")
    if begun:
        left.axvline(begun + 0.5, color="grey", linestyle=":", label="gone on from a checkpoint")
    left.set(xlabel="epoch", ylim=(0, None), title="One run")
    left.xaxis.get_major_locator().set_params(integer=True)
    left.legend(frameon=False)
    bars = right.barh([f"process {index}" for index in range(len(reads))], reads, color="#1f77b4")
    right.bar_label(bars, fmt="{:,.0f}", padding=3)
    right.invert_yaxis()
    right.margins(x=0.2)
    right.set(xlabel="examples", title="What each process read")
    figure.savefig(path, dpi=110)


def main():
    parser = course.parser(__doc__, "18_many_processes", ["digits", "mnist"])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument(
        "--kill", type=int, metavar="PROCESS", help="end this one after three epochs, as a failure does"
    )
    args = course.parse(parser, kill=0)
    is_first, count = jax.process_index() == 0, jax.process_count()
    train, test = course.images(args.dataset, args.seed)
    train, held_out = course.split(train, 0.1, args.seed)
    source = Images(train)
    parts = L.conv(32, 3), jax.nn.relu, L.max_pool(2), L.flatten(), L.dropout(0.25), L.dense(64), jax.nn.relu
    model = dl.sequential(*parts, L.dense(10))
    if is_first:
        print(dl.devices())
        print(dl.inspect.summary(model, train["x"][:1]))
    measured = {"loss": dl.losses.cross_entropy, "metrics": {"accuracy": dl.metrics.accuracy}}
    begun = []
    note = lambda event: begun.append(event.epoch) if event.kind == "begin" else None  # noqa: E731
    s, history = dl.fit(
        model,
        source,
        **measured,
        optimizer=optax.adam(1e-3),
        epochs=args.epochs,
        batch_size=60,  # divides by the devices, be they 2, 3, 4, 5 or 6
        validation=held_out,
        seed=args.seed,
        mesh=dl.mesh(data=-1),  # of the devices of all processes
        sharding="fsdp",  # each holds a share of the parameters
        checkpoint=dl.Checkpoint(args.out / "checkpoints", best="validation_loss", mode="min"),
        resume=True,
        callbacks=[note] if args.kill is None else [note, killing(args.kill, 3)],
    )
    seconds, reads = course.seconds(history), np.ravel(multihost_utils.process_allgather(np.array([source.read])))
    found = dl.evaluate(model, s, test, **measured)  # by all, each a share of the images
    dl.interop.save_params(args.out / "params.safetensors", s.params)  # all bring their share, the first one writes
    if is_first:
        draw(args.out / "processes.png", history, begun[0], reads)
        row = (f"CNN, {count} process{'es' * (count > 1)}", args.dataset, course.count(s.params))
        accuracy = course.Result(*row, "test accuracy", 100 * found["accuracy"], "%", seconds)
        read = course.Result(*row, "examples that each process read", 100 * reads.max() / reads.sum(), "%", seconds)
        course.report(args.out, [accuracy, read])


if __name__ == "__main__":
    main()
