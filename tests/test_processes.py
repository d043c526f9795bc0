"""Runs over several processes on the loopback: they are the run of one, and end together whatever becomes of one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scripts import ROOT

from jaxdl.core.files import digest_of_part
from jaxdl.core.processes import ALONE
from jaxdl.launch.__main__ import main

HERE = Path(__file__).parent


def begun(*words, processes=2, devices=1, timeout=60, script="processes.py", **rest):
    """The launcher, at work on a script of this folder."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    options = ["--processes", processes, "--devices", devices, "--timeout", timeout]
    command = [sys.executable, "-m", "jaxdl.launch", *options, HERE / script, *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*map(str, command)], env=environment, **pipes, **rest)


def ended(launcher, code=0):
    """What it printed, once it has ended with this code."""
    out, err = launcher.communicate()
    assert launcher.returncode == code, out + err
    return out, err


def found(*words, **how):
    out, _ = ended(begun(*words, **how))
    return json.loads(out.splitlines()[-1])


def test_two_processes_train_as_one_and_each_reads_its_share(tmp_path):
    out, err = ended(begun("shares", tmp_path))
    (line,) = out.splitlines()  # Gloo's own are left out, and what the other process prints
    shown = json.loads(line)
    assert max(shown[name] for name in ("source", "stream", "arrays", "predicted", "saved")) < 1e-5, shown
    # Of 44 examples in batches of 16 two times; a tail of 12 divides by two as well.
    assert shown["read"] == [44, 44]
    assert shown["nan"] == [1, 0]  # the first one warns
    assert shown["files"] == ["arrays_0.csv", "source_0.csv", "stream_0.csv"]
    assert shown["warned"] == ["run: each of the 2 processes trains by itself. Did you mean mesh=dl.mesh(data=-1)?"]
    assert err == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "preset", "processes", "dtypes"),
    [
        ("mlp", "fsdp", 4, ["float64", "float32"]),
        ("cnn", "data", 2, ["float64", "float32"]),
        ("lstm", "fsdp", 2, ["float64"]),
        ("gpt", "fsdp and tensor", 2, ["float64"]),
        ("moe", "expert and fsdp", 2, ["float64"]),
    ],
)
def test_presets_over_processes_are_the_run_on_one_device(network, preset, processes, dtypes):
    where = {"processes": processes, "devices": 8 // processes, "script": "meshes.py"}
    shown = found("equal", network, preset, *dtypes, **where)
    assert set(shown) == {f"{preset}, {dtype}" for dtype in dtypes}
    assert shown[f"{preset}, float64"] < 1e-9
    assert shown.get(f"{preset}, float32", 0) < 1e-5


@pytest.mark.slow
def test_what_processes_write_together_is_what_one_writes():
    assert found("written", devices=4, script="meshes.py") == [True, True]


@pytest.mark.slow
def test_a_killed_process_ends_all_and_one_goes_on_to_the_same_result(tmp_path):
    whole = found("trained", tmp_path / "whole", 3, "fsdp")
    out, err = ended(begun("trained", tmp_path / "run", 3, "fsdp", "1"), code=128 + signal.SIGKILL)
    assert out == ""
    assert "jaxdl.launch: process 1 of 2 was ended by SIGKILL" in err
    assert "a run with checkpoint=… goes on from its last save with resume=True" in err
    one = found("trained", tmp_path / "run", 3, "fsdp", processes=1)
    assert one["loss"] == pytest.approx(whole["loss"], rel=1e-6)
    assert len(one["loss"]) == 3
    four = found("trained", tmp_path / "run", 4, "data", processes=2, devices=2)  # and what one saved goes on over four
    assert four["loss"][:3] == one["loss"]


@pytest.mark.slow
def test_a_checkpoint_of_processes_is_restored_bit_for_bit(tmp_path):
    expected = {"same": True, "number": 2, "warned": 0, "lies": "P(None, None)"}
    assert found("stored", tmp_path / "a") == expected
    assert found("stored", tmp_path / "a", processes=4) == expected
    assert found("stored", tmp_path / "a", processes=1) == expected
    assert found("stored", tmp_path / "b", processes=1, devices=8) == expected
    assert found("stored", tmp_path / "b", processes=2, devices=4) == expected
    damaged = expected | {"number": 1, "warned": 1}
    assert found("stored", tmp_path / "a", "flip") == damaged
    assert found("stored", tmp_path / "c", "cut") == damaged | {"lies": "P(None, 'data')"}
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "checkpoint_1",
        "damaged_checkpoint_2",
        "jaxdl.lock",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 0)])
def test_a_signal_ends_all_after_a_save(tmp_path, number, code):
    launcher = begun("long", tmp_path / "run")
    for line in launcher.stdout:
        if line.split()[:1] == ["2/50"]:
            break
    launcher.send_signal(number)
    out, err = ended(launcher, code)
    assert [*(tmp_path / "run").glob("checkpoint_*")]
    assert ("stopped in epoch" in out) and ("jaxdl.launch" not in err), err
    assert ("SIGTERM: saved; resume=True goes on from here" in err) == (code == 143)


@pytest.mark.slow
def test_an_error_of_one_process_is_shown_and_ends_all():
    _, err = ended(begun("fails", "1"), code=1)
    assert "process 1 of 2: RuntimeError: this one does not go on" in err
    assert "jaxdl.launch: process 1 of 2 ended with exit status 1" in err
    assert ended(begun("ends", "3"), code=3)[1].count("ended with exit status 3") == 2


@pytest.mark.slow
def test_processes_that_were_given_other_data_say_so(tmp_path):
    same = "must be the same in all processes; got another in process 1"
    stream = (
        "run: a stream must give the same batches, of all examples, in each process; got others, or fewer, in process 1"
    )
    assert found("differ", tmp_path, timeout=20) == [
        f"run: the data and batch_size {same}",
        f"run: the train state {same}",
        *3 * [f"run: what it is told, but for functions, {same}"],
        "checkpoint: the folder must be one that all processes reach; got another in process 1",
        stream,
        stream,
        f"predict: x {same}",
        f"evaluate: the data {same}",
    ]


@pytest.mark.slow
def test_a_process_that_does_not_come_is_named():
    launcher = begun("sleeps", timeout=15)
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
    while len(children.read_text().split()) < 2:
        time.sleep(0.01)
    os.kill(int(children.read_text().split()[1]), signal.SIGSTOP)
    _, err = ended(launcher, code=128 + signal.SIGABRT)
    assert "jaxdl.launch: process 0 of 2 was ended by SIGABRT" in err
    assert "jaxdl.launch: process 1 of 2 has not come to the others" in err


@pytest.mark.slow
def test_processes_end_with_their_launcher():
    launcher = begun("sleeps")
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
    while len(found := children.read_text().split()) < 2:
        time.sleep(0.01)
    time.sleep(8)  # until they are in the script
    launcher.kill()
    launcher.communicate()
    end = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in found):
        assert time.monotonic() < end, found
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--processes", "0", "a.py"], "--processes must be 1 or more; got 0"),
        (["--processes", "2", "--process", "1", "a.py"], "--process and --coordinator go together"),
        (["--process", "1", "--coordinator", "a:1", "a.py"], "--process needs --processes"),
        (["--processes", "2", "--process", "2", "--coordinator", "a:1", "a.py"], "must be from 0 to 1; got 2"),
        (["--processes", "2", "nowhere.py"], "the script must be a file; got nowhere.py"),
        (["--processes", "2"], "the following arguments are required: script"),
    ],
)
def test_words_that_cannot_be(words, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert said in capsys.readouterr().err


def test_a_failing_script_has_its_status_become_that_of_all(capfd, tmp_path):
    (tmp_path / "a.py").write_text("this is no Python")
    assert main(["--processes", "1", str(tmp_path / "a.py")]) == 1
    err = capfd.readouterr().err
    assert "SyntaxError: invalid syntax" in err
    assert err.endswith("jaxdl.launch: process 0 of 1 ended with exit status 1\n")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bool", "int8", "uint32", "float64", "complex64"])
@pytest.mark.parametrize("shape", [(), (7,), (6, 8), (3, 400, 500)])
def test_digests_of_parts_add_up_however_an_array_is_cut(shape, dtype):
    array = (10 * np.random.default_rng(0).normal(size=shape)).astype(dtype)
    digest = digest_of_part(array)
    for axis, size in enumerate(shape):
        parts = np.split(array, [size // 3, size // 2], axis)
        starts = [[at if other == axis else 0 for other in range(len(shape))] for at in (0, size // 3, size // 2)]
        found = sum(digest_of_part(part, start, shape) for part, start in zip(parts, starts, strict=True))
        assert found % 2**64 == digest
    other = array.reshape(-1).copy()
    other.view(np.uint8)[other.nbytes // 2] ^= 1
    assert digest_of_part(other.reshape(shape)) != digest
    turned = array.reshape(-1)[::-1]
    if (turned != array.reshape(-1)).any():
        assert digest_of_part(turned.reshape(shape)) != digest


def test_one_process_agrees_with_itself():
    assert ALONE.any(True, False) == [True, False]
    assert ALONE.said_by_first(3) == 3
    ALONE.check_same("test", "this", [b"a"])
    ALONE.wait("nobody")
