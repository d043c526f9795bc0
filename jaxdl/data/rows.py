"""CSV files as rows of words, each under the number of its line."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from jaxdl.core import bad_value
from jaxdl.core.checks import is_int


def read_rows(
    call: str, path: str | os.PathLike[str], columns: Sequence[str] | None = None, *, encoding: str = "utf-8"
) -> tuple[list[str], dict[int, list[str]]]:
    """The names of the columns, and the rows under the numbers of their (last) lines."""
    codec = "utf-8-sig" if encoding == "utf-8" else encoding  # with the mark that spreadsheets write, or without
    lines: dict[int, list[str]] = {}
    try:
        with Path(path).open(encoding=codec, newline="") as stream:
            reader = csv.reader(stream)
            lines.update((reader.line_num, row) for row in reader if row)
    except LookupError as error:
        raise bad_value(call, "encoding must be the name of a text encoding", repr(encoding)) from error
    except UnicodeDecodeError as error:
        hint = 'Did you mean to save it as UTF-8? Chinese files are often in "gb18030"'
        raise bad_value(call, f"the file must be text in {encoding}", f"{error.reason}", hint) from error
    except csv.Error as error:
        hint = "Did you mean to close a quote? A field that is this long needs csv.field_size_limit"
        raise bad_value(call, "the file must be CSV", f"{error} in line {reader.line_num}", hint) from error
    names = list(columns) if columns is not None else lines.pop(min(lines)) if lines else []
    if not lines:
        raise bad_value(call, "the file must hold rows", "none")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise bad_value(call, "the names of columns must differ", f"{', '.join(map(repr, twice))} more than once")
    for line, row in lines.items():
        if len(row) != len(names):
            raise bad_value(call, f"each row must have {len(names)} fields", f"{len(row)} in line {line}")
    return names, lines


def column_place(call: str, argument: str, names: Sequence[str], column: str | int) -> int:
    """The place of a column that is given by its name or its place, or an error that lists the names."""
    place = names.index(column) if isinstance(column, str) and column in names else column
    if not is_int(place) or not -len(names) <= int(place) < len(names):
        raise bad_value(call, f"{argument} must be one of the columns {list(names)}", repr(column))
    return int(place) % len(names)


def is_missing(value: str) -> bool:
    """Whether a field holds no value: it is empty, or nan."""
    return value.strip().lower() in ("", "nan")
