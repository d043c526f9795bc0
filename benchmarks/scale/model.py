"""What a step takes on devices of given rates: the cost model, from counts alone.

A device multiplies, moves its memory and sends over its links. Each of the three takes what is to be done over its
rate; a step takes at least the longest of them, if all overlap, and at most their sum, if nothing does.

- **products**: the operations of matrix products, shared evenly, over the share of the peak that products reach.
- **memory**: what must be moved at least: parameters and what the optimizer keeps, read and written once, gradients and
  what is kept for them, written and read once. All else is taken to stay where it is computed.
- **links**: rings. Of an array of B bytes over n devices an all-reduce sends 2 B (n − 1) / n from each, a gather or
  scatter B (n − 1) / n. Within a node at the rate of its links; over several, at the rate of the adapters of those that
  take part in a node, together. Each collective has a latency beside.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.scale.collectives import Collective


@dataclass(frozen=True)
class Device:
    """A device and what it is connected by; rates are bytes or operations a second and device, in one direction.

    **Fields** ``flops``: the peak of dense products in the dtype that is computed in; ``utilization``: the share of it
    that products reach; ``memory``, ``link``, ``network``: of its memory, to devices of its node, to other nodes;
    ``node``: devices in a node; ``capacity``: bytes that it holds; ``latency``: seconds a collective.

    **Raises** ``ValueError`` for figures that are not above zero.
    """

    name: str
    flops: float
    memory: float
    link: float
    network: float
    capacity: float
    node: int = 8
    utilization: float = 0.5
    latency: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("flops", "memory", "link", "network", "capacity", "node"):
            if not (value := getattr(self, name)) > 0:
                raise ValueError(f"scale: {name} must be more than 0, got {value}")
        if not 0 < self.utilization <= 1:
            raise ValueError(f"scale: utilization must be above 0 and at most 1, got {self.utilization}")
        if not self.latency >= 0:
            raise ValueError(f"scale: latency must be 0 or more seconds, got {self.latency}")


DEVICES = {
    "h100": {"bfloat16": 989e12, "float32": 495e12, "memory": 3.35e12, "link": 450e9, "network": 50e9},
    "a100": {"bfloat16": 312e12, "float32": 156e12, "memory": 2.04e12, "link": 300e9, "network": 25e9},
}
"""The SXM forms with 80 GB, eight in a node, by their makers' sheets; float32 is TF32; an adapter of 400 and 200 Gb/s a
device."""


def known_device(name: str, policy: str) -> Device:
    """A device of :data:`DEVICES`, computing in a policy's dtype."""
    rates = DEVICES[name]
    return Device(name, rates[policy], rates["memory"], rates["link"], rates["network"], 80e9)


class Work(NamedTuple):
    """What a device does in a step.

    **Fields** ``products``: operations; ``state``: bytes of parameters and of what the optimizer keeps; ``gradients``;
    ``activations``: bytes that are kept for the gradient.
    """

    products: float
    state: float
    gradients: float
    activations: float
    collectives: Sequence[Collective]

    @property
    def held(self) -> float:
        """Bytes on a device at once."""
        return self.state + self.gradients + self.activations

    @property
    def moved(self) -> float:
        """Bytes of memory that a step moves at least."""
        return 2 * self.held


class Prediction(NamedTuple):
    """Seconds of a step, by what they go to."""

    products: float
    memory: float
    links: float

    @property
    def least(self) -> float:
        """Where all overlap."""
        return max(self)

    @property
    def most(self) -> float:
        """Where nothing does."""
        return sum(self)


def predict(work: Work, device: Device) -> Prediction:
    """What a step takes."""
    return Prediction(
        work.products / (device.flops * device.utilization),
        work.moved / device.memory,
        sum(seconds(collective, device) for collective in work.collectives),
    )


def sent(collective: Collective) -> float:
    """Bytes that a device sends in one run of a collective, by rings."""
    if collective.kind == "collective-permute":
        return collective.bytes
    share = (collective.devices - 1) / collective.devices
    return collective.bytes * share * (2 if collective.kind == "all-reduce" else 1)


def seconds(collective: Collective, device: Device) -> float:
    """What a collective takes in a step."""
    rate = device.link
    if (collective.devices - 1) * collective.stride >= device.node:
        here = max(1, device.node // collective.stride)  # Members of a group in one node.
        ring = collective.kind in ("all-reduce", "all-gather", "reduce-scatter")
        rate = min(device.link, device.network * (here if ring else 1))
    return collective.times * (device.latency + sent(collective) / rate)
