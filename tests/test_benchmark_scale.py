"""Training steps over many devices on paper: what is counted in programs, and what the model makes of it."""

import dataclasses
import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from benchmarks.cli import parser
from benchmarks.scale import command, measure, report
from benchmarks.scale.cases import SIZES, Case, Size, case_of, ways_of
from benchmarks.scale.child import asked, compiled
from benchmarks.scale.collectives import Collective, group_of, step_collectives
from benchmarks.scale.flow import shapes
from benchmarks.scale.model import Device, Work, known_device, predict, seconds, sent

TINY = Size("tiny", layers=2, features=16, heads=2, length=8, vocabulary=32)
ONES = Device("ones", flops=100, memory=10, link=8, network=1, capacity=1e9, node=8, utilization=0.5, latency=0.25)

COMPILED = """HloModule step, entry_computation_layout={(f32[4]{0})->f32[4]{0}}

%add.1 (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%wrapped_convert (p.1: f32[64]) -> bf16[64] {
  %p.1 = f32[64]{0} parameter(0)
  ROOT %convert.1 = bf16[64]{0} convert(%p.1)
}

%cut (p.2: bf16[64], at: s32[]) -> bf16[8] {
  %p.2 = bf16[64]{0} parameter(0)
  %at = s32[] parameter(1)
  ROOT %slice.1 = bf16[8]{0} dynamic-slice(%p.2, %at), dynamic_slice_sizes={8}
}

%layers (arg: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %arg = (s32[], f32[8,4]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%arg), index=0
  %x = f32[8,4]{1,0} get-tuple-element(%arg), index=1
  %gathered = f32[64,4]{1,0} all-gather(%x), replica_groups=[1,8]<=[8], dimensions={0}
  %both = (f32[64]{0}, f32[64]{0}) all-reduce(%x, %x), replica_groups=mesh['data'=4,'model'=2] {'data'}, to_apply=%add.1
  %first = f32[64]{0} get-tuple-element(%both), index=0
  %second = f32[64]{0} get-tuple-element(%both), index=1
  %narrow = bf16[64]{0} fusion(%first), kind=kLoop, calls=%wrapped_convert
  %part = bf16[8]{0} fusion(%narrow, %i), kind=kLoop, calls=%cut
  ROOT %next = (s32[], f32[8,4]{1,0}) tuple(%i, %x, %part, %second)
}

%going (arg.1: (s32[], f32[8,4])) -> pred[] {
  ROOT %yes = pred[] constant(true)
}

%steps (arg.2: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %arg.2 = (s32[], f32[8,4]{1,0}) parameter(0)
  %loop = (s32[], f32[8,4]{1,0}) while(%arg.2), condition=%going, body=%layers, metadata={op_name="a"}, backend_config={"known_trip_count":{"n":"12"}}
  %loss = f32[] all-reduce(%loop), replica_groups={{0,1,2,3,4,5,6,7}}, to_apply=%add.1
  %alone = f32[9]{0} all-reduce(%loop), replica_groups={{0},{1}}, to_apply=%add.1
  ROOT %same = (s32[], f32[8,4]{1,0}) tuple(%loop)
}

ENTRY %main (p: f32[8,4]) -> f32[8,4] {
  %p = f32[8,4]{1,0} parameter(0)
  %many = (s32[], f32[8,4]{1,0}) while(%p), condition=%going, body=%steps
  ROOT %out = f32[8,4]{1,0} get-tuple-element(%many), index=1
}
"""  # noqa: E501

PARTITIONED = """HloModule step

ENTRY %main (p: bf16[8,4]) -> bf16[64,4] {
  %p = bf16[8,4]{1,0} parameter(0)
  %one = bf16[64]{0} all-reduce(%p), replica_groups=[1,8]<=[8], to_apply=%add.1
  %two = f32[64]{0} all-reduce(%p), replica_groups=[1,8]<=[8], to_apply=%add.1
  ROOT %gathered = bf16[64,4]{1,0} all-gather(%p), replica_groups=[1,8]<=[8], dimensions={0}
}
"""


def test_collectives_are_counted_as_often_as_they_run_in_their_own_dtype() -> None:
    found = set(step_collectives(COMPILED, PARTITIONED, 8))
    assert found == {
        Collective("all-gather", 2 * 64 * 4, 8, 1, times=12),  # bfloat16, in a loop of twelve
        Collective("reduce-scatter", 2 * 64, 4, 2, times=12),  # through a fusion, of which a slice is cut
        Collective("all-reduce", 4 * 64, 4, 2, times=12),  # of the same instruction, float32, not cut
        Collective("all-reduce", 4, 8, 1, times=1),  # the loop of steps counts once; a group of one sends nothing
    }


def test_dtypes_are_left_alone_where_nothing_was_widened() -> None:
    found = {c.kind: c.bytes for c in step_collectives(COMPILED, COMPILED, 8) if c.times == 12}
    assert found == {"all-gather": 1024, "reduce-scatter": 256, "all-reduce": 256}


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("replica_groups={{0,2},{1,3}}, to_apply=%a", (0, 2)),
        ("replica_groups=[2,4]<=[8], dimensions={0}", (0, 1, 2, 3)),
        ("replica_groups=[2,4]<=[4,2]T(1,0), dimensions={0}", (0, 2, 4, 6)),
        ("replica_groups=mesh['a'=1,'b'=4,'c'=2] {'c'}, dimensions={0}", (0, 1)),
        ("replica_groups=mesh['a'=4,'b'=2] {'a'}", (0, 2, 4, 6)),
        ("replica_groups=mesh['a'=4,'b'=1,'c'=2], device_ids=([2,4]T(1,0)) {'a'}, use_global", (0, 1, 2, 3)),
        ("replica_groups=mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'b'}", (0, 4)),
        ("replica_groups={}, to_apply=%a", (0, 1, 2, 3, 4, 5, 6, 7)),
        ("source_target_pairs={{0,1},{1,7},{7,0}}", (7, 0)),
    ],
)
def test_groups_are_read_in_each_of_the_ways_they_are_written(text: str, group: tuple[int, ...]) -> None:
    assert group_of(text, 8) == group


def test_groups_of_another_writing_are_an_error() -> None:
    with pytest.raises(ValueError, match="must be written in a known way, got replica_groups=odd"):
        group_of("replica_groups=odd", 8)


def test_types_are_read() -> None:
    assert shapes("(f32[2,3]{1,0}, /*index=1*/bf16[], pred[4]{0})") == [("f32", 6), ("bf16", 1), ("pred", 4)]


def test_rings_send_what_they_send() -> None:
    n = {"bytes": 800, "devices": 8, "stride": 1, "times": 1}
    assert sent(Collective("all-reduce", **n)) == 2 * 700
    assert sent(Collective("all-gather", **n)) == sent(Collective("reduce-scatter", **n)) == 700
    assert sent(Collective("collective-permute", **n)) == 800


def test_a_collective_takes_its_bytes_over_the_slowest_way() -> None:
    inside = Collective("all-gather", 80, 8, 1, times=2)
    assert seconds(inside, ONES) == 2 * (0.25 + 70 / 8)
    across = inside._replace(devices=16, bytes=160)
    assert seconds(across, ONES) == 2 * (0.25 + 150 / 8)  # eight adapters of a node together
    apart = inside._replace(stride=8)
    assert seconds(apart, ONES) == 2 * (0.25 + 70 / 1)  # one of each node
    assert seconds(apart, dataclasses.replace(ONES, node=64)) == seconds(inside, ONES)


def test_a_step_is_between_its_longest_part_and_their_sum() -> None:
    work = Work(500, state=30, gradients=10, activations=10, collectives=[Collective("all-gather", 80, 8, 1, 1)])
    times = predict(work, ONES)
    assert times == (10, 10, 9)
    assert (times.least, times.most, work.held, work.moved) == (10, 29, 50, 100)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"flops": 0}, "flops must be more than 0, got 0"),
        ({"link": -1}, "link must be more than 0, got -1"),
        ({"memory": float("nan")}, "memory must be more than 0, got nan"),
        ({"utilization": 1.5}, "utilization must be above 0 and at most 1, got 1.5"),
        ({"latency": -1.0}, "latency must be 0 or more seconds, got -1.0"),
    ],
)
def test_rates_that_cannot_be(change: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        dataclasses.replace(ONES, **change)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"devices": 0}, "devices must be 1 or more, got 0"),
        ({"batch": 0}, "batch must be 1 or more, got 0"),
        ({"preset": "zero"}, "preset must be one of data, fsdp, tensor, fsdp.tensor, got 'zero'"),
        ({"policy": "int8"}, "policy must be one of bfloat16, float32, got 'int8'"),
        ({"preset": "tensor"}, "ways must be 2 or more for tensor and 1 without it, got 1"),
        ({"ways": 2}, "ways must be 2 or more for tensor and 1 without it, got 2"),
        ({"preset": "tensor", "ways": 4}, "ways must divide the 2 heads of tiny, got 4"),
        ({"preset": "tensor", "ways": 3, "devices": 8}, "ways must divide the 8 devices of tiny, got 3"),
    ],
)
def test_cases_that_cannot_be(change: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        Case(**({"size": TINY, "devices": 8, "preset": "data"} | change))


def arguments_of(*words: str) -> Any:
    found = ArgumentParser()
    command.add_arguments(found)
    return found.parse_args(words)


def test_the_command_names_its_cases() -> None:
    told: list[str] = []
    cases = command.cases_of(arguments_of(), told.append)
    assert {case.size.name for case in cases} == {"124M", "1.5B"} and len(cases) == 10
    assert {case.ways for case in cases if case.preset == "fsdp+tensor"} == {4}
    assert len(told) == 2 and told[0].startswith(
        "1.5B, 8 devices, fsdp+tensor is left out: no number to 8 divides both"
    )
    every = command.cases_of(arguments_of("--all", "--batch", "2"), told.append)
    assert {case.devices for case in every} == {8, 64, 512} and {case.batch for case in every} == {2}
    (one,) = command.cases_of(
        arguments_of("--sizes", "7B", "--devices", "512", "--presets", "tensor", "--length", "128", "--no-remat")
    )
    assert (one.mesh, one.size.length, one.remat, one.examples) == ({"data": 64, "model": 8}, 128, False, 4096)
    assert case_of(json.loads(json.dumps(one.as_json()))) == one
    assert ways_of(SIZES["1.5B"], 8, 8) == 1


def test_the_command_takes_rates_and_refuses_what_cannot_be(capsys: pytest.CaptureFixture[str]) -> None:
    h100 = known_device("h100", "bfloat16")
    assert command.device_of(arguments_of()) == h100
    slower = command.device_of(arguments_of("--link", "1e9", "--node", "4"))
    assert slower == dataclasses.replace(h100, name="h100, changed", link=1e9, node=4)
    for words, error in (
        (["--length", "0"], "length must be 1 or more, got 0"),
        (["--devices", "0"], "devices must be 1 or more, got 0"),
        (["--flops", "0"], "flops must be more than 0, got 0"),
    ):
        arguments = parser().parse_args(["scale", *words])
        assert arguments.run(arguments) == 2
        assert error in capsys.readouterr().err


def record_of(**change: Any) -> dict[str, Any]:
    return {
        "case": Case(TINY, 8, "data").as_json(),
        "parameters": 1000,
        "products": 8e12,
        "collectives": [["all-reduce", 4_000_000_000, 8, 1, 1, 3], ["all-gather", 10**9, 8, 1, 4, 1]],
        "bytes": {"parameters": 10**9, "optimizer": 2 * 10**9, "activations": 10**9, "logits": 10**9},
        "compiled": {"arguments": 3 * 10**9, "temporaries": 5 * 10**9},
        "seconds": {"trace": 1.0, "compile": 2.0},
    } | change


def test_the_report_says_what_it_rests_on(tmp_path: Path) -> None:
    device = dataclasses.replace(known_device("h100", "bfloat16"), capacity=5e9)
    (record,) = report.predicted([record_of()], device)
    assert record["predicted"]["held"] == 6e9 and not record["predicted"]["fits"]
    text = report.rendered([record], device)
    for said in ("989 TFLOP/s at 50%", "links 450 GB/s within 8 devices", "widens bfloat16", "reduce-scatter", "jaxpr"):
        assert said in text
    assert "| 1 of 4.000 |" in text and "| 4 of 4.000 |" in text and "no |" in text
    pytest.importorskip("matplotlib")
    from benchmarks.scale.chart import draw

    draw([record], device, tmp_path / "runs" / "scale.png")
    assert (tmp_path / "runs" / "scale.png").stat().st_size > 5000


def measured_step(devices: int, batch: int, **change: Any) -> dict[str, Any]:
    """A step of a processor of 1,000 operations, 100 bytes and 10 bytes of links a second."""
    collectives = [("all-reduce", 20, devices, 1, 1, 1)] if devices > 1 else []
    link = devices * 2 * 20 * (devices - 1) / devices / 10 if devices > 1 else 0
    seconds = batch * 50 / 1000 + devices * 2 * 40 / 100 + link
    names = {"network": "mlp", "preset": "data", "in_collectives": 0.5, "state": 30, "gradients": 10}
    return (
        names
        | {"devices": devices, "batch": batch, "products": batch * 50, "collectives": collectives}
        | {
            "seconds": seconds,
            **change,
        }
    )


def test_rates_are_found_from_one_and_two_devices_and_predict_the_others() -> None:
    records = [measured_step(n, batch) for n in measure.DEVICES for batch in measure.batches("mlp", n)]
    processor = measure.calibrated(records)
    assert processor.flops == pytest.approx(1000) and processor.memory == pytest.approx(100)
    assert processor.link == pytest.approx(10)
    found = measure.judged(records)
    assert [record["predicted"] for record in found] == pytest.approx([record["seconds"] for record in found])
    assert [(r["devices"], r["scaling"]) for r in found] == [
        (2, "weak"),
        (2, "strong"),
        (4, "weak"),
        (4, "strong"),
        (8, "weak and strong"),
    ]
    assert found[0]["one"] == measured_step(1, 128)["seconds"]
    assert report.measured_table(found).count(" 1.00 |") == 5 and "no speed-up" in report.SHARED


def test_what_comes_out_below_zero_is_free() -> None:
    records = [measured_step(n, batch, seconds=1.0) for n in measure.DEVICES for batch in measure.batches("mlp", n)]
    assert measure.calibrated(records).flops == float("inf")


def test_what_layers_keep_is_read_from_their_loops() -> None:
    from benchmarks.scale.program import kept

    def loss(w: jax.Array, x: jax.Array) -> jax.Array:
        return lax.scan(lambda x, w: (jnp.sin(x * w), None), x, w)[0].sum()

    w, x = jnp.ones(3), jnp.ones((8, 16))
    case = Case(TINY, 8, "data")
    found = kept(jax.make_jaxpr(jax.grad(loss))(w, x), case)
    assert found % (3 * 8 * 16 * 4 // 8) == 0 and 0 < found <= 3 * 3 * 8 * 16 * 4 // 8


def test_a_process_that_fails_is_an_error_with_its_last_words() -> None:
    with pytest.raises(RuntimeError, match="compile over 1 devices must end well, got 1: KeyError: 'case'"):
        asked("compile", 1, {})


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["data", "fsdp"])
def test_a_compiled_step_has_what_is_counted_by_hand(preset: str) -> None:
    record = compiled(Case(TINY, 8, preset, policy="float32", batch=2, remat=False))
    size, found = TINY, [Collective(*c) for c in record["collectives"]]
    layer = 12 * size.features**2 + 13 * size.features
    table = size.vocabulary * size.features
    parameters = size.layers * layer + table + size.length * size.features + 2 * size.features
    assert record["parameters"] == parameters

    tokens = 8 * 2 * size.length
    attention = 3 * 2 * 2 * size.layers * tokens * size.length * size.features
    weights = size.layers * 12 * size.features**2 + table
    assert record["products"] == 6 * weights * tokens + attention
    assert record["bytes"]["parameters"] == 4 * parameters // (8 if preset == "fsdp" else 1)

    total = {kind: sum(c.bytes * c.times for c in found if c.kind == kind) for kind in ("all-reduce", "all-gather")}
    scattered = sum(c.bytes * c.times for c in found if c.kind == "reduce-scatter")
    gradients = 4 * parameters + 4 * table  # the tied table's two gradients are added up after they are exchanged
    if preset == "data":
        assert (total, scattered) == ({"all-reduce": gradients + 4, "all-gather": 0}, 0)
    else:
        assert scattered == gradients and total["all-reduce"] == 4
        kernels = 4 * size.layers * 12 * size.features**2
        assert total["all-gather"] == 4 * parameters + kernels  # a layer's kernels once more for their gradient
