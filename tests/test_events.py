"""Callbacks: what they are told, how they end a run, and early stopping."""

import io
import os
import re
import signal
from dataclasses import replace
from functools import partial

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import jaxdl as dl
from jaxdl.train.events import Event, standing
from jaxdl.train.progress import Progress

DATA = np.arange(6.0, dtype=np.float32)


def step(state, batch):
    return {"done": state["done"] + 1}, {"seen": batch.sum()}


run = partial(dl.run, step, {"done": jnp.int32(0)}, DATA, batch_size=2, progress=False)


def following(values, epochs=None, **arguments):
    """A run whose epochs are measured to be these values; the state counts the steps, three an epoch."""
    values = iter(values) if not callable(values) else values
    evaluate = values if callable(values) else lambda state: {"value": next(values)}
    return run(epochs=epochs or 9, evaluate=evaluate, **arguments)


# Stop


@pytest.mark.parametrize("kind", ["begin", "program", "evaluation", "epoch"])
def test_a_callback_ends_the_run_by_what_it_returns(kind):
    model = dl.layers.dense(1)
    data = {"x": np.ones((6, 2), np.float32), "y": np.ones((6, 1), np.float32)}
    ends = []

    def listen(event):
        if event.kind == "end":
            ends.append(event)
        return dl.Stop(reason="enough") if event.kind == kind else None

    state, history = dl.fit(
        model, data, loss=dl.losses.mean_squared_error, optimizer=optax.sgd(0.1), epochs=3, batch_size=2,
        validation=data, callbacks=[listen], progress=False,
    )  # fmt: skip
    assert len(history.get("epoch", [])) == (kind != "begin")
    assert [end.stop for end in ends] == [dl.Stop(reason="enough")]
    assert ends[0].state is state


def test_the_end_says_whether_the_run_was_cut_short():
    ends = []

    def listen(event):
        if event.kind == "end":
            ends.append(event.stop)
        if event.kind == "epoch" and press:
            os.kill(os.getpid(), signal.SIGINT)

    press = False
    run(epochs=2, callbacks=[listen])
    press = True
    run(epochs=2, callbacks=[listen])
    assert ends == [None, dl.Stop(reason="Ctrl-C")]


def test_a_stop_with_a_state_has_the_run_return_it_and_the_checkpoint_keep_what_was_reached(tmp_path):
    other = {"done": jnp.int32(-1)}

    def stop(event):
        return dl.Stop(other) if event.kind == "epoch" and event.epoch == 2 else None

    state, history = run(epochs=5, callbacks=[stop], checkpoint=tmp_path)
    assert int(state["done"]) == -1
    assert history["epoch"] == [1, 2]
    state, history = run(epochs=5, checkpoint=tmp_path, resume=True)
    assert int(state["done"]) == 15
    assert history["epoch"] == [1, 2, 3, 4, 5]


def test_at_the_end_the_last_callback_with_a_state_has_it_and_later_ones_see_it():
    seen = []

    def give(number):
        return lambda event: dl.Stop({"done": jnp.int32(number)}) if event.kind == "end" else None

    def look(event):
        if event.kind == "end":
            seen.append((int(event.state["done"]), event.stop))

    state, history = run(epochs=2, callbacks=[give(7), look, give(8), look])
    assert seen == [(7, None), (8, None)]
    assert int(state["done"]) == 8
    assert history["epoch"] == [1, 2]


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (True, TypeError, r"a callback must return None or dl.Stop(…); got True. Did you mean return dl.Stop()?"),
        ("stop", TypeError, r"a callback must return None or dl.Stop(…); got 'stop'"),
        (dl.Stop(jnp.zeros(3)), ValueError, r"the state of a callback's dl.Stop must be like the train state, "),
        (dl.Stop("enough"), ValueError, "got PyTreeDef(*). Did you mean dl.Stop(reason='enough')?"),
    ],
)
def test_other_answers_are_errors(answer, error, message):
    with pytest.raises(error, match=re.escape(message)):
        run(epochs=1, callbacks=[lambda event: answer])


@pytest.mark.parametrize(
    ("callbacks", "got"),
    [
        (dl.tensorboard("a"), "TensorBoard(folder=PosixPath('a')). Did you mean callbacks=[…], with it inside?"),
        (["tensorboard"], "['tensorboard']"),
        ("tensorboard", "tensorboard"),
        (None, "None"),
    ],
)
def test_callbacks_are_a_list_of_functions(callbacks, got):
    message = f"run(callbacks=…): callbacks must be a list of functions of an event; got {got}"
    with pytest.raises(TypeError, match=re.escape(message)):
        run(epochs=1, callbacks=callbacks)


def test_an_event_is_read_only_and_stays_as_it_was():
    events = []
    run(epochs=2, callbacks=[events.append])
    assert [event.kind for event in events[:2]] == ["begin", "program"]
    assert [event.epoch for event in events if event.kind == "epoch"] == [1, 2]
    with pytest.raises(AttributeError, match="cannot assign to field 'stop'"):
        events[0].stop = True


def test_an_epoch_that_was_cut_short_says_so(capsys):
    def stop(event):
        if event.kind == "program" and event.epoch == 2 and event.step == 2:
            return dl.Stop(reason="enough")
        return None

    events = []
    data = lambda epoch, start: ([DATA[:2], DATA[:2], DATA[:2]][i] for i in range(start, 3))  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxdl.train.pace.Pace.steps", lambda pace, most: 1)
        evaluate = lambda state: {"figure": 0.5}  # noqa: E731
        _, history = dl.run(
            step, {"done": jnp.int32(0)}, data, steps_per_epoch=3, epochs=4, evaluate=evaluate,
            callbacks=[stop, events.append],
        )  # fmt: skip
    assert [event.whole for event in events if event.kind == "epoch"] == [True, False]
    assert history["validation_figure"] == [0.5, None]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["epoch", "seen", "validation_figure", "seconds"]
    assert lines[2].split()[:3] == ["2/4", "1.0000", "–"]
    assert lines[2].endswith("after 2 of 3 steps")
    assert re.fullmatch(r"stopped in epoch 2 of 4 after \d+\.\d s: enough; what is reached is returned", lines[3])


def test_a_terminal_shows_a_bar_of_the_run_and_one_of_its_epoch(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr("rich.console.Console", partial(Console, file=shown, force_terminal=True, width=100))
    event = Event("begin", 1, 3, 0, 4, {}, None, {})
    with Progress() as progress:

        def bars(**changes):
            progress(replace(event, **changes))
            return [(task.description, task.completed, task.total, task.fields["count"]) for task in progress.bar.tasks]

        assert bars()[0] == ("compiling", 0, 8, "")
        run, part = bars(kind="program", epoch=2, step=3, metrics={"loss": 0.5})
        assert run == ("epoch 2/3", 3, 8, "")
        assert part == ("  training", 3, 4, "3/4")
        assert progress.bar.tasks[1].fields["told"].startswith("loss 0.5000  ")
        assert bars(kind="evaluation", epoch=2, step=1, steps=None)[1] == ("  evaluating", 1, None, "1")
        bars(kind="epoch", epoch=2, step=4, metrics={"epoch": 2, "steps": 4, "loss": 0.25})
        assert bars(kind="program", epoch=3, step=1)[:2] == [("epoch 3/3", 5, 8, ""), ("  training", 1, 4, "1/4")]
        bars(kind="end", epoch=3)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue())
    assert re.search(r"epoch +loss(.|\n)*2/3 +0\.2500", text)
    bold = [line for line in re.split(r"[\r\n]+", shown.getvalue()) if "\x1b[1m" in line]
    assert len(bold) == 1 and "epoch       loss" in bold[0], "the header alone is bold, and no bar below it"


@pytest.mark.parametrize(("width", "told"), [(80, "loss 0.1234 accuracy 0.9300  "), (50, "")])
def test_the_bars_keep_their_room_beside_many_metrics(width, told, monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr("rich.console.Console", partial(Console, file=shown, force_terminal=True, width=width))
    metrics = {"loss": 0.1234, "accuracy": 0.93, "gradient_norm": 1.5, "loss_scale": 65536.0, "skipped": 0.0}
    event = Event("begin", 0, 9, 0, 45, {}, None, {})
    with Progress() as progress:
        progress(event)
        progress(replace(event, kind="program", epoch=1, step=40, metrics=metrics))
        assert re.fullmatch(rf"{told}\d+ steps/s", progress.bar.tasks[1].fields["told"])
        progress.bar.refresh()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue())
    assert re.search(r"epoch 1/9 .*left\s+training ━━.* 40/45 .*left", text) and "…" not in text


def test_a_run_that_is_resumed_says_where_it_goes_on(capsys):
    event = Event("begin", 1, 3, 0, 4, {}, None, {})
    for changes in (
        {},
        {"step": 2},
        {"step": 2, "steps": None},
        {"history": {"epoch": [1]}},
        {"epoch": 3, "history": {"epoch": [1, 2, 3]}},
    ):
        with Progress() as progress:
            progress(replace(event, **changes))
    assert capsys.readouterr().out.splitlines() == [
        "going on with epoch 2 of 3 after 2 of 4 steps",
        "going on with epoch 2 of 3 after 2 steps",
        "going on with epoch 2 of 3",
        "nothing is left to do: 3 epochs are done, 3 are asked for",
    ]


# Early stopping


FALLING = [5.0, 3.0, 4.0, 2.0, 2.5, 2.25, 2.125, 9.0, 9.0]


@pytest.mark.parametrize(
    ("values", "arguments", "epochs", "best"),
    [
        (FALLING, {"patience": 2}, 6, 4),
        (FALLING, {"patience": 9}, 9, 4),
        ([-value for value in FALLING], {"patience": 2, "mode": "max"}, 6, 4),
        (FALLING, {"patience": 2, "min_change": 2.5}, 3, 2),
        (FALLING, {"patience": 2, "restore": False}, 6, 6),
        ([1.0, 1.0, 1.0, 1.0], {"patience": 3}, 4, 4),
        ([1.0, float("nan"), None, 1.0], {"patience": 2}, 3, 1),
        ([float("nan")] * 3, {"patience": 2}, 2, 2),
    ],
)
def test_it_stops_after_its_patience_and_gives_the_best_back(values, arguments, epochs, best):
    state, history = following(values, len(values), callbacks=[dl.early_stopping("validation_value", **arguments)])
    assert history["epoch"] == list(range(1, epochs + 1))
    assert int(state["done"]) == 3 * best


@given(
    st.lists(st.one_of(st.none(), st.floats(-4, 4), st.integers(-2, 2).map(float)), max_size=12),
    st.floats(0, 1),
)
@settings(deadline=None, max_examples=60)
def test_standing_is_what_a_plain_reading_says(column, min_change):
    best, idle = standing(column, min_change)
    known = [(value, index) for index, value in enumerate(column) if value is not None]
    least = min((value for value, _ in known), default=None)
    assert best == max((index for value, index in known if value == least), default=None)
    # The last gain: found by dropping what is no gain, from the front.
    gains = []
    for value, index in known:
        if not gains or value < column[gains[-1]] - min_change:
            gains.append(index)
    assert idle == len(column) - 1 - (gains[-1] if gains else -1)


def test_ctrl_c_gives_the_best_back_as_well():
    def press(event):
        if event.kind == "epoch" and event.epoch == 6:
            os.kill(os.getpid(), signal.SIGINT)

    state, history = following(FALLING, callbacks=[dl.early_stopping("validation_value", patience=5), press])
    assert len(history["epoch"]) == 6
    assert int(state["done"]) == 12


def test_what_is_shown_at_the_end_is_true_of_what_is_returned(capsys):
    def press(event):
        if event.kind == "epoch" and event.epoch == 3:
            os.kill(os.getpid(), signal.SIGINT)

    arguments = {"progress": True, "evaluate": measured, "epochs": 9}
    for callbacks, end in [
        ([press], "Ctrl-C; what is reached is returned"),
        ([dl.early_stopping("validation_value"), press], "Ctrl-C"),
    ]:
        run(callbacks=callbacks, **arguments)
        assert capsys.readouterr().out.splitlines()[-1].endswith(f" s: {end}")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (jnp.float32(0.5), 0.5),
        (np.float16(0.5), 0.5),
        (jnp.bfloat16(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), 1),
        (None, None),
        (jnp.arange(3, dtype=jnp.float16), np.arange(3.0)),
        ([1, 2], np.array([1, 2])),
    ],
)
def test_what_an_evaluation_gives_is_kept_as_figures_also_over_a_resume(tmp_path, given, kept):
    def stop(event):
        return dl.Stop() if event.kind == "epoch" else None

    arguments = dict(epochs=2, evaluate=lambda state: {"figure": given}, checkpoint=tmp_path)
    run(callbacks=[stop], **arguments)
    _, history = run(resume=True, **arguments)
    for value in history["validation_figure"]:
        assert type(value) is type(kept)
        np.testing.assert_array_equal(value, kept)
        assert getattr(value, "dtype", None) == getattr(kept, "dtype", None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"note": "good"}, "run(evaluate=…): 'note' must be a number, an array of numbers, or None; got good"),
        ({"deep": {"a": 1}}, "run(evaluate=…): 'deep' must be a number, an array of numbers, or None; got {'a': 1}"),
        (0.5, "run(evaluate=…): evaluate must return a dict of figures by name; got 0.5"),
    ],
)
def test_what_is_no_figure_is_named(given, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        run(epochs=1, evaluate=lambda state: given)


def test_an_epoch_that_was_cut_short_is_never_the_best():
    def stop(event):
        return dl.Stop() if event.kind == "program" and event.epoch == 3 else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxdl.train.pace.Pace.steps", lambda pace, most: 1)
        state, history = run(epochs=5, shuffle=False, callbacks=[dl.early_stopping("seen"), stop])
    assert history["seen"][2] < history["seen"][1]
    assert int(state["done"]) == 6


def measured(state):
    """The evaluation as a function of the state, so that a resumed run measures the same."""
    return {"value": FALLING[int(state["done"]) // 3 - 1]}


@pytest.mark.slow
@pytest.mark.parametrize("cut", [1, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("patience", [2, 9])
def test_a_resumed_run_stops_where_the_whole_one_does_with_the_same_state(tmp_path, cut, patience):
    stopping = partial(dl.early_stopping, "validation_value", patience=patience)
    expected_state, expected = following(measured, callbacks=[stopping()])
    checkpoint = dl.Checkpoint(tmp_path, keep=1, best="validation_value", mode="min")

    def stop(event):
        return dl.Stop() if event.kind == "epoch" and event.epoch == cut else None

    following(measured, callbacks=[stopping(), stop], checkpoint=checkpoint)
    for _ in range(2):  # what is finished stays as it is
        state, history = following(measured, callbacks=[stopping()], checkpoint=checkpoint, resume=True)
        assert int(state["done"]) == int(expected_state["done"]) == 12
        assert history["epoch"] == expected["epoch"]
        assert history["validation_value"] == expected["validation_value"]


@pytest.mark.parametrize("cut", [2, 4])
def test_a_run_that_was_cut_before_an_evaluation_knows_its_epoch_and_its_best(tmp_path, cut):
    def stop(event):
        return dl.Stop() if event.kind == "program" and (event.epoch, event.step) == (cut, 3) else None

    checkpoint = dl.Checkpoint(tmp_path, best="validation_value", mode="min")
    following(measured, callbacks=[stop], checkpoint=checkpoint)
    events = []
    callbacks = [dl.early_stopping("validation_value", patience=2), events.append]
    state, history = following(measured, callbacks=callbacks, checkpoint=checkpoint, resume=True)
    told = [(event.epoch, event.metrics["epoch"]) for event in events if event.kind == "epoch"]
    assert told == [(epoch, epoch) for epoch in range(cut, 7)]
    assert history["epoch"] == [1, 2, 3, 4, 5, 6]
    assert int(state["done"]) == 12


def test_any_earlier_epoch_is_read_from_the_checkpoints_where_one_holds_it(tmp_path):
    found = []

    def look(event):
        if event.kind == "epoch" and event.epoch == 4:
            found.extend(event.saved(epoch) for epoch in (1, 2, 3, 4, 9))

    checkpoint = dl.Checkpoint(tmp_path, keep=2, best="validation_value", mode="min")
    following(measured, 4, callbacks=[look], checkpoint=checkpoint)
    assert [state and int(state["done"]) for state in found] == [None, 6, 9, None, None]


def test_a_best_state_that_no_checkpoint_holds_is_told(tmp_path):
    def stop(event):
        return dl.Stop() if event.kind == "epoch" and event.epoch == 5 else None

    checkpoint = dl.Checkpoint(tmp_path, keep=1)
    following(measured, callbacks=[stop], checkpoint=checkpoint)
    stopping = dl.early_stopping("validation_value", patience=4)
    message = r"no checkpoint holds epoch 4, the best so far.*Did you mean Checkpoint\(…, best='validation_value', mode"
    with pytest.warns(UserWarning, match=message):
        state, history = following(measured, callbacks=[stopping], checkpoint=checkpoint, resume=True)
    assert len(history["epoch"]) == 8
    assert int(state["done"]) == 3 * 7, "the best of those from there on"


def test_the_copy_is_one_of_its_own():
    kept = []
    stopping = dl.early_stopping("validation_value", patience=9)

    def look(event):
        if event.kind == "program" and stopping.best is not None:
            kept.append(int(stopping.best["done"]))

    following(FALLING, callbacks=[stopping, look])
    assert kept == [3, 6, 6, 12, 12, 12, 12, 12]
    assert stopping.best is None, "the memory is given back"
    assert repr(stopping).startswith("EarlyStopping(column='validation_value', patience=9, mode='min'")


def test_one_callback_serves_run_after_run():
    stopping = dl.early_stopping("validation_value", patience=2)
    for _ in range(2):
        state, _ = following(FALLING, callbacks=[stopping])
        assert int(state["done"]) == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"column": "validation_los"}, "column must be one of the history's columns, ['epoch', 'steps', 'seen', "
                                       "'validation_value', 'seconds']; got 'validation_los'"),
        ({"patience": 0}, "patience must be a positive int; got 0"),
        ({"mode": "least"}, "mode must be \"min\" or \"max\"; got 'least'"),
        ({"min_change": -1.0}, "early_stopping: min_change must be"),
    ],
)  # fmt: skip
def test_wrong_arguments_of_early_stopping_are_named(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        following(FALLING, callbacks=[dl.early_stopping(**{"column": "validation_value"} | arguments)])


def test_a_column_of_arrays_is_no_column_to_stop_by():
    with pytest.raises(ValueError, match="validation_value must be one figure an epoch"):
        following([np.ones(3)], callbacks=[dl.early_stopping("validation_value")])
