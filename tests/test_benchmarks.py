"""The benchmarks' own parts: counting, equal mathematics, equal programs, tables. Nothing here is timed."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from benchmarks import cli, count, curves, hlo, limit, machine, peers, results, runner, turns
from benchmarks.peers import LeftOutError, Session, jaxdl_models, open_session, plain_networks
from benchmarks.workloads import (
    CNN,
    GPT,
    MLP,
    WORKLOADS,
    Autoencoder,
    Conv3D,
    Deep,
    Network,
    Recurrent,
    UNet,
    ViT,
    WordBag,
    Workload,
    find,
)
from jaxdl import functional
from jaxdl.data.order import epoch_order
from jaxdl.train.program import trace_count

SMALL = Workload("small", "a small CNN", CNN(side=10, filters=4, hidden=8, classes=3), batch=8, examples=32)

SENTENCES = {"vocabulary": 20, "time": 6}
NETWORKS: dict[str, Network] = {
    "mlp": MLP((12, 8, 6, 3)),
    "ae": Autoencoder((12, 8, 3, 12)),
    "cnn": SMALL.network,
    "deep": Deep(side=6, features=(4, 6), strides=(1, 2), classes=3),
    "rnn": Recurrent("simple_rnn", 5, features=4, **SENTENCES),
    "lstm": Recurrent("lstm", 5, features=4, **SENTENCES),
    "gru": Recurrent("gru", 5, features=4, **SENTENCES),
    "gpt": GPT(layers=1, heads=2, width=8, **SENTENCES),
    "gpt_dropout": GPT(layers=1, heads=2, width=8, dropout=0.25, **SENTENCES),
    "vit": ViT(side=8, layers=1, heads=2, width=8, classes=3),
    "unet": UNet(side=8, features=(4, 6)),
    "conv3d": Conv3D(side=4, features=(3,), classes=3),
    "embedding": WordBag(vocabulary=30, features=4, words=3),
}
QUICK = {"mlp", "lstm"}

LAX = count.plain_forms()


@pytest.fixture(scope="module")
def sessions() -> dict[str, Session]:
    return {peer: open_session(peer, SMALL) for peer in ("jaxdl", "plain")}


@pytest.fixture(scope="module")
def loops(sessions: dict[str, Session]) -> dict[str, dict[str, int]]:
    return {peer: dict(hlo.loop_instructions(session.program() or "")) for peer, session in sessions.items()}


HLO = """HloModule tiny, entry_computation_layout={(f32[4]{0})->f32[4]{0}}

%region_0.1 (a.1: f32[], b.1: f32[]) -> f32[] {
  %a.1 = f32[] parameter(0)
  %b.1 = f32[] parameter(1)
  ROOT %add.1 = f32[] add(%a.1, %b.1), metadata={op_name="jit(f)/calls=%nothing"}
}

%body.2 (arg: (s32[], f32[4], /*index=2*/f32[])) -> (s32[], f32[4], f32[]) {
  %arg = (s32[], f32[4]{0}, /*index=2*/f32[]) parameter(0)
  %get-tuple-element.1 = f32[4]{0} get-tuple-element(%arg), index=1
  %get-tuple-element.2 = f32[] get-tuple-element(%arg), index=2
  %reduce.1 = f32[] reduce(%get-tuple-element.1, %get-tuple-element.2), dimensions={0}, to_apply=%region_0.1
  %reduce.2 = f32[] reduce(%get-tuple-element.1, %reduce.1), dimensions={0}, to_apply=%region_0.1
  ROOT %tuple.1 = (s32[], f32[4]{0}, f32[]) tuple(%arg, %get-tuple-element.1, %reduce.2)
}

%condition.3 (arg.1: (s32[], f32[4], f32[])) -> pred[] {
  ROOT %lt.1 = pred[] constant(false)
}

ENTRY %main.4 (p: f32[4]) -> f32[4] {
  %p = f32[4]{0} parameter(0)
  %while.1 = (s32[], f32[4]{0}, /*index=2*/f32[]) while(%p), condition=%condition.3, body=%body.2
  ROOT %out = f32[4]{0} get-tuple-element(%while.1), index=1
}
"""


def test_counter_counts_called_computations_at_each_call() -> None:
    expected = {"parameter": 5, "get-tuple-element": 2, "reduce": 2, "add": 2, "tuple": 1}
    assert dict(hlo.loop_instructions(HLO)) == expected


def test_counter_sees_a_compiled_loop_and_what_is_added_to_it() -> None:
    def program(body: object) -> str:
        return jax.jit(lambda x, n: lax.fori_loop(0, n, body, x)).lower(jnp.ones((3, 3)), 5).compile().as_text()

    one = hlo.loop_instructions(program(lambda i, x: x @ x))
    two = hlo.loop_instructions(program(lambda i, x: jnp.sin(x @ x)))
    assert one["dot"] == two["dot"] == 1
    assert hlo.difference(two, one)["sine"] == 1
    assert hlo.difference(one, one) == {}


def test_counter_asks_for_a_loop() -> None:
    text = jax.jit(jnp.sin).lower(jnp.ones(3)).compile().as_text()
    with pytest.raises(ValueError, match="must hold a while loop"):
        hlo.loop_instructions(text)
    with pytest.raises(ValueError, match="ENTRY"):
        hlo.parse("")


def test_plain_and_jaxdl_compute_the_same(sessions: dict[str, Session]) -> None:
    plain, ours = sessions["plain"].losses(3), sessions["jaxdl"].losses(3)
    np.testing.assert_allclose(ours, plain, rtol=1e-6)
    assert len({round(loss, 4) for loss in ours}) == 3  # It trains.


def test_what_is_counted_is_what_the_engine_runs() -> None:
    """The peer asks for the program with arguments like the engine's own: a run finds it compiled."""
    session = open_session("jaxdl", replace(SMALL, batch=4))
    before = trace_count()
    session.losses(1)
    session.train(1, lambda loss: None)
    assert trace_count() == before + 1


def test_plain_and_jaxdl_train_alike_over_epochs(sessions: dict[str, Session]) -> None:
    means: dict[str, list[float]] = {}
    for peer, session in sessions.items():
        session.train(2, means.setdefault(peer, []).append)
    assert len(means["jaxdl"]) == 2
    np.testing.assert_allclose(means["jaxdl"], means["plain"], rtol=1e-5)


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NETWORKS])
def test_plain_and_jaxdl_have_the_same_loop_for_each_network(name: str) -> None:
    """What jaxdl's layers, steps and engine cost over plain JAX: no instruction. They also come to the same numbers."""
    workload = Workload(name, "", NETWORKS[name], batch=4, examples=12)
    ours, plain = (open_session(peer, workload) for peer in ("jaxdl", "plain"))
    np.testing.assert_allclose(ours.losses(3), plain.losses(3), rtol=1e-6)
    np.testing.assert_allclose(ours.outputs(), plain.outputs(), rtol=1e-5, atol=1e-6)
    counts = (hlo.loop_instructions(session.program() or "") for session in (ours, plain))
    assert hlo.difference(*counts) == {}


def test_plain_and_jaxdl_have_the_same_loop(loops: dict[str, dict[str, int]]) -> None:
    assert hlo.difference(loops["jaxdl"], loops["plain"]) == {}


def test_networks_have_a_form_in_both() -> None:
    kinds = {type(network) for network in NETWORKS.values()}
    assert kinds == {type(workload.network) for workload in WORKLOADS.values()}
    assert kinds == set(jaxdl_models.MODELS) == set(plain_networks.MODELS)


def test_half_precision_is_of_the_computation_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAXDL_BENCH_DTYPE", "bfloat16")
    ours, plain = (open_session(peer, SMALL) for peer in ("jaxdl", "plain"))
    assert ours.start.params["conv"]["kernel"].dtype == jnp.float32
    losses = ours.losses(2)
    np.testing.assert_allclose(losses, plain.losses(2), rtol=1e-2)
    monkeypatch.setenv("JAXDL_BENCH_DTYPE", "float32")
    exact = open_session("plain", SMALL).losses(2)
    np.testing.assert_allclose(losses, exact, rtol=3e-2)
    assert losses != exact


def test_the_order_is_that_of_jaxdl() -> None:
    for epoch in (0, 3):
        np.testing.assert_array_equal(SMALL.order(epoch).ravel(), epoch_order(SMALL.examples, seed=0, epoch=epoch))


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
        device, threads = "cpu", 1

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


def counted(function: Callable[..., Any], *arguments: Any) -> tuple[int, int]:
    return count.operations(jax.make_jaxpr(function)(*arguments).jaxpr)


def test_work_is_that_counted_by_hand() -> None:
    x, kernel, bias = jnp.ones((5, 7)), jnp.ones((7, 3)), jnp.ones(3)
    products = 2 * 5 * 7 * 3
    assert counted(functional.dense, x, kernel, bias) == (products + 5 * 3, products)
    image, window = jnp.ones((2, 6, 5, 3)), jnp.ones((3, 3, 3, 4))
    products = 2 * 2 * (4 * 3) * (3 * 3) * 3 * 4
    assert counted(LAX.conv, image, window) == (products, products)
    inside = (3 * 6 - 2) * (3 * 5 - 2)  # Taps that do not fall on the padding.
    products = 2 * 2 * inside * 3 * 4
    assert counted(partial(LAX.conv, padding="SAME"), image, window) == (products, products)
    time, batch, size, hidden = 6, 2, 3, 4
    weights = jnp.ones((size, 4 * hidden)), jnp.ones((hidden, 4 * hidden)), jnp.ones(4 * hidden)
    _, products = counted(LAX.lstm, jnp.ones((batch, time, size)), *weights)
    assert products == 2 * time * batch * (size + hidden) * 4 * hidden
    heads = jnp.ones((2, 5, 3, 4))
    _, products = counted(LAX.attention, heads, heads, heads)
    assert products == 2 * (2 * 2 * 3 * 5 * 5 * 4)


def test_gradients_of_a_convolution_cost_what_it_costs() -> None:
    """Through holes between the outputs, and whatever stands for the batch."""
    image, window = jnp.ones((2, 7, 7, 4)), jnp.ones((3, 3, 4, 6))
    for how in ({}, {"strides": 2}, {"padding": "SAME"}, {"strides": 2, "padding": "SAME"}):
        forward = partial(LAX.conv, **how)
        _, products = counted(forward, image, window)
        _, both = counted(jax.grad(lambda *a, forward=forward: forward(*a).sum(), (0, 1)), image, window)
        assert both == 3 * products
    groups = partial(LAX.conv, groups=2)
    window = jnp.ones((3, 3, 2, 6))
    _, both = counted(jax.grad(lambda *a: groups(*a).sum(), (0, 1)), image, window)
    assert both == 3 * 2 * 2 * 25 * 9 * 2 * 6


def test_work_agrees_with_xla_where_there_is_no_loop() -> None:
    x, kernel = jnp.ones((64, 32)), jnp.ones((32, 48))

    def f(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jnp.square(x @ kernel).sum()

    told = jax.jit(f).lower(x, kernel).compile().cost_analysis()["flops"]
    np.testing.assert_allclose(counted(f, x, kernel)[0], told, rtol=1e-2)


def test_branches_loops_and_inner_functions_are_counted() -> None:
    x = jnp.ones((4, 4))
    either = partial(jax.lax.cond, True, lambda x: x @ x, lambda x: x + 1)
    assert counted(either, x) == (128, 128)
    assert counted(lambda x: lax.scan(lambda c, _: (jax.remat(jnp.matmul)(c, x), None), x, length=5)[0], x)[1] == 640
    assert counted(jax.jit(jax.nn.relu), x) == (16, 0)
    with pytest.raises(ValueError, match="length is not known"):
        counted(lambda x: lax.while_loop(lambda x: x.sum() < 9, lambda x: x + 1, x), x)


@pytest.mark.parametrize("name", NETWORKS)
def test_each_network_can_be_counted(name: str) -> None:
    workload = Workload(name, "", NETWORKS[name], batch=4, examples=12)
    found = count.work(workload)
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves(workload.weights()))
    assert 0 < found.products < found.operations and found.bytes > 6 * weights
    ahead = count.work(replace(workload, task="predict"))
    assert 2 * ahead.products < found.products <= 3 * ahead.products
    assert weights < ahead.bytes < found.bytes


LIMIT = {"operations": 1e9, "by": "jax, 512 square", "bytes": {"1000": 8e9, "4000": 2e9}}


def test_a_step_takes_at_least_its_operations_or_its_bytes() -> None:
    assert [limit.bandwidth(LIMIT, size) for size in (10, 1000, 3999, 4000, 1e9)] == [8e9, 8e9, 8e9, 2e9, 2e9]
    assert limit.least_seconds(LIMIT, limit.Work(operations=2_000, products=0, bytes=8_000)) == 4e-6
    assert limit.least_seconds(LIMIT, limit.Work(operations=9_000, products=0, bytes=8_000)) == 9e-6


def test_the_limit_is_measured_by_all_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit, "SIDES", {"cpu": (8,)})
    monkeypatch.setattr(limit, "MEGABYTES", {"cpu": (1,)})
    found = limit.measure(seconds=1e-6)
    assert found["limit"]["operations"] > 0 and found["limit"]["by"].endswith(", 8 square")
    assert list(found["limit"]["bytes"]) == [str(2 * 2**20)]
    assert {"jax", "numpy"} <= limit.products(8).keys()


def made_up(peer: str, number: int, ms: float, losses: Sequence[float] = (2.0, 1.9, 1.8)) -> runner.Record:
    loop = {"dot": 3, "add": 2, "tuple": 1, **({"copy": 1} if peer == "plain" else {})}
    return {
        "workload": "cnn",
        "peer": peer,
        "platform": "cpu",
        "dtype": "float32",
        "random": False,
        "drift": 1e-3,
        "round": number,
        "ms": {"median": ms, "min": ms - 0.5, "max": ms + 0.5},
        "epochs": 5,
        "first_call_seconds": 1.25,
        "peak_megabytes": 400.0,
        "first_losses": list(losses),
        "loop": None if peer == "torch" else loop,
        "busy_while_waiting": 0.001,
        "others": 0.25,
        "device": "cpu",
        "cpu": "a processor",
        "cpus": 2,
        "threads": 2,
        "load": 2.0,
        "time": "2026-01-02T03:04:05+0000",
        "versions": {"python": "3.11.0"} if peer == "torch" else {"python": "3.11.0", "jax": "0.10.2"},
    }


def made_up_rounds() -> list[runner.Record]:
    times = {
        "jaxdl": (4.0, 6.0),
        "jaxdl_fused": (2.0, 2.0),
        "plain": (4.0, 5.0),
        "torch": (8.0, 8.0),
        "nnx": (9.0, 9.0),
    }
    measured = [made_up(peer, number, ms[number]) for number in (0, 1) for peer, ms in times.items()]
    work = {"operations": 1_000_000, "products": 900_000, "bytes": 4000}
    other = [record | {"workload": "vit"} for record in measured if record["peer"] not in ("jaxdl_fused", "nnx")]
    return [{"limit": LIMIT}, {"workload": "cnn", "work": work}, *measured, *other]


def test_report_renders_saved_lines(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = tmp_path / "saved.jsonl"
    saved.write_text("\n".join(map(json.dumps, made_up_rounds())) + "\n")
    assert cli.main(["report", str(saved)]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    head = "| workload | best peer | jaxdl, ms | jaxdl / best | at most | jaxdl_fused / best | aim"
    assert f"{head} | / plain | / torch | / nnx | of the limit |" in lines
    assert "| cnn | torch | 5 | 0.62 | 0.55 | 0.25 | 0.40 | 1.10 | 0.62 | 0.56 | 20% |" in lines
    assert "| vit | torch | 5 | 0.62 | 1.00 | – | – | 1.10 | 0.62 | – | – |" in lines
    assert "| mean of 1 with targets | | | 0.62 | 0.72 | 0.25 | 0.55 | 1.10 | 0.62 | 0.56 | |" in lines
    assert "| mean of all 2 | | | 0.62 | 1.00 | 0.40 | – | 1.10 | 0.62 | 0.56 | |" in lines
    assert "| cnn | 1.25 | 1.25 | 1.25 | 1.25 | 1.25 |" in lines
    assert "| vit | 400 | – | 400 | 400 | – |" in lines
    assert "| jaxdl | 5 | 3.5 – 6.5 | 50% | | | | 20% | 1.25 | 400 |" in lines
    assert "| torch | 8 | 7.5 – 8.5 | 0% | 0.62 | 0.50 – 0.75 | 0.47 | 12% | 1.25 | 400 |" in lines
    assert "- a step: 0.001 GFLOP, 90% of them in products; 0.004 MB must move" in lines
    assert "- loop of jaxdl: 6 instructions, 5 of them work" in lines
    assert "- loop of plain: 7 instructions, 6 of them work; jaxdl against it: copy -1" in lines
    assert any(line.startswith("The limit in this run: 1 GFLOP/s in products of matrices (jax, 51") for line in lines)
    assert any(line.startswith("2026-01-02: rounds 2, epochs each 5 – 5. a processor, 2 threads") for line in lines)
    assert lines[-1].startswith("Others used 25% of the processors meanwhile (25% – 25%). **That is much")


def test_report_needs_a_measurement() -> None:
    with pytest.raises(ValueError, match="at least one record of a measurement"):
        results.Results([{"limit": LIMIT}])


def test_charts_are_drawn(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    points = [
        {"curve": "mlp: batch", "peer": peer, "x": x, "y": x * 0.1, "x_label": "batch", "y_label": "ms a step"}
        for peer in ("jaxdl", "someone")
        for x in (1, 16, 256)
    ]
    for name, records in (("bars", made_up_rounds()), ("curves", points)):
        saved, chart = tmp_path / f"{name}.jsonl", tmp_path / f"{name}.png"
        saved.write_text("\n".join(map(json.dumps, records)))
        assert cli.main(["report", str(saved), "--chart", str(chart)]) == 0
        assert chart.read_bytes()[:4] == b"\x89PNG" and 2_000 < chart.stat().st_size < 200_000
    assert "Curves alone" in capsys.readouterr().out


def without_processes(monkeypatch: pytest.MonkeyPatch, losses: Sequence[float]) -> list[tuple[Any, ...]]:
    """Have turns be made up, and the limit not measured."""
    asked = []

    def by_turns(
        workload: Workload, peers: list[str], rounds: int, seconds: float, say: Any
    ) -> Iterator[runner.Record]:
        asked.append((workload.name, peers, rounds, seconds))
        records = [made_up(peer, 0, 4.0, losses if peer == "plain" else (2.0, 1.9, 1.8)) for peer in peers]
        runner.check_same(records)
        yield from records

    monkeypatch.setattr(turns, "by_turns", by_turns)
    monkeypatch.setattr(cli.Saved, "add_apart", lambda self, *command: asked.append(command))
    return asked


def test_compare_prints_the_tables_and_saves_the_lines(
    monkeypatch: pytest.MonkeyPatch, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = without_processes(monkeypatch, (2.0, 1.9, 1.8))
    out = tmp_path / "new" / "lines.jsonl"
    assert cli.main(["compare", "cnn", "--peers", "torch", "plain", "--rounds", "2", "--out", str(out)]) == 0
    assert asked == [("limit", "cnn"), ("cnn", ["jaxdl", "torch", "plain"], 2, runner.SECONDS)]
    assert [r["peer"] for r in results.read([out]).measured] == ["jaxdl", "torch", "plain"]
    assert "## Summary" in capsys.readouterr().out


def test_without_a_command_everything_is_compared(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(cli, "RESULTS", tmp_path)
    asked = without_processes(monkeypatch, (2.0, 1.9, 1.8))
    assert cli.main([]) == 0
    assert [name for name, *_ in asked[1:]] == [name for name in WORKLOADS if name != "gpt124m"]
    assert asked[1][1] == list(peers.PEERS)
    (saved,) = tmp_path.iterdir()
    assert saved.name.startswith("compare-cpu-") and "-float32-" in saved.name


@pytest.mark.parametrize("losses", [(2.001, 1.9, 1.8), (2.0, 1.95, 1.8), (float("nan"), 1.9, 1.8)])
def test_compare_fails_loudly_when_the_mathematics_differ(
    losses: tuple[float, ...], monkeypatch: pytest.MonkeyPatch, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    without_processes(monkeypatch, losses)
    assert cli.main(["compare", "cnn", "--out", str(tmp_path / "lines.jsonl")]) == 1
    out, err = capsys.readouterr()
    assert "##" not in out
    assert "not the same mathematics: cnn: from equal weights and batches, plain has as loss in step" in err


def test_predictions_and_random_networks_are_compared_in_their_own_way() -> None:
    one, other = made_up("jaxdl", 0, 4.0), made_up("torch", 0, 4.0, (9.0, 9.0, 9.0))
    drawn = {"random": True}
    runner.check_same([one | drawn | {"epoch_loss": 4.0}, other | drawn | {"epoch_loss": 4.05}])
    with pytest.raises(runner.DisagreementError, match="torch has as mean loss of the first epoch 4.2, jaxdl 4;"):
        runner.check_same([one | drawn | {"epoch_loss": 4.0}, other | drawn | {"epoch_loss": 4.2}])
    runner.check_same([one | {"first_outputs": [0.0, -8.0]}, other | {"first_outputs": [0.0005, -8.0]}])
    with pytest.raises(runner.DisagreementError, match="torch has as output 0 0.01, jaxdl 0;"):
        runner.check_same([one | {"first_outputs": [0.0, -8.0]}, other | {"first_outputs": [0.01, -8.0]}])


def test_a_gpu_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    assert cli.main(["--platform", "gpu", "compare", "cnn"]) == 1
    assert capsys.readouterr().err.startswith("no NVIDIA GPU is at hand here")


def test_what_is_chosen_holds_for_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpu_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(cli, "compare_command", lambda arguments: 0)
    assert cli.main(["--platform", "gpu", "--dtype", "bfloat16", "compare"]) == 0
    assert (machine.platform(), machine.dtype(), os.environ["JAX_PLATFORMS"]) == ("gpu", "bfloat16", "cuda")
    assert cli.default_path("compare").name.startswith("compare-gpu-nvidia-h200-bfloat16-")


@pytest.fixture(autouse=True)
def environment_as_it_was() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_curves_vary_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = without_processes(monkeypatch, (2.0, 1.9, 1.8))
    monkeypatch.setattr(curves, "by_turns", turns.by_turns)
    records = list(curves.measure(["mlp-width", curves.MEMORY], ["jaxdl", "torch"], 0.5, lambda text: None))
    assert [name for name, *_ in asked] == [f"mlp:sizes=784x{n}x{n}x10,steps=20" for n in (64, 256, 1024)]
    assert [(r["curve"], r["peer"], r["x"], r["y"]) for r in records[:2]] == [
        ("mlp: width", "jaxdl", 64, 4.0),
        ("mlp: width", "torch", 64, 4.0),
    ]
    assert all(find(curve.text.format(x=x)) for curve in curves.CURVES.values() for x in curve.values)


@pytest.mark.slow
def test_remat_needs_less_memory() -> None:
    found = {(r["peer"], r["x"]): r["y"] for r in curves.memory((1, 4), time=32, width=32)}
    assert found["jaxdl, remat", 4] < found["jaxdl", 4]
    assert found["jaxdl", 4] > found["jaxdl", 1]


def test_list_names_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in [*WORKLOADS, *peers.PEERS, *curves.CURVES])


def test_arguments_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (
        (["compare", "cmn"], "a workload must be one of mlp, ae"),
        (["compare", "cnn", "--rounds", "0"], "must be 1 or more, got 0"),
        (["run", "cnn", "--seconds", "0"], "must be more than 0 seconds"),
    ):
        with pytest.raises(SystemExit):
            cli.main(words)
        assert told in capsys.readouterr().err
