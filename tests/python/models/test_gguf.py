import json

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from ggufs import HEADS, KV_HEADS, TOKENS, WIDTH, make_model, write_gguf
from notellm import DataError, NotSupportedError
from notellm.models.gguf import gguf_to_folder

gguf = pytest.importorskip("gguf")
transformers = pytest.importorskip("transformers")


@pytest.fixture
def model():
    return make_model()


def test_every_weight_comes_back_in_its_hugging_face_place(model, tmp_path):
    steps = []
    path = write_gguf(tmp_path / "m.gguf", model)
    folder = gguf_to_folder(path, tmp_path / "hf", progress=lambda *step: steps.append(step))
    weights = load_file(folder / "model.safetensors")
    expected = model.state_dict()
    assert weights.keys() == expected.keys()
    for name, value in weights.items():
        assert torch.equal(value, expected[name]), name
    assert steps[-1] == (len(weights), len(weights))


def test_transformers_computes_the_same_logits_from_the_folder(model, tmp_path):
    folder = gguf_to_folder(write_gguf(tmp_path / "m.gguf", model), tmp_path / "hf")
    loaded = transformers.AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.arange(5, 17)[None]
    with torch.no_grad():
        assert torch.equal(loaded(ids).logits, model(ids).logits)


def test_configuration_keeps_the_decimals_that_were_meant(model, tmp_path):
    folder = gguf_to_folder(write_gguf(tmp_path / "m.gguf", model), tmp_path / "hf")
    config = json.loads((folder / "config.json").read_text())
    assert config["rms_norm_eps"] == 1e-5
    assert config["rope_theta"] == 5000.0
    assert config["head_dim"] == WIDTH // HEADS
    assert config["num_key_value_heads"] == KV_HEADS
    assert (config["bos_token_id"], config["eos_token_id"]) == (0, 1)
    assert config["tie_word_embeddings"] is False


def test_a_file_without_an_output_matrix_is_a_tied_model(model, tmp_path):
    path = write_gguf(tmp_path / "m.gguf", model, drop=["output.weight"])
    folder = gguf_to_folder(path, tmp_path / "hf")
    assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"] is True
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")


def test_quantised_blocks_become_the_floats_they_stand_for(model, tmp_path):
    kind = gguf.GGMLQuantizationType.Q8_0
    folder = gguf_to_folder(write_gguf(tmp_path / "m.gguf", model, quantise=kind), tmp_path / "hf")
    weights = load_file(folder / "model.safetensors")
    for name, value in model.state_dict().items():
        if value.ndim == 2:
            blocks = value.reshape(-1, 32)
            # A Q8_0 step is 1/127 of the block's largest magnitude; its scale is rounded to float16.
            step = blocks.abs().amax(1, keepdim=True) / 127
            error = (weights[name].reshape(-1, 32) - blocks).abs()
            assert (error <= 0.5 * step + 127 * step * 2**-11 + 1e-8).all(), name
        assert weights[name].dtype == torch.float32


def test_tokenizer_splits_digits_and_knows_its_special_tokens(model, tmp_path):
    folder = gguf_to_folder(write_gguf(tmp_path / "m.gguf", model), tmp_path / "hf")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.encode("he he 12").tokens == ["he", "\u0120he", "\u0120", "1", "2"]
    assert tokenizer.encode("</s><tool>").ids == [1, 2]
    text = "na\u00efve  \u7b14\u8bb0\n42"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert tokenizer.decode([1, 2], skip_special_tokens=True) == "<tool>"


@pytest.mark.parametrize(("add_bos", "expected"), [(True, ["<s>", "he"]), (False, ["he"])])
def test_begin_token_is_added_only_where_the_file_says_so(model, tmp_path, add_bos, expected):
    path = write_gguf(tmp_path / "m.gguf", model, add_bos=add_bos)
    tokenizer = Tokenizer.from_file(str(gguf_to_folder(path, tmp_path / "hf") / "tokenizer.json"))
    assert tokenizer.encode("he").tokens == expected


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"arch": "gptneox"}, NotSupportedError, "general.architecture must be llama, but is gptneox"),
        ({"pre": "qwen2"}, NotSupportedError, r"tokenizer.ggml.pre must be one of .*smollm.*is qwen2"),
        ({"tokenizer": "llama"}, NotSupportedError, "tokenizer.ggml.model must be gpt2"),
        ({"extra": ["blk.0.attn_q.bias"]}, NotSupportedError, "is blk.0.attn_q.bias"),
        ({"drop": ["blk.1.attn_q.weight"]}, DataError, "must have 21 tensors, but has 20"),
        ({"drop": ["token_embd.weight"]}, DataError, "must have the tensor token_embd.weight"),
        (
            {"more": {"llama.attention.causal": False}},
            NotSupportedError,
            "attention.causal must be True, but is Fa",
        ),
        ({"more": {"llama.logit_scale": 0.5}}, NotSupportedError, "llama.logit_scale must be 1, but is 0.5"),
        ({"more": {"llama.expert_count": 8}}, NotSupportedError, "llama.expert_count must be 0, but is 8"),
        (
            {"more": {"llama.attention.value_length": 4}},
            NotSupportedError,
            "value_length must be 8, but is 4",
        ),
        (
            {"more": {"llama.attn_logit_softcapping": 5.0}},
            NotSupportedError,
            "is llama.attn_logit_softcapping",
        ),
        (
            {"more": {"llama.rope.scaling.type": "yarn"}},
            NotSupportedError,
            "rope.scaling.type must be none, but is y",
        ),
        (
            {"more": {"tokenizer.ggml.add_space_prefix": True}},
            NotSupportedError,
            "add_space_prefix must be False",
        ),
        (
            {"more": {"tokenizer.ggml.new": 1}},
            NotSupportedError,
            "every key must be known here, but is tokenizer.ggm",
        ),
        ({"more": {"split.count": 2}}, NotSupportedError, "split.count must be 0, but is 2"),
        ({"heads": 0}, DataError, "llama.attention.head_count must be a whole number above 0, but is 0"),
        (
            {"nan": "blk.1.ffn_up.weight"},
            DataError,
            "tensor blk.1.ffn_up.weight must be finite, but has 1 values",
        ),
    ],
)
def test_what_cannot_be_converted_is_named_and_leaves_no_folder(model, tmp_path, options, error, text):
    path = write_gguf(tmp_path / "m.gguf", model, **options)
    with pytest.raises(error, match=rf"m\.gguf: .*{text}"):
        gguf_to_folder(path, tmp_path / "hf")
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.gguf"]


def test_what_changes_nothing_is_let_through(model, tmp_path):
    more = {"llama.vocab_size": len(TOKENS), "llama.attention.value_length": 8, "llama.logit_scale": 1.0}
    more |= {"general.name": "x", "tokenizer.chat_template": "x", "someone.note": 5, "llama.expert_count": 0}
    folder = gguf_to_folder(write_gguf(tmp_path / "m.gguf", model, more=more), tmp_path / "hf")
    assert load_file(folder / "model.safetensors").keys() == model.state_dict().keys()


def test_ends_of_turns_are_ends_too(model, tmp_path):
    path = write_gguf(tmp_path / "m.gguf", model, more={"tokenizer.ggml.eot_token_id": 2})
    folder = gguf_to_folder(path, tmp_path / "hf")
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == [1, 2]
    assert json.loads((folder / "config.json").read_text())["eos_token_id"] == 1


def test_a_file_of_another_kind_is_a_data_error(tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"no such thing" * 10)
    with pytest.raises(DataError, match=r"x\.gguf: must be a GGUF file"):
        gguf_to_folder(tmp_path / "x.gguf", tmp_path / "hf")


def test_a_truncated_file_is_a_data_error(model, tmp_path):
    path = write_gguf(tmp_path / "m.gguf", model)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"m\.gguf: must be a GGUF file"):
        gguf_to_folder(path, tmp_path / "hf")
