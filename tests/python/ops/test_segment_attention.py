import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from notellm import _core
from notellm.models.decoder import Decoder

pytestmark = pytest.mark.instruction_set

HF = {
    "model_type": "llama",
    "vocab_size": 17,
    "hidden_size": 12,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "rms_norm_eps": 1e-5,
    "head_dim": 4,
}


@st.composite
def forests(draw):
    lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=8))
    parents = [draw(st.integers(-1, s - 1)) for s in range(len(lengths))]
    offsets = [0]
    for length in lengths:
        offsets.append(offsets[-1] + length)
    return offsets, parents


def layer_by_mask(layer, x, segments):
    """One block with attention by an explicit (T, T) mask: the slow definition."""
    a, m = layer.self_attn, layer.mlp

    def norm(value, weight):
        return value * torch.rsqrt(value.pow(2).mean(-1, keepdim=True) + 1e-5) * weight

    def rope(value):
        frequencies = 1.0 / 10000.0 ** (torch.arange(0, 4, 2).float() / 4)
        angles = segments.positions().float().outer(frequencies).double()
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        first, second = value[..., :2], value[..., 2:]
        return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)

    h = norm(x, layer.input_layernorm.weight)
    q = rope((h @ a.q_proj.weight.T).view(len(x), 3, 4))
    k = rope((h @ a.k_proj.weight.T).view(len(x), 1, 4)).expand(-1, 3, -1)
    v = (h @ a.v_proj.weight.T).view(len(x), 1, 4).expand(-1, 3, -1)
    scores = torch.einsum("ihe,jhe->hij", q, k) / 2.0
    weights = scores.masked_fill(~segments.mask(), -torch.inf).softmax(-1)
    x = x + torch.einsum("hij,jhe->ihe", weights, v).flatten(1) @ a.o_proj.weight.T
    h = norm(x, layer.post_attention_layernorm.weight)
    gated = torch.nn.functional.silu(h @ m.gate_proj.weight.T) * (h @ m.up_proj.weight.T)
    return x + gated @ m.down_proj.weight.T


@settings(deadline=None, max_examples=60)
@given(forests(), st.integers(0, 2**31))
def test_random_forests_equal_the_mask_reference(forest, seed):
    torch.manual_seed(seed)
    decoder = Decoder(HF).double()
    layer = decoder.layers[0]
    segments = _core.models.Segments(*forest)
    x = torch.randn(segments.tokens, 12, dtype=torch.float64, requires_grad=True)
    y = layer(x, decoder.plan(segments, torch.float64))
    expected = layer_by_mask(layer, x, segments)
    # cosines and sines of the table are rounded to fp32, those of the reference are not
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-6)
    weight = torch.randn_like(y)
    parameters = [x, *layer.parameters()]
    ours = torch.autograd.grad((y * weight).sum(), parameters)
    theirs = torch.autograd.grad((expected * weight).sum(), parameters)
    for actual, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(actual, reference, rtol=0, atol=1e-5)


def test_mask_by_hand():
    segments = _core.models.Segments([0, 1, 3, 4], [-1, 0, 0])
    expected = [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 1]]
    assert segments.mask().int().tolist() == expected
    assert segments.positions().tolist() == [0, 1, 2, 1]


@pytest.mark.parametrize(
    ("offsets", "parents", "message"),
    [
        ([0, 2, 2], [-1, 0], r"segment 1 must have at least one token, but is \[2, 2\)"),
        ([0, 2], [0], "parent of segment 0 must be -1 or an earlier segment, but is 0"),
        ([1, 2], [-1], "offsets must begin with 0, but begin with 1"),
        ([0, 2], [-1, 0], "one entry more than parents, but have 2 and 2"),
    ],
)
def test_bad_forests_are_refused(offsets, parents, message):
    with pytest.raises(ValueError, match=message):
        _core.models.Segments(offsets, parents)


def wrapped(module):
    return torch.nn.Sequential(module)


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (
            lambda d: setattr(d.layers[0].mlp, "up_proj", wrapped(d.layers[0].mlp.up_proj)),
            "up_proj must be a plain Linear",
        ),
        (lambda d: d.layers.__setitem__(0, wrapped(d.layers[0])), "layers.0 must be a plain DecoderLayer"),
        (
            lambda d: setattr(d, "embed_tokens", wrapped(d.embed_tokens)),
            "embed_tokens must be a plain Embedding",
        ),
        (lambda d: setattr(d, "norm", wrapped(d.norm)), "norm must be a plain _Norm"),
    ],
)
def test_a_wrapped_part_is_an_error_not_a_silent_skip(wrap, message):
    decoder = Decoder(HF)
    wrap(decoder)
    with pytest.raises(TypeError, match=message):
        decoder.weights()


def test_weights_of_another_depth_are_refused():
    decoder = Decoder(HF)
    plan = decoder.plan(_core.models.Segments([0, 2], [-1]), torch.float32)
    short = _core.models.DecoderWeights(decoder.embed_tokens.weight, [], decoder.norm.weight)
    with pytest.raises(ValueError, match="decoder_states: weights must be of 1 layers, but are of 0"):
        _core.models.decoder_states(torch.tensor([1, 2]), short, decoder.config, plan)
