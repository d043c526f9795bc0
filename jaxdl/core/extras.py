"""Optional libraries, imported where they are used."""

import importlib
from typing import Any


def need(module: str, call: str, *, extra: str) -> Any:
    """The module, or an ``ImportError`` that says what to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(f"{call}: needs {package}; install it with: pip install 'jaxdl[{extra}]'") from error
