"""What holds for every test, and for every example in a docstring."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

# What Hypothesis keeps has absolute paths in it: it goes outside of the checkout, where tests leave nothing else.
KEPT = Path(tempfile.gettempdir()) / f"hypothesis-of-{os.environ.get('USER', 'anyone')}"
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(KEPT))
os.environ["COLUMNS"] = "120"  # whatever terminal the tests are run in
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # begun in the background: the tests' Ctrl-C shall be heard
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="module")
def cheap_compiles(request: pytest.FixtureRequest) -> Iterator[None]:
    """Nearly all programs run once or twice: most of their cost would be LLVM's optimisation of them.

    A module says ``OPTIMISED = True`` where its programs run long, or its figures ask for what users have. What one
    module has compiled is of no use to the next, and would add up to gigabytes.
    """
    jax.config.update("jax_disable_most_optimizations", not getattr(request.module, "OPTIMISED", False))
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()
