"""Small steps that really run over the virtual devices of this CPU, and what the model says of them.

The devices share the processor, so that more of them are no faster: all together have the processor's rates, and each
one its share. They are the rates of one device, from its steps of few and of many examples, and the link's from two
devices; four and eight are predicted.
"""

from collections.abc import Sequence
from typing import Any

from benchmarks.scale.collectives import Collective
from benchmarks.scale.model import Device, Work, predict, sent

DEVICES = (1, 2, 4, 8)
EXAMPLES = {"mlp": 64, "gpt": 4}
"""Of each network, how many examples a device takes where the batch grows with the devices."""

PRESETS = ("data", "fsdp")


def batches(network: str, devices: int) -> list[int]:
    """The batches that are measured: what grows with the devices, and what does not; on one device all of them."""
    few = EXAMPLES[network]
    sizes = DEVICES if devices == 1 else (devices, DEVICES[-1])
    return sorted({few * size for size in sizes})


def work_of(record: dict[str, Any]) -> Work:
    """What a device does in a measured step. What is kept for the gradient is left out: it stays in caches here."""
    collectives = [Collective(*found) for found in record["collectives"]]
    products = record["products"] / record["devices"]
    return Work(products, record["state"], record["gradients"], 0, collectives)


def shared(whole: Device, devices: int) -> Device:
    """One of so many devices that share one: each has its part of the rates."""
    rates = {name: getattr(whole, name) / devices for name in ("flops", "memory", "link", "network")}
    return Device(whole.name, **rates, capacity=whole.capacity, node=devices, utilization=1, latency=0)


def calibrated(records: Sequence[dict[str, Any]]) -> Device:
    """The processor's rates, from the steps of one device and of two.

    What comes out below zero within the noise is free: a rate without bound.
    """
    one = sorted((record for record in records if record["devices"] == 1), key=lambda record: record["batch"])
    two = max((record for record in records if record["devices"] == 2), key=lambda record: record["batch"])
    few, many = one[0], one[-1]
    flops = _rate(many["products"] - few["products"], many["seconds"] - few["seconds"])
    memory = _rate(work_of(few).moved, few["seconds"] - few["products"] / flops)
    free = Device("this CPU", flops, memory, float("inf"), float("inf"), float("inf"))
    rest = two["seconds"] - predict(work_of(two), shared(free, 2)).most
    link = _rate(2 * sum(c.times * sent(c) for c in work_of(two).collectives), rest)
    return Device("this CPU", flops, memory, link, link, float("inf"))


def _rate(amount: float, seconds: float) -> float:
    return amount / seconds if seconds > 0 else float("inf")


def judged(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records of a network and preset over several devices, each with what one device takes for the same batch,
    and with what the model says."""
    processor = calibrated(records)
    alone = {record["batch"]: record["seconds"] for record in records if record["devices"] == 1}
    few, found = min(alone), []
    for record in records:
        devices, batch = record["devices"], record["batch"]
        if devices > 1:
            predicted = predict(work_of(record), shared(processor, devices)).most
            kinds = {"weak": few * devices, "strong": few * DEVICES[-1]}
            scaling = " and ".join(kind for kind, size in kinds.items() if size == batch)
            found.append(record | {"one": alone[batch], "predicted": predicted, "scaling": scaling})
    return found
