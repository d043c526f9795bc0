"""What a measurement was taken on and with."""

import math
import os
import platform as system
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("jaxdl", "jax", "jaxlib", "optax", "numpy", "flax", "equinox", "keras", "torch")


def cpu_count() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else system.processor() or system.machine()


def peak_megabytes() -> float:
    """The most memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def busy_seconds() -> float:
    """The time that all processors together have worked for anyone, since the machine began; nan where no one tells."""
    told = Path("/proc/stat")
    if not told.exists():
        return math.nan
    user, nice, system, _, _, irq, softirq, steal, *_ = map(int, told.read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def device_megabytes() -> float | None:
    """The most memory that this process has held on its GPU so far, as far as its framework tells."""
    if platform() != "gpu":
        return None
    if "torch" in sys.modules and (torch := sys.modules["torch"]).cuda.is_initialized():
        return float(torch.cuda.max_memory_allocated() / 2**20)
    statistics = sys.modules["jax"].devices()[0].memory_stats() if "jax" in sys.modules else None
    return float(statistics["peak_bytes_in_use"] / 2**20) if statistics else None


def gpu_name() -> str | None:
    """The name of the first NVIDIA GPU, None where there is none."""
    if (tool := shutil.which("nvidia-smi")) is None:
        return None
    query = [tool, "--query-gpu=name", "--format=csv,noheader"]
    names = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split("\n")
    return names[0].strip() or None


def versions() -> dict[str, str]:
    """The versions of Python and of those packages that this process has loaded."""
    loaded = {name: sys.modules[name] for name in PACKAGES if name in sys.modules}
    return {"python": system.python_version()} | {name: str(m.__version__) for name, m in loaded.items()}


def describe() -> dict[str, Any]:
    """All of it, for a line of results; the load is the last minute's, ours and that of others."""
    return {"cpu": cpu_name(), "cpus": cpu_count(), "load": round(os.getloadavg()[0], 2), "versions": versions()}


def platform() -> str:
    """Where peers compute, from ``JAXDL_BENCH_PLATFORM``: ``"cpu"`` or ``"gpu"``."""
    return _chosen("JAXDL_BENCH_PLATFORM", ("cpu", "gpu"))


def dtype() -> str:
    """In what peers compute, from ``JAXDL_BENCH_DTYPE``: ``"float32"`` or ``"bfloat16"``, weights float32 in both."""
    return _chosen("JAXDL_BENCH_DTYPE", ("float32", "bfloat16"))


def _chosen(variable: str, choices: tuple[str, ...]) -> str:
    if (value := os.environ.get(variable, choices[0])) not in choices:
        raise ValueError(f"{variable} must be one of {', '.join(choices)}, got {value!r}")
    return value
