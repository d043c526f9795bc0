"""The peers of the benchmark compute the same thing: predictions equal to PyTorch's, and losses as they train."""

import os

os.environ["KERAS_BACKEND"] = "jax"  # read as Keras is imported

import functools
import importlib.util

import numpy as np
import pytest
from benchmark_sizes import TINY

from benchmarks.peers import PEERS, LeftOutError, Session, open_session

RANDOM = [name for name, workload in TINY.items() if workload.random]
OTHERS = [peer for peer in PEERS if not peer.startswith("torch") and peer != "keras_scan"]

SECOND_BIASES = {"nnx", "keras"}
"""Peers whose GRU has a second bias in the gates r and z: it trains as well, so that they move twice as fast."""


@pytest.fixture(autouse=True)
def no_rank_promotion() -> None:
    """Instead of the suite's: other projects' layers add a bias as they like."""


def session(peer: str, name: str) -> Session:
    if importlib.util.find_spec(PEERS[peer]) is None:
        pytest.skip(f"{PEERS[peer]} is not installed")
    try:
        return open_session(peer, TINY[name])
    except LeftOutError as word:
        pytest.skip(str(word))


@functools.cache
def by_torch(name: str) -> tuple[np.ndarray, list[float]]:
    reference = session("torch", name)
    return reference.outputs(), reference.losses(3)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("peer", OTHERS)
def test_peers_agree(peer: str, name: str) -> None:
    other = session(peer, name)
    outputs, losses = by_torch(name)
    np.testing.assert_allclose(other.outputs(), outputs, atol=1e-5 * abs(outputs).max(), rtol=0)
    ours = other.losses(3)
    if name in RANDOM:
        np.testing.assert_allclose(ours, losses, rtol=0.3)
        return
    one_bias = name == "gru" and peer not in SECOND_BIASES
    np.testing.assert_allclose(ours[0], losses[0], rtol=1e-5)
    np.testing.assert_allclose(ours[1:], losses[1:], rtol=1e-3 if one_bias else 1e-4)


@pytest.mark.parametrize("peer", ["torch", "nnx", "equinox", "keras", "keras_scan"])
@pytest.mark.parametrize("name", ["cnn", "gpt_dropout"])
def test_peers_train_and_predict(peer: str, name: str) -> None:
    trained = session(peer, name)
    means: list[float] = []
    trained.train(3, means.append)
    assert len(means) == 3 and means[2] < means[0]
    again: list[float] = []
    trained.train(1, again.append)  # From the workload's weights once more.
    if peer in ("torch", "nnx", "equinox") and name not in RANDOM:
        np.testing.assert_allclose(again, means[:1], rtol=1e-5)
    passes: list[float] = []
    trained.predict(2, passes.append)
    assert passes == [0.0, 0.0]
    assert trained.program() is None


@pytest.mark.parametrize("peer", ["torch", "nnx", "equinox", "keras"])
@pytest.mark.parametrize("name", ["deep", "simple_rnn"])
def test_peers_compute_in_bfloat16(peer: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, losses = by_torch(name)
    monkeypatch.setenv("JAXDL_BENCH_DTYPE", "bfloat16")
    lowered = session(peer, name)
    theirs = lowered.outputs()
    assert theirs.dtype == np.float32
    difference = abs(theirs - outputs).max() / abs(outputs).max()
    assert 1e-5 < difference < 3e-2
    np.testing.assert_allclose(lowered.losses(1), losses[:1], rtol=2e-2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "gpt"])
def test_compiled_torch_agrees(name: str) -> None:
    compiled = session("torch_compile", name)
    outputs, losses = by_torch(name)
    np.testing.assert_allclose(compiled.outputs(), outputs, atol=1e-5 * abs(outputs).max(), rtol=0)
    np.testing.assert_allclose(compiled.losses(3), losses, rtol=1e-4)
