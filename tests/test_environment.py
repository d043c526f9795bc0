"""Settings that JAX reads once, each seen in what it does; and the seed, which decides everything."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

import jaxdl as dl
from jaxdl.train.environment import backend_started

ROOT = pathlib.Path(__file__).parent.parent


def start(code, *words, **environment):
    """A process of its own, in which JAX has not begun."""
    names = {"PJRT_NPROC", "XLA_FLAGS", "XLA_PYTHON_CLIENT_PREALLOCATE", "XLA_CLIENT_MEM_FRACTION"}
    around = {name: value for name, value in os.environ.items() if name not in names}
    around["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.Popen(
        command, env=around | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def outcome(process):
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    return json.loads(out.splitlines()[-1])


SETTLED = """
import collections, json, os, pathlib, sys
import jax
import jaxdl as dl
from jaxdl.train.environment import backend_started
threads, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2])
dl.configure(threads=99, preallocate=0.25, deterministic=False)
dl.configure(threads=threads, preallocate=0.5, deterministic=True)
early = backend_started()
jax.jit(lambda x: x @ x)(jax.numpy.ones((300, 300))).block_until_ready()
dl.configure(threads=threads, preallocate=0.5, deterministic=True)  # as it is: never too late
late = []
for change in ({"threads": threads + 1}, {"preallocate": 0}, {"deterministic": False}):
    try:
        dl.configure(**change)
    except RuntimeError as error:
        late.append(str(error))
from jaxlib.xla_client import generate_pjrt_gpu_plugin_options
print(json.dumps({
    "early": early, "started": backend_started(), "late": late, "cpus": len(jax.devices()),
    "pool": [path.read_text() for path in pathlib.Path("/proc/self/task").glob("*/comm")].count("tf_XLAEigen\\n"),
    "gpu": generate_pjrt_gpu_plugin_options(), "flags": os.environ["XLA_FLAGS"],
    "options": [path.read_text() for path in folder.glob("*.debug_options")],
}))
"""


@pytest.mark.skipif(not pathlib.Path("/proc/self/task").exists(), reason="counts threads as Linux lists them")
def test_settings_do_what_they_say_and_say_when_they_come_too_late(tmp_path):
    folders = {threads: tmp_path / str(threads) for threads in (1, 3)}
    environment = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.9"}
    started = {
        threads: start(SETTLED, threads, folder, XLA_FLAGS=f"--xla_dump_to={folder}", **environment)
        for threads, folder in folders.items()
    }
    for threads, process in started.items():
        found = outcome(process)
        assert found["pool"] == threads
        assert (found["early"], found["started"], found["cpus"]) == (False, True, 1)
        assert found["gpu"]["preallocate"] is True
        assert found["gpu"]["memory_fraction"] == 0.5
        assert found["flags"] == f"--xla_dump_to={folders[threads]} --xla_gpu_deterministic_ops=true"
        assert found["options"]
        assert all("xla_gpu_deterministic_ops: true" in text for text in found["options"])
        assert len(found["late"]) == 3
        message = f"configure: must be called before JAX first computes; got threads={threads + 1} after that. Did you"
        assert found["late"][0].startswith(message)


def test_memory_is_taken_as_needed(monkeypatch):
    from jaxlib.xla_client import generate_pjrt_gpu_plugin_options as options

    monkeypatch.setattr("jaxdl.train.environment.backend_started", lambda: False)
    for name in ("XLA_PYTHON_CLIENT_PREALLOCATE", "XLA_CLIENT_MEM_FRACTION", "XLA_FLAGS"):
        monkeypatch.setenv(name, "")
    dl.configure(preallocate=0)
    assert options()["preallocate"] is False
    dl.configure(preallocate=0.5, deterministic=True)
    assert options()["preallocate"] is True
    assert options()["memory_fraction"] == 0.5
    dl.configure(deterministic=False)
    assert "XLA_FLAGS" not in os.environ


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threads": 0}, "configure: threads must be a positive int; got 0"),
        ({"threads": True}, "configure: threads must be a positive int; got True"),
        ({"preallocate": 1.5}, "configure: preallocate must be a number from 0 up to, but not including, 1; got 1.5"),
        ({"preallocate": False}, "configure: preallocate must be a number from 0"),
        ({"deterministic": "yes"}, "configure: deterministic must be True or False; got yes"),
    ],
)
def test_impossible_settings_are_named(arguments, message):
    before = dict(os.environ)
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        dl.configure(**arguments)
    assert dict(os.environ) == before


def test_the_question_whether_jax_has_begun_changes_nothing():
    import jax

    before = jax.config.jax_num_cpu_devices
    jax.devices()
    assert backend_started()
    assert jax.config.jax_num_cpu_devices == before


SEEDED = """
import hashlib, json, sys
import jax, numpy as np, optax
import jaxdl as dl
L = dl.layers
generator = np.random.default_rng(0)
data = {"x": generator.normal(size=(40, 4)).astype("float32"), "y": generator.integers(0, 3, 40)}
model = dl.sequential(L.dense(16), jax.nn.relu, L.dropout(0.3), L.batch_norm(), L.dense(3))

def noisy(batch, key):
    return batch if key is None else batch | {"x": batch["x"] + 0.1 * jax.random.normal(key, batch["x"].shape)}

state, history = dl.fit(
    model, data, loss=dl.losses.cross_entropy, optimizer=optax.adam(1e-2), epochs=3, batch_size=8, validation=data,
    transform=noisy, seed=int(sys.argv[1]), progress=False,
)
del history["seconds"]
state = state.replace(key=jax.random.key_data(state.key))
digest = hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state))).hexdigest()
print(json.dumps([digest, history]))
"""


@pytest.mark.slow
def test_the_seed_decides_everything_in_any_process():
    one, two, other = (start(SEEDED, seed, PYTHONHASHSEED=salt) for seed, salt in [(1, "1"), (1, "2"), (2, "1")])
    one, two, other = map(outcome, (one, two, other))
    assert one == two
    assert one[0] != other[0]
