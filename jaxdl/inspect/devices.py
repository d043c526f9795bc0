"""What the machine offers, and with which versions."""

import importlib
import platform
from collections.abc import Iterator
from dataclasses import dataclass

import jax

from jaxdl.core.machine import core_count, memory_bytes


@dataclass(frozen=True)
class Device:
    """One device of this process or of another.

    **Fields** ``id``, ``platform`` (``cpu``, ``gpu``, ``tpu``), ``kind``, ``process``; ``memory``, ``used``: bytes,
    None where the device does not say.
    """

    id: int
    platform: str
    kind: str
    process: int
    memory: int | None
    used: int | None


@dataclass(frozen=True, repr=False)
class Devices:
    """What is there; printed, it is a text.

    **Fields** ``devices``; ``process``, ``processes``: this one's number, and how many there are; ``cores``,
    ``memory``: those of the machine, in cores that this process may use and in bytes; ``versions``: by package.
    """

    devices: tuple[Device, ...]
    process: int
    processes: int
    cores: int
    memory: int | None
    versions: dict[str, str]

    def __iter__(self) -> Iterator[Device]:
        return iter(self.devices)

    def __len__(self) -> int:
        return len(self.devices)

    def __repr__(self) -> str:
        kinds: dict[tuple[str, str, int | None], list[Device]] = {}
        for device in self.devices:
            kinds.setdefault((device.platform, device.kind, device.memory), []).append(device)
        lines = [
            f"{len(group)} × {name} ({kind})" + (f", {memory / 1e9:.1f} GB each" if memory is not None else "")
            for (name, kind, memory), group in kinds.items()
        ]
        lines.append(f"process {self.process + 1} of {self.processes}")
        lines.append(f"{self.cores} cores" + (f", {self.memory / 1e9:.1f} GB" if self.memory is not None else ""))
        lines.append(", ".join(f"{name} {version}" for name, version in self.versions.items()))
        return "\n".join(lines)


def devices() -> Devices:
    """The devices that JAX sees, the machine, and the versions at work: what a report of a fault should begin with.

    It starts JAX's backend if nothing has before.

    Example:
        >>> found = devices()
        >>> len(found) == len(jax.devices()), found.devices[0].platform == jax.default_backend()
        (True, True)
        >>> print(found)  # doctest: +ELLIPSIS
        1 × cpu (cpu)...
    """
    found = tuple(map(_described, jax.devices()))
    names = ("jaxdl", "jax", "jaxlib", "flax", "optax", "numpy")
    versions = {"python": platform.python_version()} | {
        name: importlib.import_module(name).__version__ for name in names
    }
    return Devices(found, jax.process_index(), jax.process_count(), core_count(), memory_bytes(), versions)


def _described(device: jax.Device) -> Device:
    mine = device.process_index == jax.process_index()
    stats = (device.memory_stats() if mine else None) or {}
    numbers = stats.get("bytes_limit"), stats.get("bytes_in_use")
    return Device(device.id, device.platform, device.device_kind, device.process_index, *numbers)
