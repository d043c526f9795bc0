"""The peers of the benchmark compute the same thing: predictions equal to PyTorch's, and losses as they train."""

import os

os.environ["KERAS_BACKEND"] = "jax"  # read as Keras is imported

import functools
import importlib.util
from collections.abc import Iterator

import jax
import numpy as np
import pytest
from benchmark_sizes import TINY

from benchmarks.peers import PEERS, LeftOutError, Session, open_session

RANDOM = [name for name, workload in TINY.items() if workload.random]
OTHERS = [(peer, name) for peer in ("jaxdl", "nnx", "equinox", "keras") for name in TINY]
OTHERS += [("plain", "cnn")]  # tests/test_benchmark_counts.py has the rest beside jaxdl.

SECOND_BIASES = {"nnx", "keras"}
"""Peers whose GRU has a second bias in the gates r and z: it trains as well, so that they move twice as fast."""


@pytest.fixture(autouse=True)
def no_rank_promotion() -> None:
    """Instead of the suite's: other projects' layers add a bias as they like."""


@pytest.fixture(autouse=True, scope="module")
def compiled_at_once() -> Iterator[None]:
    """What is computed shall be right, not fast: compiling takes most of the time here."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def session(peer: str, name: str) -> Session:
    """A peer that is not installed is passed over, but not where everything must hold: there it fails."""
    if importlib.util.find_spec(PEERS[peer]) is None and "CI" not in os.environ:
        pytest.skip(f"{PEERS[peer]} is not installed")
    return open_session(peer, TINY[name])


@functools.cache
def by_torch(name: str) -> tuple[np.ndarray, list[float]]:
    reference = session("torch", name)
    return reference.outputs(), reference.losses(3)


def test_a_missing_peer_fails_where_everything_must_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEERS, "torch", "a_package_that_is_not_there")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="is not installed"):
        session("torch", "mlp")
    monkeypatch.setenv("CI", "1")
    with pytest.raises(LeftOutError, match="a_package_that_is_not_there is not installed"):
        session("torch", "mlp")


@pytest.mark.parametrize(("peer", "name"), OTHERS)
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


@pytest.mark.parametrize(
    ("peer", "name"),
    [(peer, name) for peer in ("torch", "nnx", "equinox", "keras") for name in ("cnn", "gpt_dropout")]
    + [("keras_steps", "cnn")],
)
def test_peers_train_and_predict(peer: str, name: str) -> None:
    trained = session(peer, name)
    means: list[float] = []
    epochs = 8 if name in RANDOM else 3  # dropout makes means of so few examples uneven
    trained.train(epochs, means.append)
    assert len(means) == epochs and means[-1] < means[0]
    again: list[float] = []
    trained.train(1, again.append)  # From the workload's weights once more.
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
