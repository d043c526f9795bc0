"""The migration guide names every public thing, and the page in docs/ is what the command writes."""

import pathlib
import re
import subprocess
import sys

import pytest

import jaxdl as dl
from jaxdl.interop import migration

ROOT = pathlib.Path(__file__).parent.parent
ROOMS = {name: getattr(dl, name) for name in ("layers", "combine", "losses", "metrics", "penalties")}


def public(module):
    """What a room offers: what lives in jaxdl, can be called and is not private."""
    for name, value in vars(module).items():
        if callable(value) and not name.startswith("_") and getattr(value, "__module__", "").startswith("jaxdl"):
            yield name


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_has_a_row_and_every_row_a_name(room):
    names = [row.name for row in migration.rows(room)]
    assert sorted(names) == sorted(set(public(ROOMS[room]))), "renew jaxdl/interop/migration"


def test_the_page_is_what_the_command_writes():
    command = [sys.executable, "-m", "jaxdl.interop.migration"]
    page = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert (ROOT / "docs" / "migration.md").read_text() == page, "python -m jaxdl.interop.migration > docs/migration.md"


def test_the_rows_around_the_training_name_public_things():
    names = [row.name for row in migration.rows("train")]
    assert len(set(names)) == len(names)
    called = [re.match(r"(?:train\.)?(\w+)", name)[1] for name in names]
    assert not [name for name in called if not hasattr(dl.train, name)]


@pytest.mark.parametrize("room", [*ROOMS, "train"])
def test_every_row_says_what_differs_in_a_table_of_six_columns(room):
    for row in migration.rows(room):
        assert row.differs
        assert "|" not in "".join([row.differs, *row.keras, *row.torch, *row.flax, *row.equinox])
    for line in migration.guide().splitlines():
        assert not line.startswith("|") or line.count("|") == 7, line
