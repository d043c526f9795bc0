"""Finding the files of a data set: beside the user, in a folder of the environment, in the cache, else by download."""

import contextlib
import hashlib
import http.client
import os
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxdl.core.files import whole_file


class DataFile(NamedTuple):
    """A file of a data set: its name, its exact size in bytes and its SHA-256."""

    name: str
    size: int
    sha256: str


def find_files(
    dataset: str,
    files: Sequence[DataFile],
    mirrors: Sequence[str],
    folder: str | os.PathLike[str] | None = None,
    *,
    timeout: float = 20.0,
) -> list[Path]:
    """The files of a data set, each found and verified, or downloaded.

    The search: ``folder`` if it is given, and nothing else; otherwise ``$JAXDL_DATA_DIR``, then the cache folder
    (``$XDG_CACHE_HOME/jaxdl`` or ``~/.cache/jaxdl``), each with a subfolder of the data set's name or the files
    themselves; then each mirror in turn, into the cache. A download is verified before it takes its name.

    **Raises** ``ValueError`` for a file with the wrong checksum, ``FileNotFoundError`` when the files are nowhere: it
    names them, their checksums and where to put them.
    """
    cache = cache_folder()
    roots = [Path(folder)] if folder is not None else [*_environment_folder(), cache]
    failures: list[str] = []
    for place in [path for root in roots for path in (root / dataset, root)]:
        paths = [place / file.name for file in files]
        if lacking := [path.name for path in paths if not path.is_file()]:
            if len(lacking) < len(paths):
                failures.append(f"{place} lacks {', '.join(lacking)}, and holds the others")
            continue
        try:
            for path, file in zip(paths, files, strict=True):
                verify(path, file)
            return paths
        except ValueError as error:
            if folder is not None or place.name == dataset:
                raise
            failures.append(str(error))  # Another data set with files of the same names lies there.
    if folder is None:
        target = cache / dataset
        with contextlib.suppress(_NoMirrorError):
            return [_download(file, mirrors, target, timeout, failures) for file in files]
    listing = "\n".join(f"  {file.name}  {file.size} bytes  sha256 {file.sha256}" for file in files)
    tried = "".join(f"\n  {line}" for line in failures)
    raise FileNotFoundError(
        f"{dataset}: not found in {', '.join(str(root / dataset) for root in roots)}"
        + (f", and nowhere else:{tried}" if tried else "")
        + f"\nPut these files into {roots[0] / dataset} (or name their folder in JAXDL_DATA_DIR):\n{listing}"
    )


def verify(path: Path, file: DataFile) -> None:
    """Raise unless the file at ``path`` has the size and the SHA-256 that ``file`` says."""
    size = path.stat().st_size
    if size != file.size:
        raise ValueError(f"{path}: must have {file.size} bytes; got {size}. Delete it, or put the right file there")
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != file.sha256:
        raise ValueError(
            f"{path}: must have SHA-256 {file.sha256}; got {digest}. Delete it, or put the right file there"
        )


def cache_folder() -> Path:
    """Where downloads are kept: ``$XDG_CACHE_HOME/jaxdl``, or ``~/.cache/jaxdl``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxdl"


def _environment_folder() -> list[Path]:
    folder = os.environ.get("JAXDL_DATA_DIR")
    return [Path(folder)] if folder else []


class _NoMirrorError(Exception):
    """No mirror gave a file that passed its checks."""


def _download(file: DataFile, mirrors: Sequence[str], target: Path, timeout: float, failures: list[str]) -> Path:
    """Fetch one file from the first mirror that gives it whole and right."""
    final = target / file.name
    if final.is_file():
        verify(final, file)
        return final
    for mirror in mirrors:
        url = mirror.rstrip("/") + "/" + file.name
        try:
            target.mkdir(parents=True, exist_ok=True)
            with whole_file(final) as part:
                with part.open("wb") as sink, urllib.request.urlopen(url, timeout=timeout) as source:
                    left = file.size + 1
                    while left and (chunk := source.read(min(left, 1 << 20))):
                        sink.write(chunk)
                        left -= len(chunk)
                verify(part, file)
        except (OSError, ValueError, http.client.HTTPException) as error:
            failures.append(f"{url}: {error}")
        else:
            return final
    raise _NoMirrorError
