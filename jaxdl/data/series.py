"""Series of numbers over time: real ones by name, any CSV file, and windows that never see what they forecast."""

import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxdl.core import bad_type, bad_value
from jaxdl.core.checks import positive_int
from jaxdl.data.files import DataFile, find_files
from jaxdl.data.rows import column_place, is_missing, read_rows

Folder = str | os.PathLike[str] | None
# NumPy reads more as a date: 8 as a year, 20240131 too, and today.
_ISO = re.compile(r"\d{4}(-\d\d(-\d\d([T ]\d\d(:\d\d(:\d\d(\.\d+)?)?)?)?)?)?", re.ASCII)


class Series(NamedTuple):
    """Numbers over time: ``values: float32 (n,)``, ``dates: datetime64 (n,)``, ascending, and what the numbers are."""

    values: np.ndarray
    dates: np.ndarray
    name: str = ""
    unit: str = ""


def read_series(
    path: str | os.PathLike[str],
    *,
    value: str | int = -1,
    date: str | int = 0,
    columns: Sequence[str] | None = None,
    unit: str = "",
) -> Series:
    """A CSV file with a column of ISO dates (``1949``, ``1949-01``, ``1949-01-31``, ``1949-01-31T12:00``) and one of
    numbers.

    **Args** ``value``, ``date``: the columns, by name or place; ``columns``: the names, for a file whose first row has
    none; ``unit`` of the numbers.

    **Raises** ``ValueError`` for an unknown column, a date or a number that is missing or none (with the line's
    number), dates that do not ascend, or as :func:`read_table`.

    Example:
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "a.csv"
        ...     _ = path.write_text("month,sold\\n2024-01,3\\n2024-02,5\\n")
        ...     series = read_series(path)
        >>> series.name, series.values.tolist(), str(series.dates[-1])
        ('sold', [3.0, 5.0], '2024-02')
    """
    call = f"read_series({str(path)!r})"
    names, lines = read_rows(call, path, columns)
    at, when = column_place(call, "value", names, value), column_place(call, "date", names, date)
    if at == when:
        raise bad_value(call, "value and date must be two columns", f"{names[at]!r} for both")
    dates = [_date(call, names[when], line, row[when]) for line, row in lines.items()]
    for (line, later), earlier in zip(list(zip(lines, dates, strict=True))[1:], dates, strict=False):
        if later <= earlier:
            raise bad_value(call, "dates must ascend", f"{later} after {earlier} in line {line}")
    values = [_number(call, names[at], line, row[at]) for line, row in lines.items()]
    return Series(np.array(values, np.float32), np.array(dates), names[at], unit)


def windows(values: Any, length: int, *, horizon: int = 1) -> dict[str, np.ndarray]:
    """All runs of ``length`` values, each with the ``horizon`` values that follow it: examples of forecasting.

    ``x[i] = values[i : i + length]`` and ``y[i] = values[i + length : i + length + horizon]``: an x ends before its y
    begins. Two parts of a series that are cut in time share no y; for a test part whose first x reaches back into the
    training part, give ``values[start − length:]``.

    **Shapes** ``(n,) -> {"x": (n − length − horizon + 1, length, 1), "y": (…, horizon)}``; ``(n, features)`` ``->
    {"x": (…, length, features), "y": (…, horizon, features)}``. An array of floats keeps its dtype; lists and integers
    become float32.

    **Raises** ``ValueError`` for a series shorter than ``length + horizon``, or one of another rank.

    Example:
        >>> parts = windows([1.0, 2.0, 3.0, 4.0, 5.0], 3)
        >>> parts["x"][..., 0].tolist(), parts["y"].tolist()
        ([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]], [[4.0], [5.0]])
    """
    positive_int("windows", "length", length)
    positive_int("windows", "horizon", horizon)
    if isinstance(values, Series):
        raise bad_type("windows", "values must be an array", "a Series", "Did you mean series.values?")
    array = np.asarray(values)
    if array.ndim not in (1, 2):
        raise bad_value("windows", "values must have shape (n,) or (n, features)", array)
    if len(array) < length + horizon:
        needs = f"values must be at least length + horizon = {length + horizon} long"
        raise bad_value("windows", needs, array)
    kept = hasattr(values, "shape") and jnp.issubdtype(array.dtype, jnp.floating)
    array = array if kept else array.astype(np.float32)
    first = np.arange(len(array) - length - horizon + 1)[:, None]
    x, y = array[first + np.arange(length)], array[first + length + np.arange(horizon)]
    return {"x": x[..., None] if array.ndim == 1 else x, "y": y}


def daily_temperatures(folder: Folder = None) -> Series:
    """The lowest temperature of each day in Melbourne, 1981 to 1990 (°C): 3,650 days, the last of each leap year left
    out.

    **Args** ``folder``: where the file is; by default it is searched as for :func:`mnist`.

    **Raises** ``FileNotFoundError`` that names the file, its checksum and where to put it.

    **References** Australian Bureau of Meteorology, through Hyndman's Time Series Data Library.
    """
    return _named(_TEMPERATURES, "minimum temperature", "°C", folder)


def sunspots(folder: Folder = None) -> Series:
    """The mean number of sunspots in each month, 1749 to 1983, counted in Zurich: 2,820 months, a cycle in about 11
    years.

    **Args**, **Raises** as for :func:`daily_temperatures`.

    **References** Andrews and Herzberg, Data: a collection of problems from many fields, 1985.
    """
    return _named(_SUNSPOTS, "sunspots", "", folder)


def airline_passengers(folder: Folder = None) -> Series:
    """Passengers of international flights in each month, 1949 to 1960 (thousands): 144 months that grow, with seasons.

    **Args**, **Raises** as for :func:`daily_temperatures`.

    **References** Box and Jenkins, Time series analysis: forecasting and control, 1976, series G.
    """
    return _named(_PASSENGERS, "passengers", "thousands", folder)


_MIRRORS = ("https://raw.githubusercontent.com/jbrownlee/Datasets/master",)
_TEMPERATURES = DataFile(
    "daily-min-temperatures.csv", 67921, "8b9de63ed6789492bf497625e7f9beb96a63d367b4b0a21754006f749fa5e5da"
)
_SUNSPOTS = DataFile("monthly-sunspots.csv", 45039, "c4ec8cc57d9f6fb6ecdb3e1f37f25b6f4badd5124c55931052b0cd2fc3bc71f3")
_PASSENGERS = DataFile(
    "airline-passengers.csv", 2180, "8cb51be753a718d9be5d76d7e238cc224792754676adc21faa59e954b0201621"
)


def _named(file: DataFile, name: str, unit: str, folder: Folder) -> Series:
    return read_series(find_files("timeseries", (file,), _MIRRORS, folder)[0], unit=unit)._replace(name=name)


def _date(call: str, name: str, line: int, text: str) -> np.datetime64:
    try:
        date = np.datetime64(text.strip() if _ISO.fullmatch(text.strip()) else "NaT")
    except ValueError:
        date = np.datetime64("NaT")
    if np.isnat(date):
        hint = "Did you mean 1949-01-31, or 1949-01 for a month?"
        raise bad_value(call, f"{name!r} must hold dates", f"{text!r} in line {line}", hint)
    return date


def _number(call: str, name: str, line: int, text: str) -> float:
    try:
        number = np.nan if is_missing(text) else float(text)
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise bad_value(call, f"{name!r} must hold a number in each row", f"{text!r} in line {line}")
    return number
