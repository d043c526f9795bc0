"""The peers of the benchmark that the suite's own packages allow; all of them are compared in tests/parity."""

import numpy as np
import pytest
from benchmark_sizes import TINY

from benchmarks import machine
from benchmarks.peers import open_session


@pytest.fixture(autouse=True)
def no_rank_promotion() -> None:
    """Instead of the suite's: other projects' layers add a bias as they like."""


@pytest.mark.parametrize("name", ["cnn", *(pytest.param(n, marks=pytest.mark.slow) for n in ("deep", "gru", "gpt"))])
def test_nnx_computes_what_jaxdl_does(name: str) -> None:
    ours, theirs = (open_session(peer, TINY[name]) for peer in ("jaxdl", "nnx"))
    expected = ours.losses(3)
    losses = theirs.losses(3)
    np.testing.assert_allclose(losses[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(losses[1:], expected[1:], rtol=1e-3)


@pytest.mark.slow
def test_nnx_trains_and_predicts() -> None:
    session = open_session("nnx", TINY["gpt_dropout"])
    means: list[float] = []
    session.train(3, means.append)
    assert len(means) == 3 and means[2] < means[0]
    passes: list[float] = []
    session.predict(1, passes.append)
    assert passes == [0.0] and session.outputs().shape == (4, 6, 11)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAXDL_BENCH_PLATFORM", raising=False)
    monkeypatch.delenv("JAXDL_BENCH_DTYPE", raising=False)
    assert (machine.platform(), machine.dtype()) == ("cpu", "float32")
    monkeypatch.setenv("JAXDL_BENCH_PLATFORM", "gpu")
    monkeypatch.setenv("JAXDL_BENCH_DTYPE", "bfloat16")
    assert (machine.platform(), machine.dtype()) == ("gpu", "bfloat16")


@pytest.mark.parametrize("variable", ["JAXDL_BENCH_PLATFORM", "JAXDL_BENCH_DTYPE"])
def test_a_setting_that_is_none_is_an_error(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "tpu")
    with pytest.raises(ValueError, match=f"{variable} must be one of .*, got 'tpu'"):
        machine.platform()
        machine.dtype()
