"""Every layout of a model folder that transformers loads: the same states and the same logits from ours."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM
from transformers.utils import logging

from model_folders import LLAMA3, changed, fitting, write_json
from notellm import NoteLLM
from notellm.errors import NotSupportedError

TOLERANCE = 2e-5  # of unit vectors and of logits around 1, both sides in fp32
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


@pytest.fixture(autouse=True)
def quiet():
    """Transformers says on stderr what it thinks of these layouts."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    yield
    logging.set_verbosity(level)


def flat(weights):
    return {name.removeprefix("model."): value for name, value in weights.items()}


def with_head(weights):
    generator = torch.Generator().manual_seed(9)
    return weights | {HEAD: torch.randn(weights[EMBEDDING].shape, generator=generator) / 5}


def equal_head(weights):
    return weights | {HEAD: weights[EMBEDDING].clone()}


def head_alone(weights):
    return {HEAD if name == EMBEDDING else name: value for name, value in weights.items()}


def stored(dtype):
    return lambda weights: {name: value.to(dtype) for name, value in with_head(weights).items()}


def with_old_buffers(weights):
    buffers = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.ones(4) for i in range(2)}
    return weights | buffers | {"model.rotary_emb.inv_freq": torch.ones(4), "score.weight": torch.ones(2, 32)}


UNTIED = {"tie_word_embeddings": False}
LAYOUTS = {
    "no prefix, tied": ({}, flat),
    "no prefix, with a head": (UNTIED, lambda weights: flat(with_head(weights))),
    "no prefix, no head": (UNTIED | {"architectures": ["LlamaModel"]}, flat),
    "no head": (UNTIED, None),
    "tied, says nothing of ties": ({"tie_word_embeddings": ...}, with_head),
    "a head that differs under a tie": ({}, with_head),
    "a head that is the same under a tie": ({}, equal_head),
    "a head in the embedding's place": ({}, head_alone),
    "float16": (UNTIED | {"dtype": "float16"}, stored(torch.float16)),
    "bfloat16": (UNTIED | {"torch_dtype": "bfloat16"}, stored(torch.bfloat16)),
    "float64": (UNTIED, stored(torch.float64)),
    "buffers of old checkpoints": ({}, with_old_buffers),
}


def theirs(kind, folder):
    return kind.from_pretrained(folder, dtype=torch.float32).eval()


def prompts(model, notes):
    batch = model.prompt.pack(model.prompt.tokenize(notes), range(len(notes)), mode="embed")
    return [torch.tensor(batch.tokens[batch.path(i)].astype(np.int64))[None] for i in range(len(notes))]


def check_states(folder, notes, **options):
    """Our vectors, unprojected, against the last states of transformers; returns our model."""
    model = NoteLLM.from_pretrained(folder, **options)
    hf = theirs(AutoModelForCausalLM, folder).model if model.has_head else theirs(AutoModel, folder)
    with torch.no_grad():
        last = torch.cat([hf(ids).last_hidden_state[:, -1] for ids in prompts(model, notes)])
    expected = torch.nn.functional.normalize(last, dim=1)
    torch.testing.assert_close(
        model.embed(notes, projected=False, dtype="fp32"), expected, rtol=0, atol=TOLERANCE
    )
    return model


def check_logits(model, folder, notes):
    hf = theirs(AutoModelForCausalLM, folder)
    rows = hf.config.vocab_size
    for ids in prompts(model, notes):
        with torch.no_grad():
            out = hf(ids, output_hidden_states=True)
            logits = model.logits(out.hidden_states[-1][0, -1:])[:, :rows]
        torch.testing.assert_close(logits, out.logits[:, -1], rtol=0, atol=TOLERANCE * out.logits.abs().max())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_are_read_as_transformers_reads_them(layout, tiny_folder, notes, tmp_path):
    config, tensors = LAYOUTS[layout]
    folder = changed(tiny_folder, tmp_path / "backbone", config=config, tensors=tensors)
    model = check_states(folder, notes)
    if "no head" in layout:
        assert not model.has_head
    else:
        check_logits(model, folder, notes)
    model.save_pretrained(tmp_path / "saved")  # and what we write of it is read by both again
    again = check_states(tmp_path / "saved", notes)
    assert again.has_head == model.has_head
    if model.has_head:
        assert torch.equal(again.head_weight, model.head_weight)
        check_logits(again, tmp_path / "saved", notes)


def test_without_a_head_nothing_is_written_and_the_error_says_why(tiny_folder, notes, tmp_path):
    folder = changed(tiny_folder, tmp_path / "backbone", config=UNTIED)
    model = NoteLLM.from_pretrained(folder)
    assert model.embed(notes).shape == (12, 128)
    for call in (
        lambda: model.generate_category(notes),
        lambda: model.generate_hashtags(notes, 2),
        lambda: model.head_weight,
    ):
        with pytest.raises(
            NotSupportedError, match=r"the backbone has no lm_head.weight .* try its checkpoint"
        ):
            call()


FAMILIES = {
    "llama with biases of attention": {"attention_bias": True},
    "llama with biases of the feed-forward block": {"mlp_bias": True},
    "llama with all biases": {"attention_bias": True, "mlp_bias": True},
    "llama with heads of the default width": {"head_dim": ..., "num_key_value_heads": ...},
    "llama with nulls": {"head_dim": None, "num_key_value_heads": None},
    "swish is silu": {"hidden_act": "swish"},
    "mistral": {"model_type": "mistral", "sliding_window": None},
    "qwen2": {"model_type": "qwen2"},
    "qwen2 with a window that no layer has": {
        "model_type": "qwen2",
        "use_sliding_window": True,
        "sliding_window": 4,
        "max_window_layers": 2,
    },
    "qwen2 with a window that is not used": {"model_type": "qwen2", "sliding_window": 4, "head_dim": ...},
    "qwen3": {"model_type": "qwen3"},
    "qwen3 with heads of the default width": {"model_type": "qwen3", "head_dim": ...},
    "qwen3 with biases": {"model_type": "qwen3", "attention_bias": True},
    "theta is 10000 where nobody says": {"rope_theta": ...},
    "theta in rope_parameters": {
        "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
        "rope_theta": ...,
    },
    "rope_parameters without theta": {"rope_parameters": {"rope_type": "default"}, "rope_theta": 500.0},
    "no scaling": {"rope_scaling": {"type": "default"}},
    "empty scaling": {"rope_scaling": {}},
    "llama3": {"rope_scaling": LLAMA3 | {"rope_type": "llama3"}},
    "llama3 by the old key": {"rope_scaling": LLAMA3 | {"type": "llama3"}},
    "llama3 in rope_parameters": {
        "rope_parameters": LLAMA3 | {"rope_type": "llama3", "rope_theta": 500.0},
        "rope_theta": ...,
    },
    "llama3 that leaves the first length out": {
        "rope_scaling": {k: v for k, v in LLAMA3.items() if "max" not in k} | {"rope_type": "llama3"},
        "max_position_embeddings": 256,
    },
    "llama3 said twice, the same": {
        "rope_scaling": LLAMA3 | {"rope_type": "llama3"},
        "rope_parameters": LLAMA3 | {"rope_type": "llama3", "rope_theta": 10000.0},
    },
}


@pytest.mark.parametrize("case", FAMILIES)
def test_configurations_mean_what_they_mean_to_transformers(case, tiny_folder, notes, tmp_path):
    fields = json.loads((tiny_folder / "config.json").read_text()) | FAMILIES[case]
    fields = {name: value for name, value in fields.items() if value is not ...}
    folder = changed(tiny_folder, tmp_path / "backbone", config=FAMILIES[case], tensors=fitting(fields))
    check_logits(check_states(folder, notes), folder, notes)


def test_the_single_file_wins_over_an_old_index(tiny_folder, notes, tmp_path):
    folder = changed(tiny_folder, tmp_path / "backbone")
    old = {name: value + 1 for name, value in load_file(folder / "model.safetensors").items()}
    index = {"weight_map": dict.fromkeys(old, "model-00001-of-00001.safetensors")}
    write_json(folder / "model.safetensors.index.json", index)
    check_states(folder, notes)  # the old shard is gone
    save_file(old, folder / "model-00001-of-00001.safetensors", {"format": "pt"})
    check_states(folder, notes)  # it is there


class TestEndTokens:
    @pytest.fixture
    def free(self, tiny_folder, notes, tmp_path):
        """What the model writes when only token 0 ends an output."""
        return self.their_outputs(NoteLLM.from_pretrained(tiny_folder), notes, tmp_path / "free")

    def their_outputs(self, model, notes, folder):
        """Saves the model, whose [EMB] the prompts hold, and lets transformers write, with the folder's own ends."""
        model.save_pretrained(folder)
        hf = theirs(AutoModelForCausalLM, folder)
        batch = model.prompt.pack(model.prompt.tokenize(notes), range(len(notes)), mode="generate")
        outputs = []
        for i in range(len(notes)):
            ids = torch.tensor(batch.tokens[batch.path(i)].astype(np.int64))[None]
            options = {"attention_mask": torch.ones_like(ids), "do_sample": False, "pad_token_id": 0}
            outputs.append(hf.generate(ids, max_new_tokens=8, **options)[0, ids.shape[1] :].tolist())
        return outputs

    @pytest.mark.parametrize(
        ("config", "generation"),
        [
            ([0, "end"], ...),
            (["end", 0], ...),
            (0, [0, "end"]),
            (..., [0, "end"]),
            ([0], ["end"]),
            ([0, "end"], 0),
            ("end", "end"),
        ],
    )
    def test_outputs_end_where_those_of_transformers_end(
        self, free, tiny_folder, notes, tmp_path, config, generation
    ):
        end = free[0][2]  # stops the first output after two tokens, others elsewhere

        def named(ids):
            return [named(one) for one in ids] if isinstance(ids, list) else end if ids == "end" else ids

        files = {} if generation is ... else {"generation_config.json": {"eos_token_id": named(generation)}}
        folder = changed(
            tiny_folder, tmp_path / "backbone", config={"eos_token_id": named(config)}, files=files
        )
        model = NoteLLM.from_pretrained(folder)
        outputs = self.their_outputs(model, notes, tmp_path / "saved")
        saved = NoteLLM.from_pretrained(tmp_path / "saved")
        assert saved.end_tokens == model.end_tokens
        ends = set(model.end_tokens)
        # the first of config.json stays an end beside those of generation_config.json, since training teaches it
        expected = [output[:-1] if output[-1] in ends else output for output in outputs]
        texts = model.tokenizer.decode_batch(expected, skip_special_tokens=True)
        expected_texts = [model.prompt.parse_category(text) for text in texts]
        assert model.generate_category(notes, max_new_tokens=8, dtype="fp32") == expected_texts
        assert saved.generate_category(notes, max_new_tokens=8, dtype="fp32") == expected_texts
        if end in ends:
            longer = model.tokenizer.decode(free[0], skip_special_tokens=True)
            assert model.prompt.parse_category(longer) != expected_texts[0]

    @pytest.mark.parametrize("generation", [{}, {"eos_token_id": None}, {"temperature": 0.5}])
    def test_a_generation_config_that_names_no_end_leaves_those_of_the_configuration(
        self, tiny_folder, tmp_path, generation
    ):
        files = {"generation_config.json": generation}
        folder = changed(tiny_folder, tmp_path / "backbone", config={"eos_token_id": [3, 5]}, files=files)
        assert NoteLLM.from_pretrained(folder).end_tokens == (3, 5)

    def test_a_decoding_may_add_further_ends(self, free, tiny_folder, notes, tmp_path):
        note = next(i for i, output in enumerate(free) if len(set(output[:3])) == 3)
        first, second, third = free[note][:3]
        folder = changed(tiny_folder, tmp_path / "backbone", config={"eos_token_id": [0, third]})
        model = NoteLLM.from_pretrained(folder)
        for stop, kept in (((), [first, second]), ((second,), [first])):
            written = model.generate_category(notes, max_new_tokens=8, dtype="fp32", stop=stop)
            text = model.tokenizer.decode(kept, skip_special_tokens=True)
            assert written[note] == model.prompt.parse_category(text)
