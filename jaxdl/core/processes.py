"""The processes that run one program together, each with devices of its own."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxdl.core.errors import bad_value


def _utilities() -> Any:
    """JAX's own for several processes, which few programs need."""
    from jax.experimental import multihost_utils

    return multihost_utils


@dataclass(frozen=True)
class Team:
    """The processes whose devices a mesh is of, and which of them this one is.

    All call what gathers or waits, in the same order. Between the programs of a run they have to come to the same
    decisions, such as how many steps the next one has: what depends on the clock, on a signal or on a file is therefore
    asked of the first one, or of all.
    """

    count: int = 1
    index: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this process tells, and writes what is written once."""
        return self.index == 0

    def gathered(self, numbers: Any) -> np.ndarray:
        """The like-shaped numbers of all processes, one process a row."""
        own = np.array(numbers)
        if self.count == 1:
            return own[None]
        as_bytes = np.frombuffer(own.tobytes(), np.uint8)  # JAX would narrow 64 bits
        rows = np.asarray(_utilities().process_allgather(as_bytes))
        return np.frombuffer(rows.tobytes(), own.dtype).reshape(self.count, *own.shape)

    def any(self, *flags: bool) -> list[bool]:
        """For each flag whether it is set in some process."""
        if self.count == 1:
            return list(flags)
        return [bool(flag) for flag in np.atleast_1d(self.gathered(flags).any(0))]

    def said_by_first(self, number: int) -> int:
        """The first process's number."""
        return number if self.count == 1 else int(self.gathered(np.int64(number))[0])

    def told_by_first(self, text: str) -> str:
        """The first process's text."""
        if self.count == 1:
            return text
        own = text.encode()
        padded = np.zeros(self.gathered(np.int64(len(own))).max(), np.uint8)
        padded[: len(own)] = np.frombuffer(own, np.uint8)
        return self.gathered(padded)[0].tobytes().rstrip(b"\0").decode()

    def others(self, numbers: Any) -> str:
        """Which processes have other numbers than the first, for people; empty where none has."""
        if self.count == 1:
            return ""
        rows = self.gathered(numbers).reshape(self.count, -1)
        return ", ".join(str(index) for index, row in enumerate(rows) if (row != rows[0]).any())

    def check_same(self, call: str, what: str, parts: Iterable[bytes]) -> None:
        """Raise, in each process, where these bytes are not the same in all of them."""
        if self.count == 1:
            return
        found = hashlib.blake2b(digest_size=16)
        for part in parts:
            found.update(part)
        if others := self.others(np.frombuffer(found.digest(), np.uint8)):
            got = f"another in process {others} than in process 0, of {self.count}"
            raise bad_value(call, f"{what} must be the same in all processes", got)

    def wait(self, name: str) -> None:
        """Wait until all have come here."""
        if self.count > 1:
            _utilities().sync_global_devices(name)


ALONE = Team()

_GONE = re.compile(r"Gloo \w+ failed")


@contextmanager
def told_who_is_gone(call: str, team: Team) -> Iterator[None]:
    """Within it, an error of JAX because another process no longer answers becomes one that says so."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        if team.count == 1 or not _GONE.search(str(error)):
            raise
        text = str(error).partition("\n")[0]
        got = f"none any more from another one of {team.count} than process {team.index} ({text})"
        hint = "With checkpoint=… the same call with resume=True goes on from the last save"
        raise ConnectionError(f"{call}: all processes must answer; got {got}. {hint}") from error


def whole_on_host(array: Any) -> np.ndarray:
    """An array on the host, also one of whose parts other processes hold some: then all call this."""
    if getattr(array, "is_fully_addressable", True) or array.is_fully_replicated:
        return np.asarray(array)
    return np.asarray(_utilities().process_allgather(array, tiled=True))


def is_shared(tree: Any) -> bool:
    """Whether arrays of a tree lie on devices of several processes."""
    return any(not getattr(leaf, "is_fully_addressable", True) for leaf in jax.tree.leaves(tree))


def team_of(call: str, devices: Iterable[Any]) -> Team:
    """The processes that these devices are of: this one alone, or all that JAX has joined."""
    owners = {device.process_index for device in devices}
    if owners == {jax.process_index()}:
        return ALONE
    if len(owners) != jax.process_count():
        got = f"devices of process {', '.join(map(str, sorted(owners)))} of {jax.process_count()}"
        hint = "Did you mean dl.mesh(data=-1), or devices=jax.local_devices()?"
        raise bad_value(call, "a mesh must be of devices of this process alone, or of all processes", got, hint)
    return Team(len(owners), jax.process_index())
