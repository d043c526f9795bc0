"""Compiled programs that are kept from process to process: jax's persistent cache, in a folder that is safe to run."""

import os
import stat
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

from jaxdl.core import bad_value
from jaxdl.data.files import cache_folder

CALL = "enable_compile_cache"


def enable_compile_cache(folder: str | os.PathLike[str] | None = None) -> Path:
    """Keep every program that this process compiles, and find those that earlier processes compiled; gives the folder.

    A later process that trains the same model then traces but does not compile. The programs are those that jax would
    compile, so that training comes to the same bits. What is kept is found by the program, the versions of jax and its
    backend, the device (of a CPU its instruction set, so that unlike machines may share a home) and the flags. Nothing
    is ever deleted: empty the folder when it has grown too large, or when jax warns of an entry that it cannot read. A
    process that was killed in the middle of writing leaves such a one; its program is compiled anew each time.

    Compiled programs are code. So the folder must belong to this user, and no one else may write in it; what it makes
    is for this user alone (mode 0700). The folders above it must belong to this user or to root, and others may write
    there only under the sticky bit, as in ``/tmp``, or as the user's own private group. Links are followed once, here.
    Calling it again, also with another folder, is fine; it touches no device.

    **Args** ``folder``: ``$XDG_CACHE_HOME/jaxdl/compiled`` or ``~/.cache/jaxdl/compiled`` unless given.

    **Returns** the folder, without links.

    **Raises** ``ValueError`` for a folder that others can write, own or rename; ``OSError`` for one that cannot be
    made.
    """
    path = Path(cache_folder() / "compiled" if folder is None else folder).absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise OSError(f"{CALL}: could not make the folder {path}: {error.strerror}") from error
    path = path.resolve()  # What was checked is what is used, wherever a link may lead later.
    _check_private(path)
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    compilation_cache.reset_cache()  # jax looks for a folder once, at its first program.
    return path


def _check_private(path: Path) -> None:
    """Raise when someone else could put a program there: through the folder, or by renaming one above it."""
    if not hasattr(os, "getuid"):  # Windows, where a user's folders are his own
        return
    found = path.stat()
    if found.st_uid != os.getuid():
        raise bad_value(CALL, f"{path} must belong to this user, {os.getuid()}", f"user {found.st_uid}")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = f"mode {stat.S_IMODE(found.st_mode):04o}"
        raise bad_value(CALL, f"{path} must be writable by this user alone", mode, f"Did you mean chmod 700 {path}?")
    for above in path.parents:
        found = above.stat()
        if found.st_uid not in (0, os.getuid()):
            needs = f"the folders above {path} must belong to this user, {os.getuid()}, or to root"
            raise bad_value(CALL, needs, f"{above}, user {found.st_uid}")
        bits = stat.S_IMODE(found.st_mode)
        others = stat.S_IWOTH if _is_private(found.st_gid) else stat.S_IWOTH | stat.S_IWGRP
        if bits & others and not bits & stat.S_ISVTX:
            needs = f"no folder above {path} may be writable by others, unless it is sticky"
            hint = f"Did you mean chmod go-w {above}, or another folder?"
            raise bad_value(CALL, needs, f"{above}, mode {bits:04o}", hint)


def _is_private(group: int) -> bool:
    """Whether the group is this user's alone, as many systems give each user one: of his name, without other members.

    What such a user makes is often of mode 0775, his home included.
    """
    import grp  # not on Windows
    import pwd

    try:
        user, found = pwd.getpwuid(os.getuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return found.gr_gid == user.pw_gid and found.gr_name == user.pw_name and set(found.gr_mem) <= {user.pw_name}
