"""Comparing, saving and reporting: the command line, with records that are made up."""

import argparse
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxdl as dl
from benchmarks import cli, convergence, curves, limit, machine, peers, report, results, runner, turns
from benchmarks.engine.__main__ import parser as engine_parser
from benchmarks.lowerings.__main__ import FAMILIES
from benchmarks.workloads import WORKLOADS, Workload, find
from jaxdl import layers as L

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
        "epoch_drift": 2e-2,
        "epoch_loss": 1.9,
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
        "processors": 2,
        "load": 2.0,
        "time": "2026-01-02T03:04:05+0000",
        "versions": {"python": "3.11.0"} if peer == "torch" else {"python": "3.11.0", "jax": "0.10.2"},
    }


def made_up_rounds() -> list[runner.Record]:
    times = {
        "jaxdl": (4.0, 6.0),
        "plain": (4.0, 5.0),
        "torch": (8.0, 8.0),
        "nnx": (9.0, 9.0),
    }
    measured = [made_up(peer, number, ms[number]) for number in (0, 1) for peer, ms in times.items()]
    work = {"operations": 1_000_000, "products": 900_000, "bytes": 4000}
    other = [record | {"workload": "vit"} for record in measured if record["peer"] != "nnx"]
    return [{"limit": LIMIT}, {"workload": "cnn", "work": work}, *measured, *other]


def test_report_renders_saved_lines(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = tmp_path / "saved.jsonl"
    saved.write_text("\n".join(map(json.dumps, made_up_rounds())) + "\n")
    assert cli.main(["report", str(saved)]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    head = "| workload | best peer | jaxdl, ms | jaxdl / best | at most | aim"
    assert f"{head} | / plain | / torch | / nnx | of the limit |" in lines
    assert "| cnn | torch | 5 | 0.62 | 0.55 | 0.40 | 1.10 | 0.62 | 0.56 | 20% |" in lines
    assert "| vit | torch | 5 | 0.62 | 1.00 | – | 1.10 | 0.62 | – | – |" in lines
    assert "| mean of 1 with targets | | | 0.62 | 0.72 | 0.55 | 1.10 | 0.62 | 0.56 | |" in lines
    assert "| mean of all 2 | | | 0.62 | 1.00 | – | 1.10 | 0.62 | 0.56 | |" in lines
    assert "| cnn | 1.25 | 1.25 | 1.25 | 1.25 |" in lines
    assert "| vit | 400 | 400 | 400 | – |" in lines
    assert "| jaxdl | 5 | 3.5 – 6.5 | 50% | | | | 20% | 1.25 | 400 |" in lines
    assert "| torch | 8 | 7.5 – 8.5 | 0% | 0.62 | 0.50 – 0.75 | 0.47 | 12% | 1.25 | 400 |" in lines
    assert "- a step: 0.001 GFLOP, 90% of them in products; 0.004 MB must move" in lines
    assert "- loop of jaxdl: 6 instructions, 5 of them work" in lines
    assert "- loop of plain: 7 instructions, 6 of them work; jaxdl against it: copy -1" in lines
    assert any(line.startswith("The limit in this run: 1 GFLOP/s in products of matrices (jax, 51") for line in lines)
    assert any(line.startswith("2026-01-02: rounds 2, epochs each 5 – 5. a processor, 2 of 2 proc") for line in lines)
    assert lines[-1].startswith("Others used 25% of the processors meanwhile (25% – 25%). **That is much")


def test_report_needs_a_measurement() -> None:
    for make in (results.Results, results.by_place):
        with pytest.raises(ValueError, match="at least one record of a measurement"):
            make([{"limit": LIMIT}])


def test_runs_are_compared_each_in_itself(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file from a quiet hour and one from a busy one, with another peer in it: ratios and shares hold."""
    quick = made_up_rounds()[:6]
    slow = [{"limit": LIMIT | {"operations": 0.5e9}}, made_up("jaxdl", 0, 8.0), made_up("torch", 0, 16.0)]
    slow += [made_up("nnx", 0, 9.0)]
    saved = [tmp_path / "quick.jsonl", tmp_path / "slow.jsonl"]
    for path, records in zip(saved, (quick, [quick[1], *slow]), strict=True):
        path.write_text("\n".join(map(json.dumps, records)))
    (found,) = results.by_place(results.read(saved)).values()
    assert results.ratios(found.of("cnn", "jaxdl"), found.of("cnn", "torch")) == [0.5, 0.5]
    assert results.ratios(found.of("cnn", "jaxdl"), found.of("cnn", "nnx")) == [4 / 9, 8 / 9]
    assert found.best_peer("cnn") == "nnx"
    assert found.of_limit("cnn", "jaxdl") == 0.25
    assert found.spread("cnn", "jaxdl") == 0
    gpu = [made_up("jaxdl", 0, 1.0) | {"platform": "gpu", "device": "NVIDIA H200", "run": "gpu"}]
    (tmp_path / "gpu.jsonl").write_text("\n".join(map(json.dumps, gpu)))
    assert cli.main(["report", *map(str, saved), str(tmp_path / "gpu.jsonl")]) == 0
    out = capsys.readouterr().out
    assert "# a processor, float32\n" in out and "# NVIDIA H200, float32\n" in out


def test_report_says_what_a_reader_must_know() -> None:
    records = [record | {"workload": "gru:hidden=8"} for record in made_up_rounds() if "peer" in record]
    text = report.render(results.Results([{"limit": LIMIT}, *records]))
    assert "- torch, nnx and keras train a second bias" in text
    assert "a convolution that is filtered needs fewer and may pass 100 %" in text


ROOT = Path(__file__).parents[1]
TEXTS = [path for name in ("README.md", "CHANGELOG.md", "benchmarks/NOTES.md") if (path := ROOT / name).exists()]


def test_every_command_that_is_written_down_is_one() -> None:
    found = [
        " ".join(line.split()) for path in TEXTS for line in re.findall(r"`(python -m bench[^`]*)`", path.read_text())
    ]
    assert any("compare" in line for line in found)
    lowerings = argparse.ArgumentParser()
    lowerings.add_argument("--only", choices=[name for family in FAMILIES for name in family.TABLES])
    lowerings.add_argument("--seconds", type=float)
    parsers = {"benchmarks": cli.parser(), "benchmarks.lowerings": lowerings, "benchmarks.engine": engine_parser()}
    for line in found:
        module, *words = line.replace("…", "").split()[2:]
        parsers[module].parse_args(words)


@pytest.mark.slow
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
        for record in records:
            if record["peer"] != "plain" or losses == (2.0, 1.9, 1.8):
                yield record
        turns.disagreeing(records, say)
        if losses != (2.0, 1.9, 1.8):
            raise runner.DisagreementError("plain left out of cnn, not the same mathematics")

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
    assert [r["peer"] for r in results.read([out])] == ["jaxdl", "torch", "plain"]
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
def test_a_peer_that_computes_something_else_is_left_out_with_a_word(
    losses: tuple[float, ...], monkeypatch: pytest.MonkeyPatch, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    without_processes(monkeypatch, losses)
    words = ["compare", "cnn", "--peers", "torch", "nnx", "plain", "--out", str(tmp_path / "lines.jsonl")]
    assert cli.main(words) == 1
    out, err = capsys.readouterr()
    assert "## cnn" in out and "| torch" in out and "| plain" not in out
    assert (
        "plain is left out, not the same mathematics: cnn: from equal weights and batches, plain has as loss in" in err
    )


def test_where_the_first_agrees_with_nobody_nothing_is_measured() -> None:
    ours, others = made_up("jaxdl", 0, 4.0, (3.0, 1.9, 1.8)), [made_up(peer, 0, 4.0) for peer in ("torch", "nnx")]
    words: list[str] = []
    with pytest.raises(runner.DisagreementError, match="jaxdl agrees with nobody: cnn: .*torch has.*; cnn: .*nnx has"):
        turns.disagreeing([ours, *others], words.append)
    assert words == [] and turns.disagreeing([others[0], ours, others[1]], words.append) == ["jaxdl"]
    assert turns.disagreeing([ours], words.append) == turns.disagreeing([], words.append) == []


def test_a_limit_that_fails_is_said(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = cli.Saved(tmp_path / "lines.jsonl")
    saved.add_apart("limit", "nothing")
    assert saved.records == [] and capsys.readouterr().err == "limit is left out: it ended with 2\n"


def test_figures_that_peers_agree_on() -> None:
    one, other = made_up("jaxdl", 0, 4.0), made_up("torch", 0, 4.0, (9.0, 9.0, 9.0))
    drawn = {"random": True}
    runner.check_same(other | drawn | {"epoch_loss": 4.05}, one | drawn | {"epoch_loss": 4.0})
    for drawn in ({"random": True}, {"first_losses": one["first_losses"]}):
        with pytest.raises(runner.DisagreementError, match="torch has as mean loss of the first epoch 4.2, jaxdl 4;"):
            runner.check_same(other | drawn | {"epoch_loss": 4.2}, one | drawn | {"epoch_loss": 4.0})
    runner.check_same(other | {"first_outputs": [0.0005, -8.0]}, one | {"first_outputs": [0.0, -8.0]})
    with pytest.raises(runner.DisagreementError, match="torch has as output 0 0.01, jaxdl 0;"):
        runner.check_same(other | {"first_outputs": [0.01, -8.0]}, one | {"first_outputs": [0.0, -8.0]})


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
    assert found["jaxdl, repeat and remat", 4] < 0.7 * min(found["jaxdl", 4], found["jaxdl, repeat", 4])
    assert found["jaxdl", 4] > found["jaxdl", 1]


def test_list_names_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in [*WORKLOADS, *peers.PEERS, *curves.NAMES])


def test_arguments_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (
        (["compare", "cmn"], "a workload must be one of mlp, ae"),
        (["compare", "cnn", "--rounds", "0"], "must be 1 or more, got 0"),
        (["run", "cnn", "--seconds", "0"], "must be more than 0 seconds"),
    ):
        with pytest.raises(SystemExit):
            cli.main(words)
        assert told in capsys.readouterr().err


@pytest.mark.slow
def test_both_forms_learn_the_same() -> None:
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(12, 6, 6, 1)).astype(np.float32), "y": rng.integers(0, 3, 12).astype(np.int32)}

    def model(method: str) -> dl.Layer:
        return dl.sequential(L.conv(2, 3, method=method), L.max_pool(2, method=method), L.flatten(), L.dense(3))

    task = convergence.Task("a small CNN", model, data, data, epochs=2, batch_size=4, rate=1e-2)
    plain, fast = convergence.rows(task, convergence.FORMS["methods"], seeds=2)
    assert (plain[:2], fast[:2]) == (["a small CNN", "lax"], ["a small CNN", "auto"])
    assert plain[2:4] == fast[2:4]
    assert "±" in fast[2]
    (half,) = convergence.rows(task, convergence.FORMS["policies"][1:2], seeds=1)
    assert half[1] == "bfloat16"
