"""The folder of a run: locked by the run that writes to it, cleared of what a killed one left, and nothing else."""

import errno
import os
import re
import shutil
import sys
import time
import weakref
from itertools import chain, count
from pathlib import Path
from typing import IO

from jaxdl.core import bad_value

LOCK = "jaxdl.lock"
PARTS = {"state", "position", "metrics", "_CHECKPOINT_METADATA", "commit_success.txt"}
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


PATTERNS = frozenset("*?[\\")

_held: weakref.WeakSet[IO[bytes]] = weakref.WeakSet()


def _let_go() -> None:
    for lock in _held:
        lock.close()


if hasattr(os, "register_at_fork"):
    # A loader's worker that outlives a killed run would hold its lock; closed in the child, it stays the parent's.
    os.register_at_fork(after_in_child=_let_go)


def run_folder(given: str | os.PathLike[str]) -> Path:
    """The folder as an absolute path, or an error for one that Orbax would write to and never find again."""
    folder = Path(given).absolute()
    if "://" in os.fspath(given) or PATTERNS & set(folder.as_posix()):
        needs = "the folder must be a path of this machine, without *, ?, [ and \\, which Orbax takes for patterns"
        raise bad_value("checkpoint", needs, str(given))
    return folder


def open_folder(folder: Path) -> IO[bytes]:
    """Make the folder where it is not there yet, and lock it until the file that this gives is closed.

    What a run left that was killed while it wrote is removed: only where a run was before, as its lock tells.

    **Raises** ``ValueError`` for a file in its place, for a folder in which another run is at work, and for one with a
    ``checkpoint_…`` that jaxdl did not make, which would be counted among its own and removed.
    """
    if folder.exists() and not folder.is_dir():
        raise bad_value("checkpoint", f"{folder} must be a folder", "a file")
    folder.mkdir(parents=True, exist_ok=True)
    known = (folder / LOCK).exists()
    if not known:
        _refuse_others(folder, known)  # before there is a lock, which would make the folder a run's
    lock = (folder / LOCK).open("ab")
    _held.add(lock)
    try:
        _take(lock, folder)
        if known:
            _refuse_others(folder, known)
            clear_unfinished(folder)
        if not os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    except BaseException:
        lock.close()
        raise
    return lock


def _take(lock: IO[bytes], folder: Path) -> None:
    if sys.platform == "win32":  # which has no locks of this kind
        return
    import fcntl

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        hint = "Did you mean another folder, or to end that run first?"
        needs = f"{folder} must be the folder of one run"
        raise bad_value("checkpoint", needs, "another run at work in it", hint) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:  # some network file systems have none
            raise


def _refuse_others(folder: Path, known: bool) -> None:
    foreign = [entry for entry in _numbered(folder) if not _is_ours(entry, known)]
    for entry in foreign if known else [*foreign, *unfinished(folder)]:
        needs = f"{folder} must hold no {entry.name} that jaxdl did not make"
        raise bad_value("checkpoint", needs, str(entry), "Did you mean another folder?")


def _is_ours(entry: Path, known: bool) -> bool:
    """Whether jaxdl made it; in a folder of a run also what a kill left of one that was being removed."""
    if not entry.is_dir():
        return False
    parts = {part.name for part in entry.iterdir()}
    return parts <= PARTS and (known or "position" in parts)


def unfinished(folder: Path) -> list[Path]:
    """What Orbax began to write."""
    name = re.compile(r"checkpoint_\d+\.orbax-checkpoint-tmp(-\d+)?")
    return [entry for entry in folder.iterdir() if name.fullmatch(entry.name)]


def clear_unfinished(folder: Path) -> None:
    """Remove what Orbax began to write; where it failed, its own threads may still be at it for a moment."""
    for left in unfinished(folder):
        for _ in range(20):
            shutil.rmtree(left, ignore_errors=True)
            if not left.exists():
                break
            time.sleep(0.05)


def _numbered(folder: Path) -> list[Path]:
    try:
        entries = list(folder.iterdir())
    except OSError:  # None is there, or none that could be read.
        return []
    return [entry for entry in entries if re.fullmatch(r"checkpoint_\d+", entry.name)]


def saved_numbers(folder: Path) -> list[int]:
    """The numbers of the checkpoints in a folder that are whole, in order."""
    return sorted(int(entry.name.removeprefix("checkpoint_")) for entry in _numbered(folder))


def free_place(path: Path) -> Path:
    """The path, or where something is there already, the first of ``…_2``, ``…_3`` that is free."""
    others = (path.with_name(f"{path.name}_{i}") for i in count(2))
    return next(place for place in chain([path], others) if not place.exists())
