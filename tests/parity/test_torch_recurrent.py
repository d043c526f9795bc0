"""Recurrent networks against PyTorch's modules: values, final states, and gradients to inputs, states and weights.

Weights stay in PyTorch's layout on both sides, so that their gradients can be compared one by one.
"""

import jax
import jax.numpy as jnp
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch_reference import assert_alike, normal, ours, same, theirs

from jaxdl import functional as F

BATCH, TIME, INPUT, H = 3, 5, 2, 4
LENGTHS = [3, 5, 1]
KINDS = {"rnn": (torch.nn.RNN, 1, 1), "lstm": (torch.nn.LSTM, 4, 2), "gru": (torch.nn.GRU, 3, 1)}


def our_layer(kind, method, x, states, weights, **options):
    """One layer in one direction, from PyTorch's four weights."""
    w, u, b, c = weights
    options |= {"method": method, "initial": states if kind == "lstm" else states[0]}
    if kind == "gru":
        bias = b + jnp.concatenate([c[: 2 * H], jnp.zeros(H, c.dtype)])
        return F.gru(x, w.T, u.T, bias, c[2 * H :], **options)
    function = {"rnn": F.simple_rnn, "lstm": F.lstm}[kind]
    return function(x, w.T, u.T, b + c, **options)


def joined(y, *states):
    return [y.reshape(-1), *(state.reshape(-1) for state in states)]


@pytest.mark.parametrize("method", ["auto", "lax"])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "packed"])
@pytest.mark.parametrize(("layers", "both"), [(1, False), (2, True)], ids=["plain", "deep both ways"])
@pytest.mark.parametrize("kind", KINDS)
def test_recurrent(kind, layers, both, lengths, method, dtype):
    make, gates, parts = KINDS[kind]
    directions = 1 + both
    module = make(INPUT, H, layers, bidirectional=both, batch_first=True).to(torch.tensor(dtype(0)).dtype)
    shapes = [tuple(p.shape) for _, p in module.named_parameters()]
    weights = [0.5 * normal(shape, dtype, 10 + n) for n, shape in enumerate(shapes)]
    states = [normal((layers * directions, BATCH, H), dtype, 2 + n) for n in range(parts)]
    x = normal((BATCH, TIME, INPUT), dtype)

    def jaxdl(x, *arrays):
        states, weights = arrays[:parts], arrays[parts:]
        last = []
        for layer in range(layers):
            read = []
            for direction in range(directions):
                number = layer * directions + direction
                own = tuple(state[number] for state in states), weights[4 * number : 4 * number + 4]
                y, carry = our_layer(kind, method, x, *own, lengths=lengths, reverse=bool(direction))
                read.append(y)
                last.append(carry if kind == "lstm" else (carry,))
            x = jnp.concatenate(read, axis=-1)
        return jnp.concatenate(joined(x, *(jnp.stack(part) for part in zip(*last, strict=True))))

    def pytorch(x, *arrays):
        states, weights = arrays[:parts], arrays[parts:]
        named = dict(zip([name for name, _ in module.named_parameters()], weights, strict=True))
        if lengths is not None:
            x = pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
        start = tuple(states) if kind == "lstm" else states[0]
        y, last = torch.func.functional_call(module, named, (x, start))
        if lengths is not None:
            y = pad_packed_sequence(y, batch_first=True, total_length=TIME)[0]
        return torch.cat(joined(y, *(last if kind == "lstm" else [last])))

    arguments = (x, *states, *weights)
    expected = theirs(pytorch, *arguments, there=[same] * len(arguments), back=[same] * (1 + len(arguments)))
    assert_alike(ours(jaxdl, *arguments), expected, dtype)


CELLS = {"rnn": torch.nn.RNNCell, "lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell}


@pytest.mark.parametrize("kind", KINDS)
def test_cells(kind, dtype):
    _, gates, parts = KINDS[kind]
    shapes = [(gates * H, INPUT), (gates * H, H), (gates * H,), (gates * H,)]
    weights = [normal(shape, dtype, 10 + n) for n, shape in enumerate(shapes)]
    states = [normal((BATCH, H), dtype, 2 + n) for n in range(parts)]
    x = normal((BATCH, INPUT), dtype)
    module = CELLS[kind](INPUT, H).to(torch.tensor(dtype(0)).dtype)

    def jaxdl(x, *arrays):
        carry = arrays[:parts] if kind == "lstm" else arrays[0]
        w, u, b, c = arrays[parts:]
        if kind == "gru":
            bias = b + jnp.concatenate([c[: 2 * H], jnp.zeros(H, c.dtype)])
            return F.gru_cell(carry, x, w.T, u.T, bias, c[2 * H :])
        new = {"rnn": F.simple_rnn_cell, "lstm": F.lstm_cell}[kind](carry, x, w.T, u.T, b + c)
        return jnp.concatenate(new) if kind == "lstm" else new

    def pytorch(x, *arrays):
        carry = tuple(arrays[:parts]) if kind == "lstm" else arrays[0]
        names = [name for name, _ in module.named_parameters()]
        new = torch.func.functional_call(module, dict(zip(names, arrays[parts:], strict=True)), (x, carry))
        return torch.cat(new) if kind == "lstm" else new

    arguments = (x, *states, *weights)
    expected = theirs(pytorch, *arguments, there=[same] * len(arguments), back=[same] * (1 + len(arguments)))
    assert_alike(ours(jaxdl, *arguments), expected, dtype)


def test_relu(dtype):
    """PyTorch's other nonlinearity."""
    module = torch.nn.RNN(INPUT, H, nonlinearity="relu", batch_first=True).to(torch.tensor(dtype(0)).dtype)
    names, shapes = zip(*((name, tuple(p.shape)) for name, p in module.named_parameters()), strict=True)
    arguments = normal((BATCH, TIME, INPUT), dtype), *(0.5 * normal(s, dtype, n) for n, s in enumerate(shapes, 1))

    def jaxdl(x, w, u, b, c):
        return F.simple_rnn(x, w.T, u.T, b + c, activation=jax.nn.relu)[0]

    def pytorch(x, *weights):
        return torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (x,))[0]

    expected = theirs(pytorch, *arguments, there=[same] * 5, back=[same] * 6)
    assert_alike(ours(jaxdl, *arguments), expected, dtype)
