"""What the devices of a compiled program send to one another in a step, counted in the text of its HLO.

Two things of the CPU's compiler are put right. It widens bfloat16 to float32: the dtype is that which the program has
as the partitioner leaves it. And it makes no reduce-scatter: an all-reduce of which each device goes on with a slice
alone is taken as one.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from benchmarks.hlo import Instruction, Program, parse
from benchmarks.scale.flow import Flow, Shape, shapes

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")

_LISTED = re.compile(r"replica_groups=\{\{([0-9,]*)\}")
_TILED = re.compile(r"replica_groups=\[(\d+),(\d+)\]<=\[([0-9,]+)\](?:T\(([0-9,]+)\))?")
_MESH = re.compile(r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(\[([0-9,]+)\](?:T\(([0-9,]+)\))?\))? \{([^}]*)\}")
_PAIRS = re.compile(r"source_target_pairs=\{(.*?)\}\}")


class Collective(NamedTuple):
    """A collective of a step.

    **Fields** ``bytes``: of the whole array on a device, gathered or not yet scattered; ``devices``: how many take part
    in one group; ``stride``: how far they are apart, by number; ``times``: how often it runs in a step; ``arrays``: how
    many arrays it takes at once.
    """

    kind: str
    bytes: int
    devices: int
    stride: int
    times: int
    arrays: int = 1


def step_collectives(compiled: str, partitioned: str, devices: int) -> list[Collective]:
    """The collectives of a step of a compiled program.

    A loop counts as often as the compiler says that it runs; one of which it does not say, such as that over the steps,
    counts once.

    **Args** ``compiled``: the text of the optimized HLO; ``partitioned``: that of the program as the partitioner leaves
    it, for the dtypes.
    """
    program, own = parse(compiled), _dtypes(parse(partitioned))
    flow, found = Flow(program), Counter[Collective]()
    for instruction, computation, times in executed(program, program.entry):
        if (kind := kind_of(instruction)) is None:
            continue
        group = group_of(instruction.rest, devices)
        if len(group) < 2:
            continue
        parts: dict[str, list[Shape]] = {}
        for at, (dtype, entries) in enumerate(_arrays(instruction, kind)):
            cut = kind == "all-reduce" and flow.is_sliced(computation, instruction.name, at)
            array = _own_dtype(kind, (dtype, entries), own), entries
            parts.setdefault("reduce-scatter" if cut else kind, []).append(array)
        for part, arrays in parts.items():
            size, stride = sum(bytes_of(*array) for array in arrays), abs(group[1] - group[0])
            found[Collective(part, size, len(group), stride, 0, len(arrays))] += times
    return [collective._replace(times=times) for collective, times in found.items()]


def executed(program: Program, computation: str, times: int = 1) -> Iterator[tuple[Instruction, str, int]]:
    """The instructions that a computation runs, each with the computation that it stands in and how often it runs."""
    for instruction in program.computations[computation]:
        yield instruction, computation, times
        for name in instruction.calls:
            yield from executed(program, name, times * instruction.rounds)


def kind_of(instruction: Instruction) -> str | None:
    """Which collective it is, None for any other instruction, and for the end of one that runs beside others."""
    name = instruction.opcode.removesuffix("-start")
    return name if name in KINDS else None


def bytes_of(dtype: str, entries: int) -> int:
    """The bytes of an array of that dtype, as HLO writes it."""
    bits = re.search(r"\d+", dtype)
    return entries * max(1, int(bits[0]) // 8) if bits else entries


def _arrays(instruction: Instruction, kind: str) -> list[Shape]:
    """What a collective hands on, whole: of a reduce-scatter what goes in."""
    found = shapes(instruction.type)
    if instruction.opcode.endswith("-start") and kind != "all-reduce":
        found = found[len(found) // 2 :]  # Its type is of what goes in, and then of what comes out.
    if kind == "reduce-scatter":
        scattered = len(group_of(instruction.rest, 0))
        found = [(dtype, entries * scattered) for dtype, entries in found]
    return found


def _dtypes(partitioned: Program) -> dict[tuple[str, int], Counter[str]]:
    """The dtypes of the arrays of each kind of collective, by their number of entries."""
    found: dict[tuple[str, int], Counter[str]] = {}
    for instructions in partitioned.computations.values():
        for instruction in instructions:
            if kind := kind_of(instruction):
                for dtype, entries in _arrays(instruction, kind):
                    found.setdefault((kind, entries), Counter())[dtype] += 1
    return found


def _own_dtype(kind: str, array: Shape, own: dict[tuple[str, int], Counter[str]]) -> str:
    """The program's own dtype of an array: another than the compiled one only where that was widened.

    Where some arrays of that size were and others not, the narrow ones are taken first.
    """
    dtype, entries = array
    known = own.get((kind, entries), Counter())
    if dtype != "f32" or not known["bf16"]:
        return dtype
    if known["f32"]:  # Each of the narrow ones is met once.
        known["bf16"] -= 1
    return "bf16"


def group_of(rest: str, devices: int) -> tuple[int, ...]:
    """The devices of the first group of a collective, of a permutation the two that are farthest apart; all of them
    where it names none.

    **Raises** ``ValueError`` for groups that are written in a way that is not known.
    """
    if pairs := _PAIRS.search(rest):
        ways = [tuple(_ints(pair)) for pair in re.findall(r"\d+,\d+", pairs[1])]
        return max(ways, key=lambda way: abs(way[0] - way[1]))
    if (listed := _LISTED.search(rest)) and listed[1]:
        return tuple(_ints(listed[1]))
    if tiled := _TILED.search(rest):
        return tuple(map(int, _numbered(tiled[3], tiled[4]).reshape(int(tiled[1]), int(tiled[2]))[0]))
    if mesh := _MESH.search(rest):
        axes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", mesh[1])}
        numbers = _numbered(mesh[2], mesh[3]) if mesh[2] else np.arange(math.prod(axes.values()))
        taken = set(re.findall(r"'([^']+)'", mesh[4]))
        places = tuple(slice(None) if name in taken else 0 for name in axes)
        return tuple(map(int, np.ravel(numbers.reshape(list(axes.values()))[places])))
    if "replica_groups" in rest and "replica_groups={}" not in rest:
        raise ValueError(f"scale: the groups of a collective must be written in a known way, got {rest[:200]}")
    return tuple(range(devices))


def _numbered(sizes: str, order: str | None) -> np.ndarray:
    """Devices counted over a grid of these sizes, whose axes are then put in that order."""
    grid = np.arange(math.prod(found := _ints(sizes))).reshape(found)
    return grid.transpose(_ints(order)) if order else grid


def _ints(text: str) -> list[int]:
    return [int(n) for n in text.split(",")]
