"""The history in files: whole, while it grows, over kills, for TensorBoard and as a picture."""

import json
import math
import os
import pathlib
import re
import signal
import struct
import sys
import types
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import jaxdl as dl
from jaxdl.inspect import live, live_plot
from jaxdl.train import read_history, write_history

DATA = np.arange(6.0, dtype=np.float32)


def step(state, batch):
    return state + 1, {"seen": batch.sum()}


run = partial(dl.run, step, jnp.int32(0), DATA, batch_size=2, progress=False, evaluate=lambda state: {"at": int(state)})


def stop_after(epoch):
    return lambda event: dl.Stop() if event.kind == "epoch" and event.epoch == epoch else None


def assert_equal_histories(found, expected):
    assert list(found) == list(expected)
    for name, column in expected.items():
        for a, b in zip(found[name], column, strict=True):
            assert type(a) is type(b), (name, a, b)
            np.testing.assert_array_equal(a, b)


FIGURES = st.one_of(
    st.none(), st.floats(), st.integers(-(2**70), 2**70),
    st.lists(st.floats(), min_size=1, max_size=3).map(np.array), st.just(np.array([[1, 2], [3, 4]])),
)  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@given(columns=st.dictionaries(st.text(st.characters(blacklist_categories=["Cs"]), min_size=1), FIGURES, max_size=3))
@example(columns={"\r": None, "a\rb\nc": 1.0})
@settings(deadline=None, max_examples=40)
def test_what_is_written_is_read_again_to_the_last_bit(tmp_path_factory, suffix, columns):
    path = tmp_path_factory.mktemp("history") / f"h{suffix}"
    history = {"epoch": [1, 2], **{name: [value, None] for name, value in columns.items() if name != "epoch"}}
    write_history(history, path)
    assert_equal_histories(read_history(path), history)


def test_the_files_are_what_other_programs_read(tmp_path):
    history = {
        "epoch": [1, 2],
        "loss": [0.5, math.nan],
        "matrix": [np.eye(2, dtype=int), None],
        "f": [np.float32(1), 2],
    }
    write_history(history, tmp_path / "h.csv")
    write_history(history, tmp_path / "deep" / "h.jsonl")
    assert (tmp_path / "h.csv").read_text() == 'epoch,loss,matrix,f\n1,0.5,"[[1, 0], [0, 1]]",1.0\n2,nan,,2\n'
    assert (tmp_path / "deep" / "h.jsonl").read_text().splitlines() == [
        '{"epoch": 1, "loss": 0.5, "matrix": [[1, 0], [0, 1]], "f": 1.0}',
        '{"epoch": 2, "loss": "NaN", "matrix": null, "f": 2}',
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "h.csv"]
    write_history({}, tmp_path / "h.csv")
    assert read_history(tmp_path / "h.csv") == {}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("h.txt", "", "path must end with .csv or .jsonl; got"),
        ("h.jsonl", "a note\n", "must be a history, a line an epoch; got Expecting value"),
        ("h.jsonl", "[1]\n", "must be a history, a line an epoch; got"),
        ("h.csv", "a,b\n1,2\n", "must be a history, with the column epoch; got ['a', 'b']"),
        ("h.csv", "epoch\nred\n", "must be a history, a line an epoch; got could not convert string"),
        ("h.csv", "epoch\n1,2\n", "must be a history, a line an epoch; got"),
    ],
)
def test_files_of_others_are_named_and_stay(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_history(tmp_path / name)
    with pytest.raises(ValueError, match=re.escape(message)):
        run(epochs=1, callbacks=[dl.history_file(tmp_path / name)])
    assert (tmp_path / name).read_text() == text


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_the_file_grows_with_the_run_and_goes_on_with_it(tmp_path, suffix):
    path = tmp_path / f"h{suffix}"
    seen = []

    def look(event):
        if event.kind == "epoch":
            seen.append(read_history(path)["epoch"])

    _, history = run(epochs=4, callbacks=[dl.history_file(path), look])
    assert seen == [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4]]
    assert_equal_histories(read_history(path), history)
    # Going on from a train state: the epochs before stay. Beginning anew: none of them.
    _, more = run(epochs=2, first_epoch=4, callbacks=[dl.history_file(path)])
    assert read_history(path)["epoch"] == [1, 2, 3, 4, 5, 6]
    assert read_history(path)["seconds"] == history["seconds"] + more["seconds"]
    run(epochs=1, callbacks=[dl.history_file(path)])
    assert read_history(path)["epoch"] == [1]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_resumed_run_has_each_epoch_once(tmp_path, suffix):
    path = tmp_path / f"h{suffix}"
    arguments = dict(epochs=6, checkpoint=tmp_path / "run", resume=True)
    run(callbacks=[dl.history_file(path), stop_after(3)], **arguments)
    # What a kill leaves: epochs that no checkpoint holds, and half a line.
    with path.open("a") as file:
        file.write(path.read_text().splitlines(keepends=True)[-1].replace("3", "4", 1) + '{"epoch": 5, "se')
    _, history = run(callbacks=[dl.history_file(path)], **arguments)
    assert history["epoch"] == [1, 2, 3, 4, 5, 6]
    assert_equal_histories(read_history(path), history)
    run(callbacks=[dl.history_file(path)], **arguments)
    assert_equal_histories(read_history(path), history)


def test_an_epoch_that_was_cut_short_has_no_line(tmp_path):
    def press(event):
        if event.kind == "program" and event.epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)

    _, history = run(epochs=3, callbacks=[dl.history_file(tmp_path / "h.csv"), press])
    assert history["epoch"] == [1, 2]
    assert read_history(tmp_path / "h.csv")["epoch"] == [1]


def test_a_column_that_comes_later_is_in_the_table(tmp_path):
    evaluate = lambda state: {"early": 1.0} if int(state) < 4 else {"early": 1.0, "late": 2.0}  # noqa: E731
    run(epochs=3, evaluate=evaluate, callbacks=[dl.history_file(tmp_path / "h.csv")])
    assert read_history(tmp_path / "h.csv")["validation_late"] == [None, 2.0, 2.0]


# TensorBoard


def events_in(folder):
    """The scalars in TensorBoard's files: records of a length, its checksum, the data and their checksum."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.glob("events.*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            yield Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]


def test_tensorboard_reads_both_curves_of_a_resumed_run(tmp_path):
    pytest.importorskip("tensorboardX")
    arguments = dict(
        epochs=4, checkpoint=tmp_path / "run", resume=True,
        evaluate=lambda state: {"seen": 0.5, "matrix": np.eye(2), "none": None},
    )  # fmt: skip
    run(callbacks=[dl.tensorboard(tmp_path / "tb"), stop_after(2)], **arguments)
    board = dl.tensorboard(tmp_path / "tb")
    run(callbacks=[board], **arguments)
    assert board.writers == {}
    found = {}
    for part in ("training", "validation"):
        for event in events_in(tmp_path / "tb" / part):
            for value in event.summary.value:
                found.setdefault((part, value.tag), []).append((event.step, value.simple_value))
    assert found.pop(("validation", "seen")) == [(epoch, 0.5) for epoch in (1, 2, 3, 4)]
    assert found.pop(("training", "seen")) == [(epoch, 15.0 / 3) for epoch in (1, 2, 3, 4)]
    assert sorted(found) == [("training", "seconds"), ("training", "steps")]
    starts = [event.step for event in events_in(tmp_path / "tb" / "training") if event.HasField("session_log")]
    assert starts == [1, 3], "what lies beyond is hidden"


def test_without_tensorboardx_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"tensorboard: needs tensorboardX.*pip install 'jaxdl\[tensorboard\]'"):
        run(epochs=1, callbacks=[dl.tensorboard(tmp_path)])


# The live picture


def test_the_picture_is_drawn_as_the_run_goes_and_replaced_whole(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "h.svg"
    seen = []

    def look(event):
        if event.kind in ("epoch", "end"):
            seen.append(path.read_text())

    run(epochs=3, callbacks=[live_plot(path), look])
    assert all(text.rstrip().endswith("</svg>") for text in seen)
    assert seen[0] == seen[1], "drawing takes a share of the time"
    assert seen[-1] != seen[0]
    assert [file.name for file in path.parent.iterdir()] == ["h.svg"]
    drawn = []
    monkeypatch.setattr(live, "SHARE", math.inf)
    monkeypatch.setattr(
        live, "plot_history", lambda history: drawn.append(len(history["epoch"])) or types.SimpleNamespace()
    )
    run(epochs=3, callbacks=[live_plot()])
    assert drawn == [1, 2, 3, 3]


def test_a_picture_that_cannot_be_drawn_is_refused_before_anything_is_trained(monkeypatch):
    with pytest.raises(ValueError, match=r"live_plot: path must end with one of \..*\.png.*; got curves\.xyz"):
        live_plot("curves.xyz")
    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    with pytest.raises(ImportError, match=r"inspect\.live_plot: needs matplotlib; install it with: pip install "):
        live_plot()


def test_in_a_notebook_one_picture_is_renewed(monkeypatch):
    pictures = []

    class Handle:
        def update(self, image):
            pictures.append(("again", image[:4]))

    def display(image, display_id):
        pictures.append(("first", image[:4]))
        return Handle()

    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell, version_info=(9, 0)))
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display, Image=lambda data: data))
    run(epochs=2, callbacks=[live_plot()])
    assert pictures[0] == ("first", b"\x89PNG")
    assert set(pictures[1:]) == {("again", b"\x89PNG")}


def test_json_is_strict(tmp_path):
    write_history({"epoch": [1], "a": [-math.inf], "b": [np.array([math.nan, 1.0])]}, tmp_path / "h.jsonl")

    def refuse(name):
        raise AssertionError(name)

    line = json.loads((pathlib.Path(tmp_path) / "h.jsonl").read_text(), parse_constant=refuse)
    assert line == {"epoch": 1, "a": "-Infinity", "b": ["NaN", 1.0]}
