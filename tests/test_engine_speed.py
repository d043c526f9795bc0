"""What makes training fast, as far as it can be told without a clock."""

import itertools
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest

import jaxdl as dl
from benchmarks.engine import models, training
from jaxdl import layers as L
from jaxdl.train import chunks, compile_cache, pace, prefetch
from jaxdl.train.feed import Feed

RNG = np.random.default_rng(0)
DATA = {"x": RNG.normal(size=(40, 3)).astype(np.float32), "y": RNG.integers(0, 2, 40).astype(np.int32)}
OPTIMIZER = optax.sgd(0.1)


def fit(data=DATA, **changes):
    arguments = dict(loss=dl.losses.cross_entropy, optimizer=OPTIMIZER, epochs=3, batch_size=4, progress=False)
    return dl.fit(L.dense(2), data, **arguments | changes)


def assert_equal(one, two):
    jax.tree.map(np.testing.assert_array_equal, (one.params, one.opt_state), (two.params, two.opt_state))


def test_an_epoch_traces_nothing(monkeypatch):
    """A transform is Python that runs while it is traced, so it tells."""
    seen = []

    def transform(batch, key):
        seen.append(1)
        return batch

    fit(transform=transform, epochs=1)
    once = len(seen)
    seen.clear()
    fit(transform=transform, epochs=6)
    assert len(seen) <= once


# Evaluation in programs


@pytest.fixture
def single_steps(monkeypatch):
    """Every program is one step long."""
    monkeypatch.setattr(pace.Pace, "steps", lambda self, left: 1)


def kinds(**changes):
    heard = []
    state, history = fit(callbacks=[lambda event: heard.append((event.kind, event.step, event.steps))], **changes)
    return heard, state, history


def test_evaluation_in_programs_of_any_length_gives_the_same_bits(monkeypatch):
    many = {name: np.concatenate([leaf] * 20) for name, leaf in DATA.items()}  # 800 examples: 4 batches of 256
    _, state, history = kinds(validation=many)
    monkeypatch.setattr(pace.Pace, "steps", lambda self, left: 1)
    heard, again, other = kinds(validation=many)
    assert_equal(state, again)
    assert history["validation_loss"] == other["validation_loss"]
    told = [(step, steps) for kind, step, steps in heard if kind == "evaluation"]
    assert told == 3 * [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(steps == 10 for kind, _, steps in heard if kind != "evaluation")


@pytest.mark.slow
def test_a_run_that_is_stopped_in_an_evaluation_resumes_to_the_same_bits(tmp_path, single_steps):
    many = {name: np.concatenate([leaf] * 20) for name, leaf in DATA.items()}
    whole, expected = fit(validation=many)

    def stop(event):
        return dl.Stop() if event.kind == "evaluation" and event.epoch == 2 and event.step == 2 else None

    _, history = fit(validation=many, callbacks=[stop], checkpoint=tmp_path)
    assert history["validation_loss"] == [expected["validation_loss"][0], None]
    resumed, history = fit(validation=many, checkpoint=tmp_path, resume=True)
    assert_equal(resumed, whole)
    for name in ("epoch", "steps", "loss", "validation_loss"):
        assert history[name] == expected[name]


def test_a_stop_after_the_last_program_of_an_evaluation_lets_it_count(single_steps):
    """Of a stream nobody knows that a program is the last one."""

    def stop(event):
        return dl.Stop() if event.kind == "evaluation" and event.epoch == 1 and event.step == last else None

    last = 10
    _, history = fit(validation=stream, callbacks=[stop])
    assert history["validation_loss"] == fit(validation=stream, epochs=1)[1]["validation_loss"]
    last = 9
    assert "validation_loss" not in fit(validation=stream, callbacks=[stop])[1]


# Reading ahead


def stream(epoch, start, taken=None):
    order = dl.data.epoch_order(40, seed=0, epoch=epoch)
    for first in range(4 * start, 40, 4):
        if taken is not None:
            taken.append((epoch, first))
        yield {name: leaf[order[first : first + 4]] for name, leaf in DATA.items()}


class Source:
    def __len__(self):
        return 40

    def __getitem__(self, index):
        return {name: leaf[index] for name, leaf in DATA.items()}


@pytest.mark.parametrize("data", [stream, Source()], ids=["stream", "source"])
@pytest.mark.parametrize("seconds", [0.0, 1e-9, 10.0])
def test_chunks_of_any_length_give_the_same_bits(monkeypatch, data, seconds):
    """Chunks that are closed early because their reading took long leave room in themselves."""
    expected, history = fit()
    monkeypatch.setattr(chunks, "CHUNK_SECONDS", seconds)
    before = dl.train.trace_count()
    state, found = fit(data)
    assert_equal(state, expected)
    assert found["loss"] == history["loss"]
    assert dl.train.trace_count() - before <= 1


def test_the_next_epoch_is_begun_while_this_one_runs():
    taken = []
    held = threading.Event()

    def step(state, batch):
        return state, {"sum": batch["x"].sum()}

    def look(event):
        if event.kind == "epoch" and event.epoch == 1:
            held.wait(timeout=5)
            seen.append(any(epoch == 1 for epoch, _ in taken))

    def data(epoch, start):
        for batch in stream(epoch, start, taken):
            if epoch == 1:
                held.set()
            yield batch

    seen = []
    dl.run(step, {}, data, epochs=2, callbacks=[look], progress=False)
    assert seen == [True]
    assert max(epoch for epoch, _ in taken) == 1, "and never one that is not trained"


def test_reading_ahead_ends_with_the_run():
    def endless(epoch, start):
        yield from itertools.cycle(stream(epoch, start))

    def stop(event):
        return dl.Stop() if event.kind == "program" else None

    fit(endless, steps_per_epoch=1000, epochs=1, callbacks=[stop])
    assert not [thread for thread in threading.enumerate() if thread.name == "jaxdl-prefetch"]


def test_what_reads_is_closed_by_the_thread_that_reads():
    closed = []

    def numbers():
        try:
            yield from itertools.count()
        finally:
            closed.append(threading.current_thread().name)

    held = numbers()  # held, so that no one else closes it
    ahead = prefetch.prefetch(held)
    assert next(ahead) == 0
    ahead.close()
    assert closed == ["jaxdl-prefetch"]

    def failing():
        try:
            yield 1
        finally:
            raise OSError("no way to close")

    with pytest.raises(OSError, match="no way to close"):
        list(prefetch.prefetch(failing()))


def test_a_reader_that_is_blocked_is_left_behind_with_a_warning(monkeypatch):
    monkeypatch.setattr(prefetch, "PATIENCE", 0.01)
    release = threading.Event()

    def blocked(epoch, start):
        yield from itertools.islice(stream(epoch, start), 2)
        release.wait(10)

    def stop(event):
        return dl.Stop() if event.kind == "program" else None

    monkeypatch.setattr(chunks, "CHUNK_STEPS", 1)
    with pytest.warns(UserWarning, match="the data are still being read: the thread is left behind"):
        fit(blocked, epochs=1, callbacks=[stop])
    release.set()


@pytest.mark.parametrize("kind", ["source", "stream"])
def test_an_object_that_training_and_validation_share_is_read_in_turn(kind):
    inside, threads = [], set()

    def alone(read):
        assert not inside
        inside.append(1)
        time.sleep(0.001)
        threads.add(threading.get_ident())
        inside.pop()
        return read()

    class Shared(Source):
        def __getitem__(self, index):
            return alone(lambda: super(Shared, self).__getitem__(index))

    class Stream:
        def __call__(self, epoch, start):
            batches = stream(epoch, start)
            return iter(lambda: alone(lambda: next(batches, None)), None)

    data = {"source": Shared, "stream": Stream}[kind]()
    fit(data, validation=data, epochs=2)
    assert len(threads) > 1


def test_orders_are_drawn_ahead_to_the_same_bits(monkeypatch):
    expected, _ = fit()
    monkeypatch.setattr("jaxdl.train.feed.DRAWN_AHEAD", 1)
    assert_equal(fit()[0], expected)


def test_the_epochs_of_a_feed_are_abstract():
    assert Feed.__abstractmethods__ == {"epochs", "example", "watch"}


# What measures it


def test_forms_take_turns_and_a_run_is_timed_beside_its_program(capsys):
    what = models.leaves(2, 4)
    found = training.by_turns({"bare": training.bare(what), "run": training.engine(what, 2)}, 1)
    assert found.keys() == {"bare", "run"}
    assert all(milliseconds > 0 for milliseconds in found.values())


# The compile cache

CODE = """
import sys, jax, jax.numpy as jnp, numpy as np, optax
import jaxdl as dl
from jax._src import xla_bridge
if len(sys.argv) > 1:
    assert dl.enable_compile_cache(sys.argv[1]) == dl.enable_compile_cache(sys.argv[1])
    assert not xla_bridge.backends_are_initialized()
heard = []
jax.monitoring.register_event_listener(lambda name, **more: heard.append(name))
model = dl.sequential(dl.layers.dense(4), dl.layers.dropout(0.5), dl.layers.dense(2))
x = np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3)
state, history = dl.fit(model, (x, np.arange(8) % 2), loss=dl.losses.cross_entropy, optimizer=optax.adam(0.1),
                        epochs=3, batch_size=4, progress=False)
print(sum(map(heard.count, ["/jax/compilation_cache/cache_hits"])),
      sum(map(heard.count, ["/jax/compilation_cache/cache_misses"])))
print([leaf.tobytes().hex() for leaf in map(np.asarray, jax.tree.leaves((state.params, state.opt_state)))])
"""


def python(*arguments):
    done = subprocess.run([sys.executable, "-c", CODE, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    counts, bits = done.stdout.splitlines()
    return [int(count) for count in counts.split()], bits


@pytest.mark.slow
def test_a_second_process_finds_all_programs_and_comes_to_the_same_bits(tmp_path):
    folder = tmp_path / "programs"
    (_, misses), first = python(folder)
    assert misses > 0
    (hits, misses), second = python(folder)
    assert hits > 0
    assert misses == 0
    assert first == second == python()[1]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.fixture
def untouched():
    """Errors come before anything is set."""
    before = jax.config.jax_compilation_cache_dir
    yield
    assert jax.config.jax_compilation_cache_dir == before


def test_a_folder_that_is_not_safe_is_refused(tmp_path, untouched, monkeypatch):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o770)
    with pytest.raises(ValueError, match=r"must be writable by this user alone; got mode 0770. Did you mean chmod 700"):
        dl.enable_compile_cache(folder)
    folder.chmod(0o777)
    (folder / "inner").mkdir(mode=0o700)
    with pytest.raises(
        ValueError, match=r"no folder above .*inner may be writable by others, unless.*; got .*open, mode 0777"
    ):
        dl.enable_compile_cache(folder / "inner")
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(ValueError, match=r"other must belong to this user, 12345; got user \d+"):
        dl.enable_compile_cache(other)


def test_a_folder_above_must_be_safe_as_well(tmp_path, untouched, monkeypatch):
    above = tmp_path / "above"
    folder = above / "inner"
    folder.mkdir(parents=True, mode=0o700)
    whole = Path.stat

    def owned(path, **how):
        found = list(whole(path, **how))
        if path == above:
            found[stat.ST_UID] = 4321
        return os.stat_result(found)

    with monkeypatch.context() as changed:
        changed.setattr(Path, "stat", owned)
        with pytest.raises(ValueError, match=r"must belong to this user, \d+, or to root; got .*above, user 4321"):
            dl.enable_compile_cache(folder)
    above.chmod(0o775)
    monkeypatch.setattr(compile_cache, "_is_private", lambda group: False)
    with pytest.raises(ValueError, match=r"writable by others, unless .*; got .*above, mode 0775. Did you mean chmod"):
        dl.enable_compile_cache(folder)


def test_others_may_write_above_under_the_sticky_bit_and_a_private_group(tmp_path, monkeypatch):
    above = tmp_path / "above"
    folder = above / "inner"
    folder.mkdir(parents=True, mode=0o700)
    above.chmod(0o1777)
    compile_cache._check_private(folder)
    above.chmod(0o775)
    monkeypatch.setattr(compile_cache, "_is_private", lambda group: True)
    compile_cache._check_private(folder)


@pytest.mark.parametrize(
    ("name", "group", "members", "private"),
    [
        ("ann", 7, [], True),
        ("ann", 7, ["ann"], True),
        ("ann", 7, ["ann", "bob"], False),
        ("staff", 7, [], False),
        ("ann", 8, [], False),
    ],
)
def test_a_private_group_is_named_like_its_only_member(monkeypatch, name, group, members, private):
    monkeypatch.setattr("pwd.getpwuid", lambda uid: SimpleNamespace(pw_name="ann", pw_gid=7))
    monkeypatch.setattr("grp.getgrgid", lambda gid: SimpleNamespace(gr_name=name, gr_gid=gid, gr_mem=members))
    assert compile_cache._is_private(group) is private


def test_a_group_without_a_name_is_not_private(monkeypatch):
    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert compile_cache._is_private(7) is False


def test_the_folder_that_was_checked_is_the_one_that_is_used(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real")
    code = "import sys, jax, jaxdl as dl; dl.enable_compile_cache(sys.argv[1])\n"
    code += "print(jax.config.jax_compilation_cache_dir)"
    run = [sys.executable, "-c", code, str(tmp_path / "link")]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip() == str(tmp_path / "real")


@pytest.mark.slow
def test_an_entry_that_is_torn_is_warned_of_and_its_program_compiled_anew(tmp_path):
    _, bits = python(tmp_path / "programs")
    for entry in (tmp_path / "programs").glob("*-cache"):
        entry.write_bytes(entry.read_bytes()[:100])
    run = [sys.executable, "-c", CODE, str(tmp_path / "programs")]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == bits
    assert "Error reading persistent compilation cache entry" in done.stderr


@pytest.mark.slow
def test_the_instruction_set_is_part_of_what_a_program_is_found_by(tmp_path):
    """So machines of different kinds may share a home."""
    code = "import sys, jax, jaxdl as dl; dl.enable_compile_cache(sys.argv[1]); jax.jit(lambda x: x + 1)(1.0)"
    folder = tmp_path / "programs"
    names = []
    for flags in ("", "--xla_cpu_max_isa=SSE4_2"):
        run = [sys.executable, "-c", code, str(folder)]
        subprocess.run(run, check=True, env=os.environ | {"XLA_FLAGS": flags}, capture_output=True)
        names.append({entry.name for entry in folder.glob("*-cache")})
    assert names[0] < names[1]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path, untouched):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"enable_compile_cache: could not make the folder .*file: File exists"):
        dl.enable_compile_cache(tmp_path / "file")


@pytest.mark.slow
def test_the_folder_is_of_the_users_cache(tmp_path, monkeypatch):
    done = subprocess.run(
        [sys.executable, "-c", "import jaxdl as dl; print(dl.enable_compile_cache())"],
        capture_output=True, text=True, check=True, env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout.strip() == str(tmp_path / "jaxdl" / "compiled")


@pytest.mark.parametrize("name", models.BATCH)
def test_what_the_benchmarks_train_fits_its_targets(name):
    examples = models.data(name, 1)
    layer = models.model(name)

    def predicted(x):
        return layer.apply(*layer.init(jax.random.key(0), x), x, train=False)[0]

    assert jax.eval_shape(predicted, examples["x"]).shape[:-1] == examples["y"].shape
