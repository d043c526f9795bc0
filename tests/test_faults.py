"""Faults of the world around a run: full disks, folders that cannot be written, sources that raise, hostile files.

`docs/faults.md` says for each fault what happens and which test shows it.
"""

import contextlib
import importlib
import os
import pathlib
import pickle
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl as dl
from jaxdl.train.checkpoint import Store

ROOT = pathlib.Path(__file__).parent.parent
BIG = np.random.default_rng(0).normal(size=2**17).astype(np.float32)  # half a megabyte that does not compress
DATA = np.arange(40, dtype=np.float32)


def step(state, batch):
    return {"mean": 0.9 * state["mean"] + 0.1 * batch.mean(), "big": state["big"] + 1}, {"seen": batch.mean()}


def run(**arguments):
    start = {"mean": jnp.zeros(()), "big": jnp.asarray(BIG)}
    return dl.run(step, start, DATA, epochs=2, batch_size=4, progress=False, **arguments)


def assert_equal_runs(found, wanted):
    jax.tree.map(np.testing.assert_array_equal, found[0], wanted[0])
    assert found[1]["seen"] == wanted[1]["seen"]


@contextlib.contextmanager
def no_file_may_grow(folder):
    """As a quota does it: from here on write(2) fails beyond 64 kB in a file. Runs everywhere."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def full(folder):
    """Fill the disk, and make room again."""
    with (folder.parent / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(2**12))
    try:
        yield
    finally:
        (folder.parent / "filler").unlink()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 8 MB, where the system lets the tests mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a disk needs root; the same with a quota runs everywhere")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def runs_into_a_full_disk(folder, fault, reason):
    """The disk fills up in the middle of a run; once there is room again, the run goes on to the same bits."""
    settings = dl.Checkpoint(folder, every_steps=4)
    with contextlib.ExitStack() as stack:

        def fill(event):
            if event.kind == "epoch" and event.epoch == 1:
                stack.enter_context(fault(folder))

        message = rf"could not write to .*: .*{reason}.*; checkpoint_\d+ is sound"
        with pytest.raises(OSError, match=re.compile(message, re.S)):
            run(checkpoint=settings, callbacks=[fill])
    assert {path.name.partition("_")[0] for path in folder.iterdir()} == {"jaxdl.lock", "checkpoint"}
    assert not list(folder.glob("*tmp*"))  # which would take the room of what comes after
    assert_equal_runs(run(checkpoint=settings, resume=True), run())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_disk_with_a_quota_that_is_used_up(tmp_path):
    runs_into_a_full_disk(tmp_path / "run", no_file_may_grow, "File too large")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk(small_disk):
    runs_into_a_full_disk(small_disk / "run", full, "No space left on device")


def test_parameters_and_a_full_disk(tmp_path):
    path = tmp_path / "a.safetensors"
    dl.interop.save_params(path, {"a": BIG})
    with no_file_may_grow(tmp_path), pytest.raises(OSError, match="File too large"):
        dl.interop.save_params(path, {"a": BIG + 1})
    np.testing.assert_array_equal(dl.interop.load_params(path)["a"], BIG)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


@contextlib.contextmanager
def without_rights():
    """Root may write anywhere: be nobody for a while."""
    importlib.import_module("orbax.checkpoint")  # which nobody need be able to read
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("sound", [False, True])
def test_a_read_only_folder_is_an_error_before_anything_is_trained(sound):
    with tempfile.TemporaryDirectory() as base:
        folder = pathlib.Path(base) / "run"
        pathlib.Path(base).chmod(0o755)
        folder.mkdir()
        if sound:
            run(checkpoint=folder)
            (folder / "jaxdl.lock").chmod(0o666)
        folder.chmod(0o555)
        earlier = r"checkpoint_22 is sound" if sound else "there is none before it"
        with without_rights(), pytest.raises(OSError, match=rf"could not write to .*: Permission denied; {earlier}"):
            run(checkpoint=folder, resume=True, callbacks=[lambda event: pytest.fail("it began")])
        with without_rights(), pytest.raises(PermissionError, match=r"a\.safetensors"):
            dl.interop.save_params(folder / "a.safetensors", {"a": BIG})
        pathlib.Path(base).chmod(0o600)  # not even to be looked into
        with without_rights(), pytest.raises(OSError, match=r"could not write to .*: Permission denied; there is none"):
            run(checkpoint=folder, resume=True)
        pathlib.Path(base).chmod(0o755)
        folder.chmod(0o755)


class Breaking:
    """A source that raises at one index, until it is mended."""

    broken = True

    def __len__(self):
        return len(DATA)

    def __getitem__(self, index):
        if self.broken and index == 17:
            raise OSError("the network is gone")
        return DATA[index]


def test_a_source_that_raises_in_the_middle_loses_nothing(tmp_path):
    source, settings = Breaking(), dl.Checkpoint(tmp_path, every_steps=1)
    start = {"mean": jnp.zeros(())}

    def train(data, **arguments):
        def small(state, batch):
            return {"mean": 0.9 * state["mean"] + 0.1 * batch.mean()}, {"seen": batch.mean()}

        return dl.run(small, start, data, epochs=2, batch_size=4, progress=False, **arguments)

    with pytest.raises(OSError, match="the network is gone") as raised:
        train(source, checkpoint=settings)
    assert any("17" in note for note in raised.value.__notes__)
    source.broken = False
    assert_equal_runs(train(source, checkpoint=settings, resume=True), train(DATA))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_saves_at_the_end_of_the_program(tmp_path, number):
    def press(event):
        if event.kind == "program" and event.step >= 3:
            os.kill(os.getpid(), number)

    leaves = pytest.raises(SystemExit) if number == signal.SIGTERM else contextlib.nullcontext()
    with leaves:
        run(checkpoint=tmp_path, callbacks=[press])
    assert list(tmp_path.glob("checkpoint_*"))
    assert_equal_runs(run(checkpoint=tmp_path, resume=True), run())


class Bomb:
    """What a pickle runs when it is read."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return pathlib.Path.touch, (self.trace,)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_hostile_pickle_is_never_run(tmp_path):
    trace = tmp_path / "trace"
    bomb = pickle.dumps(Bomb(trace))
    pickle.loads(bomb)
    assert trace.exists()
    trace.unlink()
    (tmp_path / "a.safetensors").write_bytes(bomb)
    for read in (dl.interop.load_params, dl.interop.load_metadata):
        with pytest.raises(ValueError, match="must be sound safetensors"):
            read(tmp_path / "a.safetensors")
    store, tree = Store(dl.Checkpoint(tmp_path / "run")), {"a": jnp.ones(3)}
    for number in (1, 2):
        store.save(number, tree, {})
    store.wait()
    for file in [file for file in (tmp_path / "run" / "checkpoint_2").rglob("*") if file.is_file()]:
        file.write_bytes(bomb)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found, _ = store.restore(tree)
    store.close()
    assert "checkpoint_2" in str(told[0].message)
    np.testing.assert_array_equal(found["a"], 1)
    assert not trace.exists()


def test_the_table_of_faults_names_tests_that_there_are():
    table = (ROOT / "docs" / "faults.md").read_text()
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", table)
    assert len(named) >= 12
    for file, test in named:
        assert f"def {test}(" in (ROOT / "tests" / file).read_text(), f"{file}::{test}"
