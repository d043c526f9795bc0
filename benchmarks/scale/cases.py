"""Which programs are compiled: a GPT of some size, over a mesh of some devices, spread in some way."""

from dataclasses import asdict, dataclass
from typing import Any

VOCABULARY = 50_304
"""GPT-2's 50,257 and what makes it a multiple of 128, so that it can be spread."""

PRESETS = ("data", "fsdp", "tensor", "fsdp+tensor")
POLICIES = ("bfloat16", "float32")


PASS = "spmd-partitioning"
"""The pass of XLA after which a program is that of one device, and still in the dtypes that it was written in."""


@dataclass(frozen=True)
class Size:
    """The sizes of a GPT whose layers are one stack."""

    name: str
    layers: int
    features: int
    heads: int
    length: int
    vocabulary: int = VOCABULARY

    @property
    def hidden(self) -> int:
        return 4 * self.features


SIZES = {
    size.name: size
    for size in (
        Size("124M", 12, 768, 12, 1024),
        Size("1.5B", 48, 1600, 25, 1024),
        Size("7B", 32, 4096, 32, 2048),
    )
}
"""GPT-2 small and XL, and the 6.7 B of GPT-3."""


@dataclass(frozen=True)
class Case:
    """A training step to be compiled.

    **Fields** ``devices``: in all; ``ways``: over how many of them ``tensor`` spreads; ``batch``: sequences a device;
    ``policy``: the dtype that is computed in, over parameters and an optimizer of float32; ``remat``: keep one input a
    layer for the gradient, and compute the rest once more.

    **Raises** ``ValueError`` where these cannot be.
    """

    size: Size
    devices: int
    preset: str
    ways: int = 1
    batch: int = 8
    policy: str = "bfloat16"
    remat: bool = True

    def __post_init__(self) -> None:
        for name in ("devices", "ways", "batch"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"scale: {name} must be 1 or more, got {value}")
        for name, known in (("preset", PRESETS), ("policy", POLICIES)):
            if (chosen := getattr(self, name)) not in known:
                raise ValueError(f"scale: {name} must be one of {', '.join(known)}, got {chosen!r}")
        if ("tensor" in self.preset) != (self.ways > 1):
            raise ValueError(f"scale: ways must be 2 or more for tensor and 1 without it, got {self.ways}")
        for name, value in (("devices", self.devices), ("heads", self.size.heads)):
            if value % self.ways:
                raise ValueError(f"scale: ways must divide the {value} {name} of {self.size.name}, got {self.ways}")

    @property
    def name(self) -> str:
        return f"{self.size.name}, {self.devices} devices, {self.preset}"

    @property
    def mesh(self) -> dict[str, int]:
        """The axes of the mesh and their sizes."""
        return {"data": self.devices // self.ways} | ({"model": self.ways} if self.ways > 1 else {})

    @property
    def examples(self) -> int:
        """Sequences in a step of all devices."""
        return self.batch * self.devices

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def case_of(found: dict[str, Any]) -> Case:
    """The case that :meth:`Case.as_json` gave."""
    return Case(**(found | {"size": Size(**found["size"])}))


def ways_of(size: Size, devices: int, most: int) -> int:
    """Over how many devices ``tensor`` spreads a size: the most that divide its heads and leave no device over; 1 where
    there is no such number."""
    return max(n for n in range(1, most + 1) if size.heads % n == 0 and devices % n == 0)
