"""What the benchmarks count: instructions of loops, operations of steps; equal mathematics and equal programs."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmark_sizes import SMALL
from jax import lax

from benchmarks import count, hlo
from benchmarks.peers import Session, jaxdl_models, open_session, plain_networks
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
from jaxdl import functional
from jaxdl.data.order import epoch_order
from jaxdl.inspect.operations import _meetings
from jaxdl.train.program import trace_count

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


@pytest.mark.slow
def test_plain_and_jaxdl_compute_the_same(sessions: dict[str, Session]) -> None:
    plain, ours = sessions["plain"].losses(3), sessions["jaxdl"].losses(3)
    np.testing.assert_allclose(ours, plain, rtol=1e-6)
    assert len({round(loss, 4) for loss in ours}) == 3  # It trains.


@pytest.mark.slow
def test_what_is_counted_is_what_the_engine_runs() -> None:
    """The peer asks for the program with arguments like the engine's own: a run finds it compiled."""
    session = open_session("jaxdl", replace(SMALL, batch=4))
    before = trace_count()
    session.losses(1)
    session.train(1, lambda loss: None)
    assert trace_count() == before + 1


@pytest.mark.slow
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


@pytest.mark.slow
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


def counted(function: Callable[..., Any], *arguments: Any) -> tuple[int, int]:
    return count.counted(function, *arguments)


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


def meetings_by_hand(places: int, stride: int, taps: int, apart: int, low: int, size: int, holes: int) -> int:
    at = (place * stride + tap * apart - low for place in range(places) for tap in range(taps))
    return sum(a % holes == 0 and 0 <= a // holes < size for a in at)


def test_taps_that_meet_the_input_are_counted_exactly() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        places, taps, size = (int(n) for n in rng.integers(1, 12, 3))
        stride, apart, holes = (int(n) for n in rng.integers(1, 7, 3))
        low = int(rng.integers(-5, 15))
        found = _meetings((places, stride), (taps, apart), low, size, holes)
        assert found == meetings_by_hand(places, stride, taps, apart, low, size, holes)


def test_work_is_counted_in_the_dtype_that_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    apply = plain_networks.MODELS[CNN]

    def watched(network: CNN, functions: Any) -> Any:
        inner = apply(network, functions)

        def call(weights: Any, state: Any, x: Any, **how: Any) -> Any:
            seen.append((weights["conv"]["kernel"].dtype, x.dtype))
            return inner(weights, state, x, **how)

        return call

    monkeypatch.setitem(plain_networks.MODELS, CNN, watched)
    exact = count.work(SMALL)
    monkeypatch.setenv("JAXDL_BENCH_DTYPE", "bfloat16")
    half = count.work(SMALL)
    assert seen == [(jnp.float32, jnp.float32), (jnp.bfloat16, jnp.bfloat16)]
    assert half.products == exact.products and half.bytes == exact.bytes  # Weights and optimizer stay float32.
