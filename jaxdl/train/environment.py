"""What must be settled before JAX starts its backend: threads, the memory of GPUs, determinism."""

import os

import jax

from jaxdl.core import bad_type
from jaxdl.core.checks import fraction, positive_int

CALL = "configure"
DETERMINISTIC = "--xla_gpu_deterministic_ops"


def configure(
    *, threads: int | None = None, preallocate: float | None = None, deterministic: bool | None = None
) -> None:
    """Settle what JAX reads once, when it first computes: call it before that, at the top of a program.

    It sets the environment variables that XLA reads, of this process and of those that it starts; what is None stays as
    it is. It touches no device.

    **Args**
    ``threads``: how many threads a CPU's computations share (``PJRT_NPROC``); by default as many as there are cores
    for this process. ``taskset`` does the like from outside, for compilation too, whose threads are not counted here.
    ``preallocate``: the share of each GPU's memory that is taken at the start and kept (JAX takes 0.75); 0 takes what
    is needed as it is needed, so that several processes can share a GPU, at the risk of fragments
    (``XLA_PYTHON_CLIENT_PREALLOCATE`` and ``XLA_CLIENT_MEM_FRACTION``).
    ``deterministic``: True has GPUs compute the same bits in every run on the same kind of GPU: no atomic sums, no
    choice of kernels by the clock, at the price of speed (``--xla_gpu_deterministic_ops``). This is the one place for
    it. A CPU comes to the same bits without, with as many threads.

    **Raises** ``RuntimeError`` when it is called too late, and would change something; ``ValueError`` for impossible
    figures.

    Example:
        >>> configure()                                        # nothing to settle
        >>> jax.devices()[0].platform                          # JAX starts
        'cpu'
        >>> configure(threads=10**6)                           # doctest: +ELLIPSIS
        Traceback (most recent call last):
        RuntimeError: configure: must be called before JAX first computes; got threads=1000000 after that. ...
    """
    wanted: dict[str, str | None] = {}
    if threads is not None:
        wanted["PJRT_NPROC"] = str(positive_int(CALL, "threads", threads))
    if preallocate is not None:
        wanted |= _memory(preallocate)
    if deterministic is not None:
        if not isinstance(deterministic, bool):
            raise bad_type(CALL, "deterministic must be True or False", str(deterministic))
        wanted["XLA_FLAGS"] = _flags(deterministic)
    changes = {name: value for name, value in wanted.items() if os.environ.get(name) != value}
    if changes and backend_started():
        given = {"threads": threads, "preallocate": preallocate, "deterministic": deterministic}
        told = ", ".join(f"{name}={value}" for name, value in given.items() if value is not None)
        raise RuntimeError(
            f"{CALL}: must be called before JAX first computes; got {told} after that. "
            "Did you mean to call it right after the imports? In a notebook, restart the kernel"
        )
    for name, value in changes.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


def _memory(share: float) -> dict[str, str | None]:
    if not fraction(CALL, "preallocate", share):
        return {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    # The older name of the second goes: JAX refuses both at once.
    return {
        "XLA_PYTHON_CLIENT_PREALLOCATE": "true",
        "XLA_CLIENT_MEM_FRACTION": str(share),
        "XLA_PYTHON_CLIENT_MEM_FRACTION": None,
    }


def _flags(deterministic: bool) -> str | None:
    """XLA's flags with this one; what others have set stays."""
    others = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if flag.partition("=")[0] != DETERMINISTIC]
    return " ".join([*others, *([f"{DETERMINISTIC}=true"] if deterministic else [])]) or None


def backend_started() -> bool:
    """Whether JAX has started a backend, found without starting one: it then refuses to change how many CPUs it has."""
    name = "jax_num_cpu_devices"
    before = getattr(jax.config, name)
    try:
        jax.config.update(name, before + 1)
    except RuntimeError:
        return True
    jax.config.update(name, before)
    return False
