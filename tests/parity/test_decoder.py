"""The decoder against transformers: same weights, same states, logits and gradients."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from model_folders import LLAMA3
from notellm import _core
from notellm.models.decoder import Decoder

pytestmark = pytest.mark.instruction_set

FP64_TOLERANCE = 1e-8  # design contract: rotation angles are fp32 on both sides, all else fp64

BASE = {
    "vocab_size": 61,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}
CASES = {
    "llama": {"model_type": "llama"},
    "llama_tied": {"model_type": "llama", "tie_word_embeddings": True},
    "llama_multi_head": {"model_type": "llama", "num_key_value_heads": 6},
    "llama_multi_query": {"model_type": "llama", "num_key_value_heads": 1},
    "llama_wide_heads": {"model_type": "llama", "head_dim": 10},
    "llama3_rope": {
        "model_type": "llama",
        "rope_parameters": LLAMA3 | {"rope_type": "llama3", "rope_theta": 10000.0},
    },
    "llama_attention_biases": {"model_type": "llama", "attention_bias": True},
    "llama_all_biases": {"model_type": "llama", "attention_bias": True, "mlp_bias": True},
    "mistral": {"model_type": "mistral", "sliding_window": None},
    "qwen2": {"model_type": "qwen2"},
    "qwen3": {"model_type": "qwen3", "head_dim": 8},
    "qwen3_biases": {"model_type": "qwen3", "head_dim": 8, "attention_bias": True},
}


def norm_in_fp64(self, x):
    """The formula of transformers' RMSNorm without its cast to fp32, which would hide all that is below 1e-6."""
    return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)


def build(case):
    """A random transformers model in fp64 and our decoder with the same weights."""
    torch.manual_seed(0)
    fields = BASE | CASES[case]
    config = AutoConfig.for_model(**fields)
    hf = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").double().eval()
    for module in hf.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = norm_in_fp64.__get__(module)
    for parameter in hf.parameters():  # norms of exactly 1 and biases of 0 would hide mistakes
        torch.nn.init.normal_(parameter, 1.0 if parameter.dim() == 1 else 0.0, 0.3)
    ours = Decoder(config.to_dict()).double()
    state = {k.removeprefix("model."): v for k, v in hf.state_dict().items() if k.startswith("model.")}
    ours.load_state_dict(state)
    return hf, ours


@pytest.mark.parametrize("case", CASES)
def test_states_logits_and_gradients_equal_transformers(case):
    hf, ours = build(case)
    tokens = torch.randint(0, 61, (37,))
    out = hf(tokens.unsqueeze(0), output_hidden_states=True)
    expected_states, expected_logits = out.hidden_states[-1][0], out.logits[0]

    plan = ours.plan(_core.models.Segments([0, 37], [-1]), torch.float64)
    states = ours(tokens, plan)
    head = hf.lm_head.weight if not hf.config.tie_word_embeddings else ours.embed_tokens.weight
    logits = _core.models.head_logits(states, head, torch.float64)
    torch.testing.assert_close(states, expected_states, rtol=0, atol=FP64_TOLERANCE)
    torch.testing.assert_close(logits, expected_logits, rtol=0, atol=FP64_TOLERANCE)

    weight = torch.randn_like(logits)
    (expected_logits * weight).sum().backward()
    (logits * weight).sum().backward()
    expected = {k.removeprefix("model."): p.grad for k, p in hf.named_parameters() if k != "lm_head.weight"}
    actual = {k: p.grad for k, p in ours.named_parameters()}
    assert actual.keys() == expected.keys()
    for name, gradient in actual.items():
        scale = expected[name].abs().max()
        torch.testing.assert_close(
            gradient, expected[name], rtol=0, atol=FP64_TOLERANCE * float(scale) + 1e-12
        )


@pytest.mark.parametrize("case", ["llama", "qwen3"])
def test_a_forest_equals_every_path_as_its_own_sequence(case):
    hf, ours = build(case)
    # root A with children B and C, C with child D; root E
    offsets, parents = [0, 5, 9, 16, 17, 20], [-1, 0, 0, 2, -1]
    tokens = torch.randint(0, 61, (20,))
    states = ours(tokens, ours.plan(_core.models.Segments(offsets, parents), torch.float64))
    pieces = [slice(a, b) for a, b in zip(offsets, offsets[1:], strict=False)]
    for path in ([0], [0, 1], [0, 2], [0, 2, 3], [4]):
        sequence = torch.cat([tokens[pieces[s]] for s in path])
        expected = hf(sequence.unsqueeze(0), output_hidden_states=True).hidden_states[-1][0]
        last = pieces[path[-1]]
        tail = expected[-(last.stop - last.start) :]
        torch.testing.assert_close(states[last], tail, rtol=0, atol=FP64_TOLERANCE)


@pytest.mark.parametrize("case", CASES)
def test_the_core_loop_equals_the_module_loop(case):
    _, ours = build(case)
    tokens = torch.randint(0, 61, (12,))
    plan = ours.plan(_core.models.Segments([0, 4, 12], [-1, 0]), torch.float64)
    with torch.inference_mode():
        core = _core.models.decoder_states(tokens, ours.weights(), ours.config, plan)
    assert torch.equal(core, ours(tokens, plan))
