"""How a step's time and memory grow: with the batch, the width, the depth, the length of a sequence.

With memory against depth, and many small models at once (`members`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from benchmarks.runner import DisagreementError, Record
from benchmarks.turns import Say, by_turns
from benchmarks.workloads import WORKLOADS, find

PEERS = ("jaxdl", "torch", "nnx", "equinox")


class Curve(NamedTuple):
    """What is varied: for each value of ``x`` a workload, ``{x}`` in its text."""

    title: str
    x_label: str
    text: str
    values: tuple[int, ...]


CURVES = {
    "mlp-batch": Curve("mlp: batch", "batch", "mlp:batch={x},steps=20", (1, 16, 128, 1024)),
    "cnn-batch": Curve("cnn: batch", "batch", "cnn:batch={x},steps=8", (1, 16, 128, 1024)),
    "mlp-width": Curve("mlp: width", "width", "mlp:sizes=784x{x}x{x}x10,steps=20", (64, 256, 1024)),
    "gpt-depth": Curve("gpt: depth", "layers", "gpt:layers={x},steps=6", (1, 4, 12)),
    "gpt-length": Curve("gpt: length", "positions", "gpt:time={x},steps=4", (32, 128, 512)),
    "lstm-length": Curve("lstm: length", "steps of time", "lstm:time={x},steps=10", (25, 100, 400)),
}

MEMORY = "gpt-memory"
MEMORY_TITLE = "gpt: memory with and without remat"
MEMORY_LAYERS = (1, 2, 4, 8)
MEMBERS = "members"
NAMES = (*CURVES, MEMORY, MEMBERS)


def measure(names: Sequence[str], peers: Sequence[str], seconds: float, say: Say) -> Iterator[Record]:
    """The records of the curves of these names, one for each peer and point.

    **Raises** ``DisagreementError`` at the end where peers did not compute the same somewhere.
    """
    disagreed = []
    for curve, x in ((CURVES[name], x) for name in names if name in CURVES for x in CURVES[name].values):
        labels = {"x_label": curve.x_label, "y_label": "ms a step"}
        try:
            for record in by_turns(find(curve.text.format(x=x)), peers, 1, seconds, say):
                say(f"{curve.title} {x}: {record['peer']} {record['ms']['median']:.3g} ms")
                yield record | {"curve": curve.title, "x": x, "y": record["ms"]["median"]} | labels
        except DisagreementError as told:
            disagreed.append(str(told))
    if disagreed:
        raise DisagreementError("; ".join(disagreed))


def memory(layers: Sequence[int] = MEMORY_LAYERS, **sizes: Any) -> Iterator[Record]:
    """Megabytes that a compiled training step needs beside its arguments, of a GPT with its blocks in a row, through
    ``repeat``, and through ``repeat`` and computed once more for the gradient."""
    import jax
    import optax

    import jaxdl as dl
    from benchmarks.machine import describe
    from benchmarks.peers.jaxdl_models import gpt

    workload = WORKLOADS["gpt"]
    optimizer = optax.adam(1e-3)
    stacks: dict[str, Any] = {
        "jaxdl": lambda block, n: [block] * n,
        "jaxdl, repeat": lambda block, n: [dl.repeat(block, n)],
        "jaxdl, repeat and remat": lambda block, n: [dl.repeat(block, n, remat=True)],
    }
    for count in layers:
        network = replace(workload.network, layers=count, **sizes)
        batch = jax.tree.map(lambda leaf: leaf[: workload.batch], replace(workload, network=network).data())
        for peer, stack in stacks.items():
            model = gpt(network, stack)
            step = dl.make_step(dl.supervised(model, dl.losses.cross_entropy), optimizer)
            state = jax.eval_shape(lambda x, model=model: dl.train.create_state(model, optimizer, x), batch["x"])
            compiled = jax.jit(step, donate_argnums=0).lower(state, batch).compile()
            needs = compiled.memory_analysis().temp_size_in_bytes / 2**20
            labels = {"x_label": "layers", "y_label": "MB beside the arguments"}
            yield {"curve": MEMORY_TITLE, "peer": peer, "x": count, "y": needs} | labels | describe()
