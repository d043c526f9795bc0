"""Checkpoints that several processes write and read together, each its own parts, in a folder that all can reach."""

import json
import os
import time
from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core import bad_value
from jaxdl.core.extras import need
from jaxdl.core.files import digest_of_part
from jaxdl.core.processes import Team
from jaxdl.train.checkpoint import Checkpoint, Store, T
from jaxdl.train.folder import LOCK, open_folder
from jaxdl.train.saved import named_leaves, stored, stored_dtype


class SharedStore(Store):
    """A :class:`Store` of all processes of a team; each calls the same of its methods, in the same order.

    Orbax copies what is to be saved, and its own thread writes. The first process has the lock and the position.
    """

    def __init__(self, settings: Checkpoint, team: Team):
        self.team = team
        super().__init__(settings)

    def _check_processes(self) -> None:
        """All are here."""

    def _locked(self) -> Any:
        lock = open_folder(self.folder) if self.team.is_first else None
        token = self.team.told_by_first(f"{time.time_ns()}")
        if lock is not None:
            lock.truncate(0)
            lock.write(token.encode())
            lock.flush()
            os.fsync(lock.fileno())
        self.team.wait("jaxdl: the folder of the checkpoints")
        found = (self.folder / LOCK).read_text() if (self.folder / LOCK).exists() else ""
        if others := self.team.others(found == token):
            if lock is not None:
                lock.close()
            needs = "the folder must be one that all processes reach"
            raise bad_value("checkpoint", needs, f"another in process {others} than in process 0, {self.folder}")
        return lock

    def numbers(self) -> list[int]:
        """As the first process sees them: a network's file system may show others to others for a while."""
        found: list[int] = json.loads(self.team.told_by_first(json.dumps(super().numbers())))
        return found

    def _manager(self, ocp: Any) -> Any:
        self.handlers = {"state": ocp.StandardCheckpointHandler, "position": ocp.JsonCheckpointHandler}
        options = ocp.CheckpointManagerOptions(
            step_prefix="checkpoint", enable_async_checkpointing=True, preservation_policy=self.kept
        )
        return ocp.CheckpointManager(self.folder, options=options)

    @property
    def busy(self) -> bool:
        found: bool = self.manager.is_saving_in_progress()
        return found

    def save(self, number: int, tree: Any, position: dict[str, Any], best: int | None = None) -> None:
        self.wait()
        leaves = {path: (stored(leaf), str(leaf.dtype)) for path, leaf in named_leaves(tree).items()}
        # The next program takes the memory of these, which on CPU Orbax would only look at.
        arrays = {path: jnp.array(array, copy=True) for path, (array, _) in leaves.items()}
        digests = self._digests(arrays)
        described = {
            path: {"shape": list(array.shape), "dtype": kind, "digest": digests[path]}
            for path, (array, kind) in leaves.items()
        }
        try:
            self._hand_over(number, arrays, described, position, best)
        except Exception as error:
            raise self._failed(error) from error

    def wait(self) -> None:
        try:
            self.manager.wait_until_finished()
        except Exception as error:
            raise self._failed(error) from error

    def _tried(self, read: Callable[[], T]) -> T | str:
        """Read by all processes, or damaged for all: each must come to what it does together with the others."""
        found = super()._tried(read)
        damaged = self.team.any(isinstance(found, str))[0]
        return found if not damaged or isinstance(found, str) else "damaged, as another process found"

    def _item(self, number: int, name: str, how: Any) -> Any:
        # The manager would wait for all at the end, also for one that has failed.
        path = need("etils.epath", "checkpoint", extra="checkpoint").Path
        return self.handlers[name]().restore(path(self.folder / f"checkpoint_{number}" / name), args=how)

    def _set_aside(self, numbers: Collection[int]) -> None:
        if self.team.is_first:
            super()._set_aside(numbers)
        self.team.wait("jaxdl: damaged checkpoints are set aside")
        if numbers and not self.team.is_first:
            self.manager.reload()

    def _room(self, leaf: dict[str, Any], like: Any) -> Any:
        return jax.ShapeDtypeStruct(tuple(leaf["shape"]), stored_dtype(leaf["dtype"]), sharding=stored(like).sharding)

    def _digests(self, arrays: dict[str, Any]) -> dict[str, int]:
        """Each process looks at its own parts, of which one copy counts, and at its share of what all have whole."""
        mine = [number % self.team.count == self.team.index for number in range(len(arrays))]
        own = np.array(list(map(_of_own_parts, arrays.values(), mine)), np.uint64)
        together = self.team.gathered(own).sum(0, dtype=np.uint64) if arrays else own
        return dict(zip(arrays, map(int, together), strict=True))


def _of_own_parts(array: Any, is_mine: bool) -> int:
    if not array.size:
        return 0
    if array.is_fully_replicated:
        return digest_of_part(np.asarray(array)) if is_mine else 0
    parts = [shard for shard in array.addressable_shards if shard.replica_id == 0]
    total = 0
    for shard in parts:
        start = [index.indices(size)[0] for index, size in zip(shard.index, array.shape, strict=True)]
        total += digest_of_part(np.asarray(shard.data), start, array.shape)
    return total % 2**64
