"""Parameters from and for PyTorch. Nothing here imports it: a state dict is a mapping of names to arrays."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxdl.core import LayerLike, bad_type
from jaxdl.interop.leaves import leaves_of
from jaxdl.interop.matching import Module, as_array, match, on_host, read, write
from jaxdl.interop.pytorch_layers import TABLE

_PARAMETRIZED = re.compile(r"(.*?)\.?(parametrizations\..*)")
_RECURRENT = re.compile(r"((?:weight|bias)_\w\w)_(l\d+(?:_reverse)?)")
_IGNORED = "num_batches_tracked"


def from_torch(
    model: LayerLike, x: Any, state_dict: Mapping[str, Any], *, modules: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and state of a model from the ``state_dict`` of a PyTorch module of the same layers.

    Each layer of the model that has parameters, in order, takes the module of its own path if that fits
    (``encoder.fc1`` for ``encoder/fc1``, also under a prefix that all share), else the first module left whose names
    and shapes fit, which must not have the path of another such layer; layers without parameters (activations, pooling)
    take none. Modules of equal shapes and other names, which PyTorch lists in the order in which they were made, cannot
    be told apart where the model has another order: name them. A ``torch.nn.LSTM`` (``GRU``, ``RNN``) counts as one
    module for each layer and direction, named ``rnn.l0``, ``rnn.l0_reverse``, ``rnn.l1``: it fills as many recurrent
    layers. Every shape is checked, and a layer or a module that is left over is an error. Dtypes are kept (float64
    while JAX has 64 bits enabled).

    What differs, and is converted: kernels are transposed to channels last; the two biases of recurrent layers are
    summed where that is the same; ``in_proj_weight`` is split. ``running_var``, which PyTorch gathers with the unbiased
    n − 1, is taken as it is, and ``num_batches_tracked`` left out. A dense layer after a flatten sees its inputs in
    another order in the two layouts: let the model be ``…, permute(3, 1, 2), flatten(), dense(…)``, which flattens
    channels first as PyTorch does.

    **Args** ``x``: an input, or its spec; ``state_dict``: of tensors or arrays; ``modules``: the module's name for the
    path of a layer, or for that of a part of the model the name of the module that holds its modules, where the order
    does not tell: ``{"encoder/dense_1": "enc.fc2", "head": "classifier"}``.

    **Raises** ``ValueError`` where names or shapes do not fit, or something is left over; ``TypeError`` for a kind of
    layer that PyTorch does not have.

    Example:
        >>> import jax, numpy as np
        >>> import jaxdl as dl
        >>> model = dl.sequential(dl.layers.dense(4), jax.nn.relu, dl.layers.batch_norm())
        >>> theirs = {"0.weight": np.ones((4, 3)), "0.bias": np.ones(4), "2.weight": np.ones(4), "2.bias": np.ones(4)}
        >>> theirs |= {"2.running_mean": np.zeros(4), "2.running_var": np.ones(4), "2.num_batches_tracked": np.array(1)}
        >>> params, state = from_torch(model, jax.ShapeDtypeStruct((1, 3), np.float32), theirs)
        >>> params["dense"]["kernel"].shape, state["batch_norm"]["var"].shape
        ((3, 4), (4,))
    """
    leaves, aux_losses = leaves_of("from_torch", model, x)
    return read(TABLE, match("from_torch", TABLE, leaves, modules_of("from_torch", state_dict), modules), aux_losses)


def to_torch(
    model: LayerLike,
    x: Any,
    params: Mapping[str, Any],
    state: Mapping[str, Any],
    like: Mapping[str, Any],
    *,
    modules: Mapping[str, str] | None = None,
) -> dict[str, np.ndarray]:
    """The inverse of :func:`from_torch`: NumPy arrays under the names, and in the layout, of a PyTorch state dict.

    Load them with ``module.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})``. Where PyTorch
    has two biases for one of ours, the second is zero.

    **Args** ``like``: the ``state_dict`` of the module that they are for, whose names and shapes tell which array goes
    where (its values are not read); ``modules``: as in :func:`from_torch`.

    **Raises** as :func:`from_torch`; ``ValueError`` for parameters that are not the model's.

    Example:
        >>> import jax, numpy as np
        >>> import jaxdl as dl
        >>> model, x = dl.layers.dense(4), np.ones((1, 3), np.float32)
        >>> params, state = model.init(jax.random.key(0), x)
        >>> like = {"fc.weight": np.empty((4, 3)), "fc.bias": np.empty(4)}
        >>> {name: a.shape for name, a in to_torch(model, x, params, state, like).items()}
        {'fc.weight': (4, 3), 'fc.bias': (4,)}
    """
    pairs = match("to_torch", TABLE, leaves_of("to_torch", model, x).filled, modules_of("to_torch", like), modules)
    trees = on_host(params, state)
    found: dict[str, np.ndarray] = {}
    for leaf, module in pairs:
        arrays = write("to_torch", TABLE, leaf, trees)
        found |= {module.keys[name]: array for name, array in arrays.items()}
    return {key: found[key] for key in like if key in found}


def modules_of(call: str, state_dict: Mapping[str, Any]) -> list[Module]:
    """The modules that a state dict holds, in its order."""
    if not isinstance(state_dict, Mapping):
        hint = "Did you mean module.state_dict()?"
        raise bad_type(call, "the state dict must be a mapping of names to arrays", type(state_dict).__name__, hint)
    attentions = {key.rpartition(".")[0] for key in state_dict if re.search(r"(in|q)_proj_weight$", key)}
    found: dict[str, Module] = {}
    for key, tensor in state_dict.items():
        prefix, _, name = key.rpartition(".")
        if parametrized := _PARAMETRIZED.fullmatch(key):
            prefix, name = parametrized.groups()
        if name == _IGNORED:
            continue
        holder, _, inner = prefix.rpartition(".")
        if inner == "out_proj" and holder in attentions:
            prefix, name = holder, f"out_proj.{name}"
        elif recurrent := _RECURRENT.fullmatch(name):
            name, part = recurrent.groups()
            prefix = f"{prefix}.{part}" if prefix else part
        module = found.setdefault(prefix, Module(prefix, {}, {}))
        module.arrays[name] = as_array(tensor)
        module.keys[name] = key
    return list(found.values())
