"""Whole models against PyTorch: weights copied over and back, equal results, equal gradients, equal steps."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from test_torch_layers import assert_alike, of_one_bias
from torch import nn
from torch_reference import channels_first, normal

import jaxdl as dl
from jaxdl import layers as L
from jaxdl.combine import repeat
from jaxdl.interop import from_torch, to_torch

LABELS = np.array([0, 2, 1, 2])


def double(module, dtype):
    torch.manual_seed(0)
    return module.to(torch.float64 if dtype == np.float64 else torch.float32)


def losses_and_gradients(model, params, state, x):
    @jax.jit
    @partial(jax.value_and_grad, has_aux=True)
    def both(params, state, x):
        y, new = model.apply(params, state, x, train=True)
        return dl.losses.cross_entropy(y, LABELS).mean(), (y, new)

    return both(params, state, x)


def compare(model, module, x, their_x, dtype):
    """Copied, the model gives the module's logits, loss and gradients; a step of SGD in both, and copied back."""
    example = jax.ShapeDtypeStruct(x.shape, x.dtype)
    params, state = from_torch(model, example, module.state_dict())
    module.eval()
    assert_alike(model.apply(params, state, x, train=False)[0], module(their_x).detach().numpy(), dtype)
    module.train()
    (loss, (y, new_state)), gradients = losses_and_gradients(model, params, state, x)
    their_y = module(their_x)
    their_loss = nn.functional.cross_entropy(their_y, torch.tensor(LABELS))
    their_loss.backward()
    assert_alike([y, loss], [their_y.detach().numpy(), their_loss.detach().numpy()], dtype)
    theirs = of_one_bias({name: p.grad for name, p in module.named_parameters()})
    assert_alike(gradients, from_torch(model, example, {**module.state_dict(), **theirs})[0], dtype)
    stepped = optax.apply_updates(params, jax.tree.map(lambda g: -0.1 * g, gradients))
    there = to_torch(model, example, stepped, new_state, module.state_dict())
    module.load_state_dict({name: torch.from_numpy(a) for name, a in there.items()})
    module.eval()
    found = model.apply(stepped, new_state, x, train=False)[0]
    assert_alike(found, module(their_x).detach().numpy(), dtype)
    return params


class ChannelsLastFlatten(nn.Module):
    """Joins height, width and channels in that order, as a channels-last layout has them."""

    def forward(self, x):
        return x.movedim(1, -1).flatten(1)


def test_the_course_cnn(dtype):
    model = dl.sequential(
        L.conv(6, 3), L.batch_norm(), jnp.tanh, L.max_pool(2), L.flatten(), L.dense(16), jnp.tanh, L.dense(3)
    )
    module = nn.Sequential(
        nn.Conv2d(2, 6, 3),
        nn.BatchNorm2d(6),
        nn.Tanh(),
        nn.MaxPool2d(2),
        ChannelsLastFlatten(),
        nn.Linear(54, 16),
        nn.Tanh(),
        nn.Linear(16, 3),
    )
    x = normal((4, 8, 8, 2), dtype)
    compare(model, double(module, dtype), x, torch.tensor(np.ascontiguousarray(channels_first(x))), dtype)


class LSTMClassifier(nn.Module):
    """Two layers in both directions over words; the end states of the last one, and a linear head."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(11, 5)
        self.rnn = nn.LSTM(5, 4, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, ids):
        _, (h, _) = self.rnn(self.words(ids))
        return self.head(torch.cat([h[-2], h[-1]], -1))


def test_an_lstm_classifier(dtype):
    model = dl.sequential(
        L.embedding(11, 5),
        L.bidirectional(L.lstm(4)),
        L.bidirectional(L.lstm(4), outputs="last"),
        ("head", L.dense(3)),
    )
    ids = np.random.default_rng(0).integers(0, 11, (4, 6))
    compare(model, double(LSTMClassifier(), dtype), ids, torch.tensor(ids), dtype)


class TransformerClassifier(nn.Module):
    """Positions, an encoder, and the head over the mean of all positions."""

    def __init__(self, pre_norm):
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            6, 2, 12, dropout=0, activation="gelu", batch_first=True, norm_first=pre_norm
        )
        self.encoder = nn.TransformerEncoder(layer, 3, norm=nn.LayerNorm(6), enable_nested_tensor=False)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.encoder(x).mean(1))


@pytest.mark.parametrize(("pre_norm", "stacked"), [(True, True), (False, False)], ids=["pre-norm repeat", "post-norm"])
def test_a_transformer_encoder(pre_norm, stacked, dtype):
    exact = partial(L.feed_forward, activation=partial(jax.nn.gelu, approximate=False))
    block = L.transformer_block(2, hidden=12, causal=False, pre_norm=pre_norm, mlp=exact)
    blocks = [("blocks", repeat(block, 3))] if stacked else [block] * 3
    model = dl.sequential(*blocks, L.layer_norm(), L.global_avg_pool(), ("head", L.dense(3)))
    x = normal((4, 5, 6), dtype)
    params = compare(model, double(TransformerClassifier(pre_norm), dtype), x, torch.tensor(x), dtype)
    if stacked:
        assert params["blocks"]["attention"]["query"]["kernel"].shape == (3, 6, 6)


def test_a_transformer_decoder(dtype):
    """An encoder-decoder pair, self attention in the decoder causal."""
    exact = partial(L.feed_forward, activation=jax.nn.relu)
    block = L.transformer_decoder_block(2, hidden=12, pre_norm=False, mlp=exact)
    model = dl.sequential(block, block)
    layer = nn.TransformerDecoderLayer(6, 2, 12, dropout=0, batch_first=True)
    module = double(nn.TransformerDecoder(layer, 2), dtype).eval()
    for seed, tensor in enumerate(module.state_dict().values()):
        tensor.copy_(torch.tensor(normal(tensor.shape, dtype, seed)))
    x, memory = normal((2, 5, 6), dtype), normal((2, 7, 6), dtype, 1)
    params, state = from_torch(model, (x, memory), module.state_dict())
    found, _ = jax.jit(partial(model.apply, train=False))(params, state, (x, memory))
    mask = torch.ones(5, 5, dtype=torch.bool).triu(1)
    expected = module(torch.tensor(x), torch.tensor(memory), tgt_mask=mask)
    assert_alike(found[0], expected.detach().numpy(), dtype)
    back = from_torch(model, (x, memory), to_torch(model, (x, memory), params, state, module.state_dict()))
    jax.tree.map(np.testing.assert_array_equal, back, (params, state))


def test_bfloat16_tensors():
    module = nn.Linear(3, 4).to(torch.bfloat16)
    params, _ = from_torch(L.dense(4), jnp.ones((1, 3)), module.state_dict())
    assert params["kernel"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(params["kernel"].astype(jnp.float32), module.weight.detach().float().numpy().T)
