"""Measuring one peer, several by turns, and many members at once. Nothing here is timed."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmark_sizes import SMALL

import jaxdl as dl
from benchmarks import cli, members, peers, runner, turns
from benchmarks.peers import LeftOutError, open_session
from benchmarks.workloads import CNN, GPT, MLP, WORKLOADS, Workload, find

create_state = dl.train.create_state
RNG = partial(np.random.default_rng, 1)

TINY = "mlp:sizes=12x8x3,batch=4,steps=2"


def test_measure_gives_a_record_that_is_json() -> None:
    record = runner.measure(TINY, "plain", seconds=0.001)
    assert json.loads(json.dumps(record)) == record
    assert record["workload"] == TINY and record["steps"] == 2 and record["epochs"] >= 1
    assert record["ms"]["min"] <= record["ms"]["median"] <= record["ms"]["max"]
    assert "jax" in record["versions"] and record["loop"]["dot"]


def test_one_training_goes_on_over_the_turns() -> None:
    """A peer that waits is in the midst of its training: nothing begins anew in a turn, and nothing is lost."""

    class Counting:
        device, processors = "cpu", 1

        def losses(self, steps: int) -> list[float]:
            return [0.0] * steps

        def train(self, epochs: int, done: Callable[[float], None]) -> None:
            for epoch in range(epochs):
                done(float(epoch))

        def program(self) -> None:
            return None

    session: Any = Counting()
    answers: list[runner.Record] = []
    commands = iter([{"do": "turn", "seconds": 1e-9}] * 3 + [{"do": "end"}, {}])

    def talk(answer: runner.Record) -> runner.Record:
        answers.append(answer)
        return next(commands)

    with pytest.raises(runner.EndOfMeasurement):
        session.train(1000, runner.Turns(session, SMALL, {"first_call_seconds": 0.0}, talk))
    assert answers[0] == {"first_call_seconds": 0.0, "epoch_loss": 0.0}
    assert [answer["final_loss"] for answer in answers[1:4]] == [1.0, 2.0, 3.0]
    assert answers[4].keys() == {"loop", "peak_megabytes"}


@pytest.mark.slow
@pytest.mark.parametrize("peer", ["jaxdl", "plain", "nnx"])
def test_nothing_is_built_before_the_first_work(peer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call is timed: a session that has been opened has the data and nothing else."""
    drawn: list[str] = []
    monkeypatch.setattr(Workload, "weights", lambda self: drawn.append("weights") or CNN.weights(self.network, RNG()))
    monkeypatch.setattr(dl.train, "create_state", lambda *a, **k: drawn.append("state") or create_state(*a, **k))
    session = open_session(peer, SMALL)
    assert drawn == []
    session.losses(1)
    assert drawn == (["state", "weights"] if peer == "jaxdl" else ["weights"])


@pytest.mark.slow
def test_peers_measure_by_turns_in_processes_that_end() -> None:
    words: list[str] = []
    begun: list[turns.Child] = []

    class Child(turns.Child):
        def __init__(self, *arguments: Any):
            super().__init__(*arguments)
            begun.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turns, "Child", Child)
        records = list(turns.by_turns(find(TINY), ["plain", "nobody"], 2, 0.001, words.append))
    assert [(record["peer"], record["round"]) for record in records] == [("plain", 0), ("plain", 1)]
    assert "loop" not in records[0] and records[1]["loop"]["dot"]
    assert words[0] == f"nobody is left out of {TINY}: KeyError: 'nobody'"
    assert [child.process.returncode is not None for child in begun] == [True, True]


def test_a_peer_that_dies_or_is_silent_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    popen = subprocess.Popen
    for code, word in (
        ("import sys; print('a line'); sys.exit('out of memory')", "out of memory"),
        ("import time; time.sleep(60)", "no answer in 0.5 s"),
    ):
        monkeypatch.setattr(turns, "PATIENCE", 0.5 if "sleep" in code else 60)
        monkeypatch.setattr(
            turns.subprocess, "Popen", lambda words, code=code, **how: popen([words[0], "-c", code], **how)
        )
        with turns.Child(SMALL, "torch") as child, pytest.raises(LeftOutError, match=f"torch is left out.*{word}"):
            if "print" in code:
                child.process.stdout.readline()
            child.answer()
        monkeypatch.undo()


def test_a_missing_peer_is_left_out_with_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(peers.PEERS, "torch", "a_package_that_is_not_there")
    assert cli.main(["run", "cnn", "--peer", "torch"]) == 0
    out, err = capsys.readouterr()
    assert out == "" and err == "torch is left out: a_package_that_is_not_there is not installed\n"


def test_a_peer_without_the_model_is_left_out_with_a_word() -> None:
    class Unknown(CNN):
        pass

    with pytest.raises(LeftOutError, match="plain is left out: it has no Unknown"):
        open_session("plain", replace(SMALL, network=Unknown()))


def test_workloads_are_found_also_with_other_sizes() -> None:
    assert find("cnn") is WORKLOADS["cnn"]
    found = find("gpt:width=32,dropout=0.5,batch=3")
    assert (found.network, found.batch, found.steps) == (GPT(width=32, dropout=0.5), 3, WORKLOADS["gpt"].steps)
    assert find("mlp:sizes=5x4x3,steps=7").network == MLP((5, 4, 3))
    for text, word in (
        ("cmn", "must be one of mlp"),
        ("cnn:depth=3", "a size of cnn must be one of batch, steps, side"),
    ):
        with pytest.raises(ValueError, match=word):
            find(text)


def test_each_round_begins_with_another_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ready:
        def __init__(self, workload: Workload, peer: str):
            self.peer = peer

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def answer(self) -> runner.Record:
            return {}

        def ask(self, do: str, **more: Any) -> runner.Record:
            if do == "first":
                losses = [9.0] * 3 if self.peer == "keras" else [2.0, 1.9, 1.8]
                return {"first_call_seconds": 1.0, "first_losses": losses, "epoch_loss": 1.9}
            return {}

    monkeypatch.setattr(turns, "Child", Ready)
    words: list[str] = []
    order = []
    with pytest.raises(runner.DisagreementError, match="keras left out of small, not the same mathematics"):
        for record in turns.by_turns(SMALL, ["jaxdl", "torch", "keras", "nnx"], 3, 1.0, words.append):
            order += [(record["round"], record["peer"])]
    names = ["jaxdl", "torch", "nnx"]
    assert order == [(n, peer) for n in range(3) for peer in names[n:] + names[:n]]
    assert sum(word.startswith("keras is left out, not the same mathematics") for word in words) == 1


@pytest.mark.slow
def test_many_members_train_as_each_alone_does() -> None:
    """From the same weights, on its own batches, a member of ``vmapped`` comes to what the single model does."""
    for workload in (find("mlp:sizes=12x8x3,batch=4,steps=1"), SMALL):
        step, state = members.ensemble(workload, 3)
        alone, begun = members.single(workload)
        data = members.batches(workload, 3)
        start = jax.tree.map(np.asarray, state.params)
        for _ in range(3):
            state, _ = step(state, data)
        for i in range(3):
            mine = jax.tree.map(lambda leaf, i=i: leaf[i], (start, data))
            one = replace(jax.tree.map(jnp.copy, begun), params=jax.tree.map(jnp.asarray, mine[0]))
            for _ in range(3):
                one, _ = alone(one, mine[1])
            theirs = jax.tree.map(lambda leaf, i=i: leaf[i], state.params)
            jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), one.params, theirs)
        assert not np.allclose(state.params["dense"]["kernel"], start["dense"]["kernel"], atol=1e-4)


@pytest.mark.slow
def test_members_are_measured_in_both_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(members.WORKLOADS, "mlp", find("mlp:sizes=12x8x3"))
    found = list(members.measure(["mlp"], [1, 2], rounds=1))
    assert [(r["curve"], r["peer"], r["x"]) for r in found] == [
        ("members of the mlp", form, count) for count in (1, 2) for form in ("vmapped", "loop")
    ]
    assert all(r["y"] > 0 for r in found)
