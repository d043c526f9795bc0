"""Checkpoints and exact resume: what is saved, when, what damage does, and that a resumed run has the same bits."""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import threading
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl as dl
from jaxdl import layers as L
from jaxdl.train.checkpoint import Store
from jaxdl.train.folder import open_folder

OPTIMISED = True  # the processes that are killed compile as users do; the bits are to be the same

RNG = np.random.default_rng(0)
DATA = {"x": RNG.normal(size=(50, 4)).astype(np.float32), "y": RNG.integers(0, 3, 50).astype(np.int32)}
MODEL = dl.sequential(L.dense(8), jnp.tanh, L.batch_norm(), L.dropout(0.3), L.dense(3))
OPTIMIZER = optax.adam(optax.exponential_decay(1e-2, 10, 0.9))
LOSS = dl.supervised(MODEL, dl.losses.cross_entropy, metrics={"accuracy": dl.metrics.accuracy})


def fit(data=DATA, epochs=4, **arguments):
    batch_size = {} if callable(data) else {"batch_size": 8}
    return dl.fit(
        MODEL,
        data,
        loss=dl.losses.cross_entropy,
        optimizer=OPTIMIZER,
        epochs=epochs,
        metrics={"accuracy": dl.metrics.accuracy},
        validation=DATA,
        progress=False,
        **batch_size | arguments,
    )


def numbers(tree):
    return [
        np.asarray(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)
        for leaf in jax.tree.leaves(tree)
    ]


def assert_same_bits(found, expected):
    state, history = found
    wanted_state, wanted_history = expected
    for a, b in zip(numbers(state), numbers(wanted_state), strict=True):
        np.testing.assert_array_equal(a, b)
    for column in wanted_history:
        if column != "seconds":
            assert history[column] == wanted_history[column], column


def stop_at(done):
    """A callback that ends the run once so many steps are done."""
    seen = [0]

    def callback(event):
        if event.kind == "program":
            seen[0] = event.step + (event.epoch - 1) * 7
        return dl.Stop() if event.kind == "program" and seen[0] >= done else None

    return callback


@pytest.fixture(scope="module")
def whole():
    return fit()


class Source:
    """A random-access source, as data that do not stay on the device are."""

    def __len__(self):
        return 50

    def __getitem__(self, index):
        return {name: leaf[index] for name, leaf in DATA.items()}


def stream(epoch, start):
    order = dl.data.epoch_order(50, seed=0, epoch=epoch)
    for step in range(start, 7):
        rows = order[step * 8 : (step + 1) * 8]
        yield {name: leaf[rows] for name, leaf in DATA.items()}


STOPS = [(3, 9, 16), *(pytest.param(stops, marks=pytest.mark.slow) for stops in ((1,), (7,), (6, 13, 20, 27)))]


@pytest.mark.parametrize("data", [DATA, Source(), stream], ids=["arrays", "source", "stream"])
@pytest.mark.parametrize("stops", STOPS, ids=str)
def test_a_resumed_run_has_the_same_bits(tmp_path, data, stops, whole):
    for done in stops:
        fit(data, checkpoint=dl.Checkpoint(tmp_path, every_steps=1), resume=True, callbacks=[stop_at(done)])
    assert_same_bits(fit(data, checkpoint=tmp_path, resume=True), whole)
    # What is finished is read, not trained again.
    assert_same_bits(fit(data, checkpoint=tmp_path, resume=True), whole)


class Loader:
    """An iterable that is begun anew each epoch, always in one order."""

    def __iter__(self):
        return stream(0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("done", [3, 10])
def test_an_iterable_goes_on_in_the_middle_of_an_epoch(tmp_path, done):
    def fit_it(**arguments):
        return fit(Loader(), batch_size=None, **arguments)

    expected = fit_it()
    stopped, _ = fit_it(checkpoint=dl.Checkpoint(tmp_path, every_steps=1), callbacks=[stop_at(done)])
    assert int(stopped.step) == done
    assert_same_bits(fit_it(checkpoint=tmp_path, resume=True), expected)


def test_more_epochs_go_on_from_what_is_finished(tmp_path, whole):
    fit(epochs=2, checkpoint=tmp_path)
    assert_same_bits(fit(epochs=4, checkpoint=tmp_path, resume=True), whole)


def test_any_step_and_any_pytree_is_kept(tmp_path):
    def step(s, batch):
        return {"mean": 0.9 * s["mean"] + 0.1 * batch.mean(), "empty": s["empty"], "half": s["half"]}, {
            "m": batch.mean()
        }

    start = {"mean": jnp.zeros(()), "empty": jnp.zeros((0, 3)), "half": jnp.ones(3, jnp.bfloat16)}
    data = DATA["x"]
    expected = dl.run(step, start, data, epochs=3, batch_size=8, progress=False)
    run = {"batch_size": 8, "progress": False, "checkpoint": tmp_path, "resume": True}
    dl.run(step, start, data, epochs=1, **run)
    found, _ = dl.run(step, start, data, epochs=3, **run)
    assert found["half"].dtype == jnp.bfloat16
    assert_same_bits((found, {}), (expected[0], {}))


def test_it_is_saved_just_at_every_steps_and_the_latest_are_kept(tmp_path):
    saved = []

    class Watched(Store):
        def save(self, number, tree, position, best=None):
            saved.append(position["done"])
            super().save(number, tree, position, best)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxdl.train.keeper.Store", Watched)
        fit(epochs=2, checkpoint=dl.Checkpoint(tmp_path, every_steps=5, keep=3))
    assert saved == [5, 10, 14]
    assert len(list(tmp_path.glob("checkpoint_*"))) == 3


def test_a_metric_of_several_figures_stays_an_array_over_a_resume_between_an_epochs_last_step_and_its_end(tmp_path):
    def step(state, batch):
        return state, {"columns": dl.Sum(batch.sum(0), len(batch))}

    arguments = {"epochs": 2, "batch_size": 25, "progress": False, "checkpoint": tmp_path}
    dl.run(step, {}, DATA["x"], callbacks=[stop_at(2)], **arguments)
    _, history = dl.run(step, {}, DATA["x"], resume=True, **arguments)
    for figures in history["columns"]:
        assert isinstance(figures, np.ndarray)
        np.testing.assert_allclose(figures, DATA["x"].mean(0), atol=1e-6)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_best_stays_as_well(tmp_path, mode):
    _, history = fit(epochs=6, checkpoint=dl.Checkpoint(tmp_path, keep=1, best="validation_loss", mode=mode))
    column = history["validation_loss"]
    best = (np.argmin if mode == "min" else np.argmax)(column) + 1
    kept = sorted(int(path.name.removeprefix("checkpoint_")) for path in tmp_path.glob("checkpoint_*"))
    assert kept == sorted({7 * best + best, 7 * 6 + 6})


OTHERS = ["12", "other.orbax-checkpoint-tmp-1", "damaged_checkpoint_3", "checkpoint_notes", "checkpoint_3.txt"]


def test_files_of_others_are_never_touched(tmp_path):
    for name in OTHERS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text("mine")
    settings = dl.Checkpoint(tmp_path, every_steps=3, keep=1)
    fit(epochs=1, checkpoint=settings)
    assert {path.name for path in tmp_path.iterdir()} == {*OTHERS, "jaxdl.lock", "checkpoint_8"}
    (tmp_path / "checkpoint_9.orbax-checkpoint-tmp").mkdir()  # what a run leaves that was killed while it wrote
    fit(epochs=2, checkpoint=settings, resume=True)
    assert {path.name for path in tmp_path.iterdir()} == {*OTHERS, "jaxdl.lock", "checkpoint_16"}
    assert all((tmp_path / name / "notes.txt").read_text() == "mine" for name in OTHERS)


@pytest.mark.parametrize(
    ("file", "known"),
    [
        ("checkpoint_4", False),
        ("checkpoint_4", True),
        ("checkpoint_4/notes.txt", False),
        ("checkpoint_4/notes.txt", True),
        (
            "checkpoint_4/state/notes.txt",
            False,
        ),  # in a known folder, what a run leaves that was killed while it removed
        ("checkpoint_4.orbax-checkpoint-tmp/notes.txt", False),
    ],
)
def test_a_folder_with_another_ones_checkpoint_is_refused(tmp_path, file, known):
    if known:
        (tmp_path / "jaxdl.lock").touch()
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("mine")
    for _ in range(2):
        with pytest.raises(
            ValueError, match=r"must hold no checkpoint_4\S* that jaxdl did not make; .* another folder"
        ):
            Store(dl.Checkpoint(tmp_path))
    assert (tmp_path / file).read_text() == "mine"


def test_a_checkpoint_that_was_half_removed_does_not_stand_in_the_way(tmp_path):
    tree = save_some(tmp_path)
    for path in ("position", "_CHECKPOINT_METADATA"):
        (shutil.rmtree if (tmp_path / "checkpoint_1" / path).is_dir() else os.remove)(tmp_path / "checkpoint_1" / path)
    assert read(tmp_path, tree)[1]["number"] == 3


def test_a_folder_is_that_of_one_run_and_no_file(tmp_path):
    store = Store(dl.Checkpoint(tmp_path / "a"))
    with pytest.raises(
        ValueError, match=r"must be the folder of one run; got another run at work in it\. Did you mean"
    ):
        fit(epochs=1, checkpoint=tmp_path / "a")
    store.close()
    Store(dl.Checkpoint(tmp_path / "a")).close()
    (tmp_path / "b").write_text("mine")
    with pytest.raises(ValueError, match=r"checkpoint: .*b must be a folder; got a file"):
        fit(epochs=1, checkpoint=tmp_path / "b")
    assert (tmp_path / "b").read_text() == "mine"


@pytest.mark.parametrize("name", ["a*b", "a?b", "a[b]", "a\\b", "gs://bucket/run"])
def test_a_path_in_which_orbax_sees_a_pattern_is_an_error(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=r"checkpoint: the folder must be a path of this machine, without .*; got (a|gs)"
    ):
        fit(epochs=1, checkpoint=name)
    assert not list(tmp_path.iterdir())


def test_any_other_path_is_a_folder(tmp_path):
    tree = {"a": jnp.ones(3)}
    for name in ("with space", "ünï", "a#b", "a%20b", "-x", "a:b", "{a}", "a'b\"", "x" * 200):
        store = Store(dl.Checkpoint(tmp_path / name))
        store.save(1, tree, {})
        store.close()
        assert read(tmp_path / name, tree) is not None, name


FORKING = """
import multiprocessing, os, pathlib, sys, time
from jaxdl.train.folder import open_folder
lock = open_folder(pathlib.Path(sys.argv[1]))

def work():
    print(os.getpid(), flush=True)
    time.sleep(60)

multiprocessing.get_context("fork").Process(target=work).start()
time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_worker_that_outlives_a_killed_run_does_not_hold_its_folder(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parent.parent)}
    words = [sys.executable, "-W", "ignore", "-c", FORKING, str(tmp_path)]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as process:
        worker = int(process.stdout.readline())
        try:
            with pytest.raises(ValueError, match="another run at work in it"):  # the parent keeps its own
                open_folder(tmp_path)
            process.kill()
            process.wait()
            open_folder(tmp_path).close()
        finally:
            os.kill(worker, signal.SIGKILL)


SHARDED = """
import sys, jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import jaxdl as dl
from jaxdl.train.checkpoint import Store
from jaxdl.train.saved import host_copy

def tree(devices, scale):
    mesh = Mesh(np.array(jax.devices()[:devices]), ("d",))
    put = lambda leaf, *spec: jax.device_put(leaf, NamedSharding(mesh, P(*spec)))
    x = scale * jnp.arange(128.0).reshape(16, 8)
    return {"rows": put(x, "d"), "columns": put(x, None, "d"), "same": put(x), "key": put(jax.random.key(3 * scale))}

store = Store(dl.Checkpoint(sys.argv[1]))
saved = tree(8, 1)
store.save(1, saved, {})
store.wait()
for devices in (4, 1, 8):
    like = tree(devices, 0)
    found, _ = store.restore(like)
    for name in like:
        numbers = jax.random.key_data if name == "key" else np.asarray
        np.testing.assert_array_equal(numbers(found[name]), numbers(saved[name]))
        assert found[name].sharding == like[name].sharding, name
        assert len(found[name].sharding.device_set) == devices
store.close()
print(jax.device_count(), "devices")
"""


def test_what_eight_devices_saved_goes_to_four_and_to_one(tmp_path):
    root = str(pathlib.Path(__file__).parent.parent)
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "PYTHONPATH": root}
    words = [sys.executable, "-c", SHARDED, str(tmp_path)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "8 devices\n", done.stderr
    # This process has one device, and its leaves are free to go anywhere.
    like = {name: jnp.zeros((16, 8)) for name in ("rows", "columns", "same")} | {"key": jax.random.key(0)}
    found, _ = read(tmp_path, like)
    np.testing.assert_array_equal(found["rows"], np.arange(128.0).reshape(16, 8))
    np.testing.assert_array_equal(found["columns"], found["rows"])
    assert found["rows"].committed == like["rows"].committed
    np.testing.assert_array_equal(*map(jax.random.key_data, (found["key"], jax.random.key(3))))


def save_some(folder, count=3):
    tree = {"a": jnp.arange(300.0), "b": {"c": jnp.ones((3, 4))}}
    store = Store(dl.Checkpoint(folder, keep=count))
    for number in range(1, count + 1):
        store.save(number, jax.tree.map(lambda leaf, number=number: leaf * number, tree), position_of(number))
    store.close()
    return tree


def position_of(number):
    return {"number": number, "history": {"loss": [number / 3, 1e-9], "none": [None]}}


def read(folder, tree):
    store = Store(dl.Checkpoint(folder))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return store.restore(tree)
    finally:
        store.close()


def damage(path, generator):
    raw = bytearray(path.read_bytes())
    kind = generator.choice(["flip", "cut", "empty", "gone", "zeros"])
    if kind == "gone" or not raw:
        path.unlink()
        return
    if kind == "flip":
        raw[generator.randrange(len(raw))] ^= 1 << generator.randrange(8)
    elif kind == "zeros":
        at = generator.randrange(len(raw))
        raw[at : at + 16] = bytes(len(raw[at : at + 16]))
    path.write_bytes(bytes(raw[: generator.randrange(len(raw))] if kind == "cut" else b"" if kind == "empty" else raw))


def corruptions(tmp_path, count, seed):
    """Damage one file of the newest checkpoint; what is read must be sound: it, or the one before."""
    generator = random.Random(seed)
    tree = save_some(tmp_path / "sound")
    outcomes = {2: 0, 3: 0}
    for index in range(count):
        folder = tmp_path / f"damaged_{index}"
        shutil.copytree(tmp_path / "sound", folder)
        files = sorted(path for path in (folder / "checkpoint_3").rglob("*") if path.is_file())
        damage(generator.choice(files), generator)
        found, position = read(folder, tree)
        number = position["number"]
        outcomes[number] += 1
        assert position == position_of(number)
        np.testing.assert_array_equal(found["a"], tree["a"] * number)
        np.testing.assert_array_equal(found["b"]["c"], tree["b"]["c"] * number)
        shutil.rmtree(folder)
    return outcomes


# Where one file is damaged, Orbax leaves the futures of the others unread.
left_unread = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@left_unread
def test_a_damaged_checkpoint_never_gives_wrong_numbers(tmp_path):
    assert corruptions(tmp_path, 25, seed=1)[2] > 5


@left_unread
@pytest.mark.slow
def test_five_hundred_damaged_checkpoints(tmp_path):
    assert corruptions(tmp_path, 500, seed=2)[2] > 100


@left_unread
def test_a_position_of_other_numbers_is_seen(tmp_path):
    tree = save_some(tmp_path, 2)
    file = tmp_path / "checkpoint_2" / "position" / "metadata"
    file.write_text(file.read_text().replace("1e-09", "2e-09"))
    assert read(tmp_path, tree)[1] == position_of(1)


@left_unread
def test_damaged_ones_of_one_number_are_all_kept(tmp_path):
    for _ in range(2):
        shutil.rmtree(tmp_path / "checkpoint_1", ignore_errors=True)
        tree = save_some(tmp_path, 2)
        (tmp_path / "checkpoint_2" / "position" / "metadata").write_text("{")
        read(tmp_path, tree)
    assert {"damaged_checkpoint_2", "damaged_checkpoint_2_2"} < {path.name for path in tmp_path.iterdir()}


def test_a_checkpoint_of_another_version_is_refused_and_stays(tmp_path, monkeypatch):
    with monkeypatch.context() as later:
        later.setattr("jaxdl.train.checkpoint.FORMAT", 3)
        tree = save_some(tmp_path)
    store = Store(dl.Checkpoint(tmp_path))
    with pytest.raises(ValueError, match=r"checkpoint_3 must be of format 2; got 3. Did you mean another version"):
        store.restore(tree)
    assert store.numbers() == [1, 2, 3]
    store.close()


@left_unread
def test_a_damaged_checkpoint_is_reported(tmp_path):
    tree = save_some(tmp_path)
    (tmp_path / "checkpoint_3" / "position" / "metadata").write_text("{")
    store = Store(dl.Checkpoint(tmp_path))
    with pytest.warns(UserWarning, match=r"checkpoint_3: .*; taking the one before it"):
        _, position = store.restore(tree)
    assert position["number"] == 2
    for path in tmp_path.rglob("metadata"):
        path.write_text("{")
    with pytest.warns(UserWarning), pytest.raises(OSError, match=r"no sound checkpoint in .*: checkpoint_2: .*; check"):
        store.restore(tree)
    store.close()


@left_unread
@pytest.mark.filterwarnings("ignore:checkpoint")
def test_a_run_goes_on_over_a_damaged_checkpoint_and_saves_again(tmp_path, whole):
    settings = dl.Checkpoint(tmp_path, every_steps=3)
    fit(checkpoint=settings, callbacks=[stop_at(9)])
    newest = max(tmp_path.glob("checkpoint_*"), key=lambda path: int(path.name.removeprefix("checkpoint_")))
    (newest / "position" / "metadata").write_text("{")
    assert_same_bits(fit(checkpoint=settings, resume=True), whole)
    assert (tmp_path / f"damaged_{newest.name}").is_dir()
    assert len(list(tmp_path.glob("checkpoint_*"))) == 2


def test_another_model_is_refused_with_both_sides(tmp_path):
    fit(epochs=1, checkpoint=tmp_path)
    other = dl.sequential(L.dense(9), jnp.tanh, L.dense(3))
    with pytest.raises(
        ValueError,
        match=r"must hold the train state of this run; got \d+ leaves that differ:\n(.*\n)*"
        r"  params/dense/kernel: float32\[4, 8\] in the checkpoint, float32\[4, 9\] in the train state",
    ):
        dl.fit(
            other, DATA, loss=dl.losses.cross_entropy, optimizer=OPTIMIZER, epochs=1, batch_size=8, progress=False,
            checkpoint=tmp_path, resume=True,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resume": True}, r"run: resume=True needs checkpoint=…"),
        ({"checkpoint": "a", "resume": True, "seed": 1}, r"seed and data must be those of the run, .*'seed': 0.*; got"),
        ({"checkpoint": "a"}, r"must be empty of checkpoints; got checkpoint_8\. Did you mean resume=True"),
        ({"checkpoint": "b", "data": iter([DATA]), "resume": True}, r"data that can be begun anew; got an iterator"),
    ],
)
def test_errors(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    fit(epochs=1, checkpoint="a")
    with pytest.raises(ValueError, match=message):
        fit(**{"epochs": 1} | arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep": 0}, "keep must be a positive int; got 0"),
        ({"every_steps": 0}, "every_steps must be a positive int; got 0"),
        ({"every_seconds": 0}, "every_seconds must be positive; got 0"),
        ({"mode": "best"}, 'mode must be "max" or "min"; got \'best\''),
    ],
)
def test_settings_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        dl.Checkpoint("a", **arguments)


def test_the_folder_is_a_path():
    with pytest.raises(TypeError, match=r"Checkpoint: folder must be a path; got True"):
        dl.Checkpoint(True)


def test_a_best_that_is_no_column_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"best must be one of the history's columns, \[.*'loss'.*\]; got 'f1'"):
        fit(epochs=1, checkpoint=dl.Checkpoint(tmp_path / "a", best="f1"))
    with pytest.raises(ValueError, match="Checkpoint: validation_all must be one figure an epoch; got float64"):
        dl.run(
            lambda state, batch: (state, {}), {}, DATA["x"], epochs=1, batch_size=8, progress=False,
            evaluate=lambda state: {"all": np.ones(3)}, checkpoint=dl.Checkpoint(tmp_path / "b", best="validation_all"),
        )  # fmt: skip


CHILD = """
import json, sys, jax, numpy as np
sys.path.insert(0, sys.argv[3])
from test_checkpoint import fit, numbers
import jaxdl as dl
print("ready", flush=True)
state, history = fit(epochs=int(sys.argv[2]), checkpoint=dl.Checkpoint(sys.argv[1], every_steps=2), resume=True)
np.savez(sys.argv[1] + ".npz", *numbers(state))
history.pop("seconds")
open(sys.argv[1] + ".json", "w").write(json.dumps(history))
"""


def child(folder, epochs):
    here = str(pathlib.Path(__file__).parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(pathlib.Path(here).parent), here])}
    arguments = [sys.executable, "-c", CHILD, str(folder), str(epochs), here]
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def killed_again_and_again(folder, kills, epochs, signals=(signal.SIGKILL,)):
    """Kill a training process at random moments, start it again each time, and let it finish at last."""
    generator = random.Random(3)
    landed = 0
    while landed < kills:
        process = child(folder, epochs)
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        try:
            process.wait(generator.uniform(0.3, 4.0))
            break  # It was faster than the kills.
        except subprocess.TimeoutExpired:
            process.send_signal(generator.choice(signals))
            process.communicate()
            landed += 1
    process = child(folder, epochs)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    history = json.loads(pathlib.Path(f"{folder}.json").read_text())
    with np.load(f"{folder}.npz") as saved:
        return [saved[name] for name in saved.files], history, landed


@pytest.mark.slow
def test_killed_at_8_moments_it_comes_to_the_same_bits(tmp_path):
    epochs = 120
    found, history, landed = killed_again_and_again(tmp_path / "run", 8, epochs, (signal.SIGKILL, signal.SIGTERM))
    assert landed == 8
    state, expected = fit(epochs=epochs)
    for a, b in zip(found, numbers(state), strict=True):
        np.testing.assert_array_equal(a, b)
    expected.pop("seconds")
    assert history == expected


@pytest.mark.slow
def test_killed_once_it_comes_to_the_same_bits(tmp_path, whole):
    found, history, _ = killed_again_and_again(tmp_path / "run", 1, 4)
    for a, b in zip(found, numbers(whole[0]), strict=True):
        np.testing.assert_array_equal(a, b)
    assert history == {name: column for name, column in whole[1].items() if name != "seconds"}


def test_sigterm_saves_and_says_so(tmp_path, capsys, whole):
    def terminate(event):
        if event.kind == "program" and event.step >= 3:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as exit_:
        fit(checkpoint=tmp_path, callbacks=[terminate])
    assert exit_.value.code == 143
    assert "SIGTERM: saved" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before
    assert_same_bits(fit(checkpoint=tmp_path, resume=True), whole)


def test_it_saves_by_the_clock_without_keeping_the_training_waiting(tmp_path):
    gate = threading.Event()
    written = []

    class Slow(Store):
        def _write(self, *arguments):
            gate.wait(60)
            super()._write(*arguments)
            written.append(arguments[0])

    def open_at_the_end(event):
        if event.kind == "epoch" and event.epoch == 2:
            assert not written  # The first save is due before; the training has not waited for it.
            gate.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxdl.train.keeper.Store", Slow)
        fit(epochs=3, checkpoint=dl.Checkpoint(tmp_path, every_seconds=1e-6), callbacks=[open_at_the_end])
    assert len(written) >= 2
