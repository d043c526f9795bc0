"""The workload's weights into PyTorch modules that call their children as the weights are called."""

from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.workloads import Weights
from benchmarks.workloads.arrays import Arrays


def load(module: nn.Module, weights: Weights) -> None:
    """Copy ``weights`` into the parameters of ``module``."""
    for name, given in weights.items():
        child: Any = module.get_submodule(name)
        if name == "attention":
            load(child, {"qkv": joined(given), "out": given["out"]})
        elif isinstance(next(iter(given.values())), dict):
            load(child, given)
        else:
            tensors = converted(child, given)
            with torch.no_grad():
                for key, parameter in child.named_parameters():
                    parameter.copy_(torch.tensor(tensors[key].copy()))


def joined(attention: Weights) -> Arrays:
    """The projections to queries, keys and values as one."""
    parts = [attention[name] for name in ("query", "key", "value")]
    return {key: np.concatenate([part[key] for part in parts], -1) for key in ("kernel", "bias")}


def converted(module: nn.Module, given: Arrays) -> Arrays:
    """The arrays of one module by PyTorch's names, in PyTorch's order of axes."""
    if isinstance(module, nn.RNNBase):
        # PyTorch has a second bias in every gate, of which the GRU's candidate alone needs one.
        second = np.zeros_like(given["bias"])
        if "recurrent_bias" in given:
            second[-module.hidden_size :] = given["recurrent_bias"]
        kernels = {"weight_ih_l0": given["kernel"].T, "weight_hh_l0": given["recurrent_kernel"].T}
        return kernels | {"bias_ih_l0": given["bias"], "bias_hh_l0": second}
    if "embedding" in given:
        return {"weight": given["embedding"]}
    if "scale" in given:
        return {"weight": given["scale"], "bias": given["bias"]}
    kernel = np.moveaxis(given["kernel"], (-2, -1), (0, 1) if isinstance(module, nn.ConvTranspose2d) else (1, 0))
    return {**given, "weight": kernel}
