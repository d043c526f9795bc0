"""Series of numbers over time: read from files, cut into windows that see no future."""

import hashlib
import importlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripts import ROOT

import jaxdl as dl
from jaxdl import data
from jaxdl.data import series as module
from jaxdl.data.files import DataFile


@pytest.mark.parametrize(
    ("name", "constant", "unit"),
    [
        ("daily_temperatures", "_TEMPERATURES", "°C"),
        ("sunspots", "_SUNSPOTS", ""),
        ("airline_passengers", "_PASSENGERS", "thousands"),
    ],
)
def test_the_named_series(tmp_path, monkeypatch, name, constant, unit):
    raw = b'"Month","Number"\r\n"1949-01",112\r\n"1949-02",118.5'
    (tmp_path / "a.csv").write_bytes(raw)
    monkeypatch.setattr(module, constant, DataFile("a.csv", len(raw), hashlib.sha256(raw).hexdigest()))
    series = getattr(data, name)(tmp_path)
    assert series.values.tolist() == [112, 118.5]
    assert series.values.dtype == np.float32
    assert series.dates.tolist() == np.array(["1949-01", "1949-02"], "datetime64[M]").tolist()
    assert series.unit == unit


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 20), st.integers(1, 6), st.integers(1, 4))
def test_a_window_ends_before_what_it_forecasts(count, length, horizon):
    if count < length + horizon:
        with pytest.raises(ValueError, match=rf"values must be at least length \+ horizon = {length + horizon} long"):
            data.windows(np.arange(count), length, horizon=horizon)
        return
    parts = data.windows(np.arange(count), length, horizon=horizon)
    assert parts["x"].shape == (count - length - horizon + 1, length, 1)
    assert parts["y"].shape == (count - length - horizon + 1, horizon)
    assert (np.diff(np.concatenate([parts["x"][..., 0], parts["y"]], axis=1), axis=1) == 1).all()
    assert parts["x"][0, 0, 0] == 0
    assert parts["y"][-1, -1] == count - 1


def test_what_comes_later_changes_no_window_before_it():
    values = np.random.default_rng(0).normal(size=30).astype(np.float32)
    later = values.copy()
    later[20:] += 1
    one, other = data.windows(values, 5), data.windows(later, 5)
    before = slice(0, 20 - 5 + 1)  # all that forecast the value at 20 and those before it
    assert np.array_equal(one["x"][before], other["x"][before])
    assert not np.array_equal(one["y"][before], other["y"][before])


@pytest.fixture
def forecasting(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "examples"), *sys.path])
    return importlib.import_module("09_forecasting")


@pytest.mark.parametrize("dataset", ["airline_passengers", "daily_temperatures", "sunspots"])
def test_what_comes_later_changes_no_forecast_before_it(forecasting, dataset):
    task = forecasting.TASKS[dataset] | {"season": 12, "length": 9}
    dates = np.arange("1981-01-01", "1981-06-01", dtype="datetime64[D]")
    values = np.random.default_rng(0).uniform(1, 9, len(dates)).astype(np.float32)
    change = len(values) - 11  # inside of the test part
    later = np.concatenate([values[:change], values[change:] + 1])
    one, other = (forecasting.Windows(data.Series(series, dates), **task) for series in (values, later))
    for name in ("train", "validation"):  # what chooses the weights sees none of it
        for mine, its in zip(one.part(name).values(), other.part(name).values(), strict=True):
            assert np.array_equal(mine, its)
    assert (one.mean, one.deviation) == (other.mean, other.deviation)
    until = change + 1 - one.times["test"].start  # the change is seen by the forecast of the value after it
    model = forecasting.networks(4)["causal CNN"]
    trained = dl.train.create_state(model, optax.sgd(0.1), one.x[:1])
    trained = trained.replace(params=jax.tree.map(lambda leaf: leaf + 0.1, trained.params))
    before, after = (windows.forecast(model, trained, "test") for windows in (one, other))
    assert before.shape == values[one.times["test"]].shape
    assert np.array_equal(before[:until], after[:until])
    assert not (before[until:] == after[until:]).any()


def test_a_network_begins_as_persistence(forecasting):
    dates = np.arange("1981-01-01", "1981-06-01", dtype="datetime64[D]")
    values = np.random.default_rng(0).uniform(1, 9, len(dates)).astype(np.float32)
    networks = forecasting.networks(4).values()
    for (dataset, task), model in zip(forecasting.TASKS.items(), networks, strict=False):
        windows = forecasting.Windows(data.Series(values, dates), **task | {"season": 12, "length": 9})
        trained = dl.train.create_state(model, optax.sgd(0.1), windows.x[:1])
        for name, times in windows.times.items():
            t = np.arange(times.start, times.stop)
            known = values[t - 1]
            if dataset == "airline_passengers":  # the growth against a season ago again
                known = values[t - 12] * values[t - 1] / values[t - 13]
            np.testing.assert_allclose(windows.forecast(model, trained, name), known, rtol=1e-4)


def test_windows_of_several_features():
    parts = data.windows(np.arange(12.0).reshape(6, 2), 3, horizon=2)
    assert parts["x"].shape == (2, 3, 2)
    assert parts["y"][0].tolist() == [[6, 7], [8, 9]]
    assert parts["x"].dtype == np.float64


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1.0, 2.0, 3.0], np.float32),
        ([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], np.float32),
        ([1, 2, 3], np.float32),
        (np.arange(3), np.float32),
        (np.arange(3.0), np.float64),
        (np.arange(3, dtype=np.float16), np.float16),
        (jnp.arange(3, dtype=jnp.bfloat16), jnp.bfloat16),
    ],
)
def test_windows_are_float32_unless_an_array_has_another_float_dtype(values, dtype):
    parts = data.windows(values, 2)
    assert parts["x"].dtype == parts["y"].dtype == dtype


@pytest.mark.parametrize("text", ["2024", "2024-02", "2024-02-29", "2024-02-29T10:30", "2024-02-29 10:30:01.5"])
def test_dates_are_iso(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_text(f"a,b\n {text} ,1\n")
    assert data.read_series(path).dates[0] == np.datetime64(text)


@pytest.mark.parametrize("text", ["8", "20240131", "today", "now", "NaT", "2024-1-5", "2024-13", "2023-02-29", "-2024"])
def test_what_numpy_reads_besides_is_no_date(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_text(f"a,b\n{text},1\n")
    with pytest.raises(ValueError, match=f"'a' must hold dates; got '{text}' in line 2. Did you mean 1949-01-31"):
        data.read_series(path)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, r"read_series\(.*\): the file must hold rows; got none"),
        ("a,b\n1949-01,1\n", {"value": "c"}, r"value must be one of the columns \['a', 'b'\]; got 'c'"),
        ("a,b\n1949-01,1\n", {"date": 2}, r"date must be one of the columns \['a', 'b'\]; got 2"),
        ("a,b\n1949-01,1\n", {"value": "a"}, "value and date must be two columns; got 'a' for both"),
        ("a,b\n1949-01,1\nMay,1\n", {}, "'a' must hold dates; got 'May' in line 3. Did you mean 1949-01-31"),
        ("a,b\n,1\n", {}, "'a' must hold dates; got '' in line 2"),
        ("a,b\n1949-01,1\n1949-02,\n", {}, "'b' must hold a number in each row; got '' in line 3"),
        ("a,b\n1949-01,x\n", {}, "'b' must hold a number in each row; got 'x' in line 2"),
        ("a,b\n1949-01,1\n1949-01,2\n", {}, "dates must ascend; got 1949-01 after 1949-01 in line 3"),
        ("a,b\n1949-01\n", {}, "each row must have 2 fields; got 1 in line 2"),
    ],
)
def test_errors_of_files(tmp_path, text, options, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        data.read_series(path, **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: data.windows(np.ones(5), 0), "windows: length must be a positive int; got 0"),
        (lambda: data.windows(np.ones(5), 2, horizon=0), "windows: horizon must be a positive int; got 0"),
        (lambda: data.windows(np.ones((5, 2, 1)), 2), r"values must have shape \(n,\) or \(n, features\); got float64"),
        (lambda: data.windows(data.Series(np.ones(5), np.ones(5)), 2), r"got a Series. Did you mean series\.values"),
    ],
)
def test_errors_of_windows(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()
