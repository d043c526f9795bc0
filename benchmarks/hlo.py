"""Counting the instructions of a compiled program's loop, from the text of its optimized HLO.

Milliseconds sway with the machine; two programs with the same instructions in their loops cost the same on any.
"""

import re
from collections import Counter
from typing import NamedTuple

_HEAD = re.compile(r"^(ENTRY\s+)?%?([\w.\-]+)\s+\(.*->.*\{$")
_CALLED = re.compile(r"\b(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-]+)")
_CALLED_LISTS = re.compile(r"\b(?:branch_computations|called_computations)=\{([^}]*)\}")
_ROUNDS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_BODY = re.compile(r"\bbody=%?([\w.\-]+)")

BOOKKEEPING = frozenset({"parameter", "get-tuple-element", "tuple", "bitcast", "constant"})
"""Opcodes that say where values are and do no work."""


class Instruction(NamedTuple):
    """An instruction's opcode, what computations it calls, and the body if it is a loop; its name, its type, its
    operands with what follows them, and whether it is what its computation hands on."""

    opcode: str
    calls: tuple[str, ...]
    body: str | None
    name: str = ""
    type: str = ""
    rest: str = ""
    rounds: int = 1
    """How often a loop runs, as far as the compiler says; 1 where it does not."""
    is_root: bool = False


class Program(NamedTuple):
    """The computations of a program by name, and the name of its entry."""

    computations: dict[str, list[Instruction]]
    entry: str


def parse(text: str) -> Program:
    """Read the text of an HLO module, such as ``jax.jit(f).lower(x).compile().as_text()``."""
    computations: dict[str, list[Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if not line.startswith(" "):
            current = None
            if head := _HEAD.match(line):
                current = computations.setdefault(head[2], [])
                entry = head[2] if head[1] else entry
        elif current is not None and " = " in line:
            current.append(_instruction(line))
    if entry not in computations:
        raise ValueError("hlo.parse: the text must be an HLO module with an ENTRY computation")
    return Program(computations, entry)


def _instruction(line: str) -> Instruction:
    name, _, line = line.partition(" = ")
    rounds = _ROUNDS.search(line)
    line = line.partition(", metadata={")[0]
    end = _end_of_type(line)
    type, line = line[:end], line[end:].lstrip()
    opcode, _, rest = line.partition("(")
    calls = _CALLED.findall(line)
    for names in _CALLED_LISTS.findall(line):
        calls += [name.strip().lstrip("%") for name in names.split(",")]
    body = _BODY.search(line)
    loop = body[1] if body and opcode == "while" else None
    times = int(rounds[1]) if rounds else 1
    *root, name = name.split()
    return Instruction(opcode, tuple(calls), loop, name.lstrip("%"), type, rest, times, bool(root))


def _end_of_type(text: str) -> int:
    """Where the type ends that a definition begins with: ``f32[2]{0}``, or a tuple of such with blanks inside."""
    depth = 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == " " and not depth:
            return at
    return len(text)


def count(program: Program, computation: str) -> Counter[str]:
    """Instructions by opcode of a computation and of all that it calls, at each place where it is called."""
    total: Counter[str] = Counter()
    for instruction in program.computations[computation]:
        total[instruction.opcode] += 1
        for name in instruction.calls:
            total += count(program, name)
    return total


def loops(program: Program, computation: str) -> list[str]:
    """The bodies of the loops that a computation runs, also in computations that it calls, but not loops in loops."""
    found: list[str] = []
    for instruction in program.computations[computation]:
        if instruction.body:
            found.append(instruction.body)
        else:
            found += [body for name in instruction.calls for body in loops(program, name)]
    return found


def loop_instructions(text: str) -> Counter[str]:
    """Instructions by opcode of the body of a program's loop, the largest if there are several."""
    program = parse(text)
    bodies = loops(program, program.entry)
    if not bodies:
        raise ValueError("hlo.loop_instructions: the program must hold a while loop, got none")
    return max((count(program, body) for body in bodies), key=Counter.total)


def difference(ours: dict[str, int], theirs: dict[str, int]) -> dict[str, int]:
    """By opcode, how many more instructions ``ours`` has (fewer: below zero); equal ones are left out."""
    opcodes = sorted(ours.keys() | theirs.keys())
    gaps = {opcode: ours.get(opcode, 0) - theirs.get(opcode, 0) for opcode in opcodes}
    return {opcode: gap for opcode, gap in gaps.items() if gap}
