"""What is trained, on what, and from where; in NumPy, so that all peers get the same."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from benchmarks.workloads.networks import (
    CNN,
    GPT,
    MLP,
    Arrays,
    Autoencoder,
    Conv3D,
    Deep,
    Network,
    Recurrent,
    UNet,
    ViT,
    Weights,
    WordBag,
)

SEED = 0


@dataclass(frozen=True)
class Workload:
    """A network and what is done with it: shuffled epochs of whole batches from fixed weights, or predictions.

    ``task`` is ``"train"``, or ``"predict"``: the forward pass, batch after batch in the order of the data.
    """

    name: str
    about: str
    network: Network
    batch: int
    examples: int
    task: Literal["train", "predict"] = "train"
    on: tuple[str, ...] = ("cpu", "gpu")
    """The platforms where it belongs to what is measured when nothing else is said."""
    drift: float = 1e-3
    """How far apart losses after an update may lie, relative, in float32. Adam's first updates have the same size for
    every weight: where batch norms leave gradients near zero, rounding decides their signs."""
    epoch_drift: float = 2e-2
    """The same for the mean loss of the first epoch, also of peers with an order or a dropout of their own."""
    note: str = ""
    """What is not the same in all peers."""

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self.examples // self.batch

    @property
    def random(self) -> bool:
        """Whether a step draws numbers, so that peers' losses agree on the whole alone."""
        return getattr(self.network, "dropout", 0.0) > 0

    def data(self) -> Arrays:
        """The examples, the same on every call."""
        return self.network.data(np.random.default_rng(SEED), self.examples)

    def weights(self) -> Weights:
        """The initial weights, the same on every call."""
        return self.network.weights(np.random.default_rng(SEED + 1))

    def order(self, epoch: int) -> np.ndarray:
        """The examples of each step of an epoch, ``(steps, batch)`` int32: the order in which jaxdl takes them too."""
        rng = np.random.Generator(np.random.Philox(key=np.array([SEED, epoch], np.uint64)))
        return rng.permutation(self.examples).astype(np.int32)[: self.steps * self.batch].reshape(-1, self.batch)


GPT124M = GPT(layers=12, heads=12, width=768, time=1024, vocabulary=50_257)

BATCH_NORMS = {"drift": 2e-2, "epoch_drift": 5e-2}
SECOND_BIAS = "torch, nnx and keras train a second bias in the gates r and z: the same function, with more to update"

_ALL = (
    Workload("mlp", "784-256-128-10, batch 128", MLP(), 128, 128 * 200),
    Workload("ae", "784-128-32-128-784, batch 128", Autoencoder(), 128, 128 * 200),
    Workload("cnn", "the course's MNIST CNN, batch 32", CNN(), 32, 32 * 200),
    Workload("cnn256", "the course's MNIST CNN, batch 256", CNN(), 256, 256 * 30),
    Workload("deep", "8 convolutions 3×3 (64–512) + batch norm, 32×32×3, batch 64", Deep(), 64, 64 * 3, **BATCH_NORMS),
    Workload("rnn", "embedding 1000×32, simple RNN 32, 100 long, batch 32", Recurrent("simple_rnn", 32), 32, 32 * 200),
    Workload("lstm", "the same, LSTM 64", Recurrent("lstm", 64), 32, 32 * 80),
    Workload("gru", "the same, GRU 64", Recurrent("gru", 64), 32, 32 * 80, note=SECOND_BIAS),
    Workload("gpt", "4 layers, 4 heads, 128 wide, 64 long, batch 12", GPT(), 12, 12 * 20),
    Workload("gpt_dropout", "the same, dropout 0.1", GPT(dropout=0.1), 12, 12 * 20),
    Workload("vit", "32×32×3 in patches 4×4, 4 layers, 4 heads, 128 wide, batch 32", ViT(), 32, 32 * 8),
    Workload("unet", "64×64, 16-32-64 channels, transposed convolutions, batch 8", UNet(), 8, 8 * 10),
    Workload("conv3d", "16×16×16, 2 convolutions 3×3×3 (16, 32), batch 16", Conv3D(), 16, 16 * 20),
    Workload("embedding", "a word from 8 of 50,000, 64 wide, batch 256", WordBag(), 256, 256 * 6),
    Workload("gpt124m", "12 layers, 12 heads, 768 wide, 1024 long, batch 8", GPT124M, 8, 8 * 10, on=("gpu",)),
    Workload("inference1", "the CNN's prediction, batch 1", CNN(), 1, 500, task="predict"),
    Workload("inference256", "the CNN's prediction, batch 256", CNN(), 256, 256 * 20, task="predict"),
)
WORKLOADS = {workload.name: workload for workload in _ALL}


def find(text: str) -> Workload:
    """A workload by its name, also with other sizes: ``"gpt:width=256,batch=4"``, ``"mlp:sizes=784x64x10,steps=20"``.

    Sizes are fields of the network, and ``batch``, ``steps``. With another batch the number of steps stays.

    **Raises** ``ValueError`` for what there is not.
    """
    name, _, changes = text.partition(":")
    if name not in WORKLOADS:
        raise ValueError(f"a workload must be one of {', '.join(WORKLOADS)}, got {name!r}")
    workload = WORKLOADS[name]
    if not changes:
        return workload
    sizes = {"batch": workload.batch, "steps": workload.steps}
    network: dict[str, Any] = {}
    own = {field.name: getattr(workload.network, field.name) for field in fields(workload.network)}
    for change in changes.split(","):
        field, _, value = change.partition("=")
        if field in sizes:
            sizes[field] = int(value)
        elif field in own:
            network[field] = _like(own[field], value)
        else:
            raise ValueError(f"a size of {name} must be one of {', '.join([*sizes, *own])}, got {field!r}")
    return replace(
        workload,
        name=text,
        about=f"{name} with {changes}",
        network=replace(workload.network, **network),
        batch=sizes["batch"],
        examples=sizes["batch"] * sizes["steps"],
    )


def _like(old: Any, text: str) -> Any:
    """The number, or the numbers between letters ``x``, that a field shall have instead of what it has."""
    return tuple(map(int, text.split("x"))) if isinstance(old, tuple) else type(old)(text)
