"""Every name of PyTorch, Flax and Optax in the migration guide is there."""

import importlib

import pytest

from jaxdl.interop.migration import rows

ROOTS = {"torch": "torch", "flax": "flax.linen"}


def found(root, name):
    """What a dotted name stands for under a module; modules that are not imported by themselves are."""
    if name.split(".")[0] in ("jax", "optax"):
        root, name = name.split(".", 1)
    value = importlib.import_module(root)
    for part in name.split("."):
        if not hasattr(value, part):
            importlib.import_module(f"{value.__name__}.{part}")
        value = getattr(value, part)
    return value


@pytest.mark.parametrize("library", ROOTS)
@pytest.mark.parametrize("room", ["layers", "combine", "losses", "metrics", "penalties", "train"])
def test_every_name_exists(room, library):
    for row in rows(room):
        for name in getattr(row, library):
            if name.startswith("lightning."):  # another package, which nothing here installs
                continue
            assert found(ROOTS[library], name) is not None, f"{row.name}: {name}"
