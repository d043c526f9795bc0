"""Where the values of a compiled program go, by the text of its HLO."""

import functools
import math
import re

from benchmarks.hlo import Instruction, Program

Shape = tuple[str, int]
"""The dtype and the number of entries of an array."""

_ARRAY = re.compile(r"\b(pred|[a-z]+[0-9]+\w*)\[([0-9,]*)\]")
_OPERAND = re.compile(r"%([\w.\-]+)")
_PASSED_ON = frozenset(
    {"bitcast", "convert", "copy", "reshape", "transpose", "get-tuple-element"}
    | {"abs", "add", "divide", "maximum", "minimum", "multiply", "negate", "rsqrt", "select", "sqrt", "subtract"}
)
"""Opcodes that hand on all that they get, or work entry by entry: a slice of what comes out takes one of what goes
in."""


def shapes(type: str) -> list[Shape]:
    """The arrays of a type, such as ``(f32[2,3]{1,0}, bf16[])``."""
    return [(dtype, math.prod(int(n) for n in sizes.split(",") if n)) for dtype, sizes in _ARRAY.findall(type)]


def operands(instruction: Instruction) -> list[str]:
    """The names of what an instruction takes."""
    depth = 1
    for end, letter in enumerate(instruction.rest):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return _OPERAND.findall(instruction.rest[:end])
    return []


class Flow:
    """Who uses what in a program."""

    def __init__(self, program: Program):
        self.program = program
        self._users = functools.cache(self._users_in)

    def is_sliced(self, computation: str, name: str, at: int) -> bool:
        """Whether of array ``at`` of what an instruction gives, a device goes on with a slice alone."""
        users = self._users(computation).get(name, [])
        parts = [user for user in users if user.opcode == "get-tuple-element"]
        ours = [user for user in parts if user.rest.endswith(f"index={at}")] if parts else users
        return bool(ours) and all(self._cuts(computation, (), user, name) for user in ours)

    def _users_in(self, computation: str) -> dict[str, list[Instruction]]:
        found: dict[str, list[Instruction]] = {}
        for instruction in self.program.computations[computation]:
            for name in dict.fromkeys(operands(instruction)):
                found.setdefault(name, []).append(instruction)
        return found

    def _go_on(self, computation: str, callers: tuple[tuple[str, Instruction], ...], value: Instruction) -> bool:
        """Whether all that becomes of a value is a slice; ``callers``: the fusions that it stands in."""
        users = self._users(computation).get(value.name, [])
        if value.is_root and callers:
            (outside, fusion), *others = callers
            return not users and self._go_on(outside, tuple(others), fusion)
        return bool(users) and all(self._cuts(computation, callers, user, value.name) for user in users)

    def _cuts(
        self, computation: str, callers: tuple[tuple[str, Instruction], ...], user: Instruction, name: str
    ) -> bool:
        if user.opcode == "dynamic-slice":
            return operands(user)[0] == name
        if user.opcode in _PASSED_ON:
            return self._go_on(computation, callers, user)
        if user.opcode not in ("fusion", "call"):
            return False
        (called,) = user.calls
        inside = [value for value in self.program.computations[called] if value.opcode == "parameter"]
        numbered = {int(value.rest.partition(")")[0]): value for value in inside}
        taken = [numbered[at] for at, operand in enumerate(operands(user)) if operand == name]
        return all(self._go_on(called, ((computation, user), *callers), value) for value in taken)
