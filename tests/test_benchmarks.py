"""The benchmarks' own parts: counting, equal mathematics, equal programs, tables. Nothing here is timed."""

import json
from collections.abc import Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from benchmarks import cli, hlo, peers, report, runner
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
)
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
QUICK = {"mlp", "lstm", "gpt_dropout"}


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


def test_measure_gives_a_record_that_is_json() -> None:
    record = runner.measure(SMALL, "plain", epochs=2)
    assert json.loads(json.dumps(record)) == record
    assert record["workload"] == "small" and record["steps"] == 4
    assert record["ms"]["min"] <= record["ms"]["median"] <= record["ms"]["max"]
    assert "jax" in record["versions"] and record["loop"]["dot"]


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


def made_up(peer: str, number: int, ms: float, losses: Sequence[float] = (2.0, 1.9, 1.8)) -> runner.Record:
    loop = {"dot": 3, "add": 2, "tuple": 1, **({"copy": 1} if peer == "plain" else {})}
    return {
        "workload": "cnn",
        "peer": peer,
        "round": number,
        "ms": {"median": ms, "min": ms - 0.5, "max": ms + 0.5},
        "epochs": 5,
        "first_call_seconds": 1.25,
        "peak_megabytes": 400.0,
        "first_losses": list(losses),
        "loop": None if peer == "torch" else loop,
        "device": "cpu",
        "cpu": "a processor",
        "cpus": 2,
        "threads": 2,
        "load": 2.0,
        "time": "2026-01-02T03:04:05+0000",
        "versions": {"python": "3.11.0"} if peer == "torch" else {"python": "3.11.0", "jax": "0.10.2"},
    }


def made_up_rounds() -> list[runner.Record]:
    times = {"jaxdl": (4.0, 6.0), "plain": (4.0, 5.0), "torch": (8.0, 8.0)}
    return [made_up(peer, number, ms[number]) for number in (0, 1) for peer, ms in times.items()]


def test_report_renders_saved_lines(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = tmp_path / "saved.jsonl"
    saved.write_text("\n".join(map(json.dumps, made_up_rounds())) + "\n")
    assert cli.main(["report", str(saved)]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "## cnn" in lines
    assert "| jaxdl | 5 | 3.5 – 6.5 | | | | 1.25 | 400 |" in lines
    assert "| plain | 4.5 | 3.5 – 5.5 | 1.10 | 1.00 – 1.20 | 1.00 | 1.25 | 400 |" in lines
    assert "| torch | 8 | 7.5 – 8.5 | 0.62 | 0.50 – 0.75 | 0.47 | 1.25 | 400 |" in lines
    assert "- loop of jaxdl: 6 instructions, 5 of them work" in lines
    assert "- loop of plain: 7 instructions, 6 of them work; jaxdl against it: copy -1" in lines
    assert "2026-01-02: rounds 2, epochs each 5. a processor, 2 threads on 2 processors, device cpu" in lines[-2]


def test_compare_prints_the_table_and_saves_the_lines(
    monkeypatch: pytest.MonkeyPatch, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def apart(workload: str, peer: str, epochs: int) -> runner.Record | None:
        asked.append(peer)
        return None if peer == "torch" else made_up(peer, 0, 4.0)

    monkeypatch.setattr(runner, "measure_apart", apart)
    out = tmp_path / "new" / "lines.jsonl"
    assert cli.main(["compare", "cnn", "--rounds", "2", "--out", str(out)]) == 0
    assert asked == ["jaxdl", "plain", "torch", "jaxdl", "plain"]
    assert [(r["peer"], r["round"]) for r in report.read(out)] == [
        (peer, number) for number in (0, 1) for peer in ("jaxdl", "plain")
    ]
    assert "| plain |" in capsys.readouterr().out


@pytest.mark.parametrize("losses", [(2.001, 1.9, 1.8), (2.0, 1.95, 1.8), (float("nan"), 1.9, 1.8)])
def test_compare_fails_loudly_when_the_mathematics_differ(
    losses: tuple[float, ...], monkeypatch: pytest.MonkeyPatch, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        runner,
        "measure_apart",
        lambda workload, peer, epochs: made_up(peer, 0, 4.0, losses if peer == "plain" else (2.0, 1.9, 1.8)),
    )
    assert cli.main(["compare", "cnn", "--out", str(tmp_path / "lines.jsonl")]) == 1
    out, err = capsys.readouterr()
    assert "##" not in out and "not the same mathematics: cnn: from equal weights and batches, plain has loss" in err


def test_list_names_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in [*WORKLOADS, *peers.PEERS])
