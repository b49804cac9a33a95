"""What of a backbone's folder survives `save_pretrained`, as transformers sees it."""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from model_folders import changed
from notellm import LoraOptions, Trainer, TrainOptions
from notellm.export import export_sentence_transformers
from notellm.models.notellm import NoteLLM

FILES = {
    "tokenizer_config.json": {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|end|>",
        "pad_token": "<|end|>",
        "model_max_length": 512,
        "padding_side": "left",
        "chat_template": "{{ messages[0].content }}",
    },
    "generation_config.json": {"eos_token_id": [0, 7], "temperature": 0.6, "do_sample": True},
    "special_tokens_map.json": {"eos_token": "<|end|>"},
}


@pytest.fixture
def saved(tiny_folder, tmp_path):
    folder = changed(tiny_folder, tmp_path / "backbone", config={"torch_dtype": "bfloat16"}, files=FILES)
    model = NoteLLM.from_pretrained(folder)
    with torch.no_grad():  # as training does: less than bfloat16 could tell apart
        model.model.layers[0].self_attn.q_proj.weight.add_(1e-5)
    model.save_pretrained(tmp_path / "saved")
    return model, tmp_path / "saved"


def test_its_files_stay_with_it(saved, tmp_path):
    _, folder = saved
    for name, content in FILES.items():
        assert json.loads((folder / name).read_text()) == content
    NoteLLM.from_pretrained(folder).save_pretrained(tmp_path / "again")
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize("number", [-1, True, 1 << 40])
def test_an_id_that_is_no_token_is_not_written_for_transformers(tiny_folder, tmp_path, number):
    folder = changed(tiny_folder, tmp_path / "backbone", config={"pad_token_id": number, "bos_token_id": 3})
    NoteLLM.from_pretrained(folder).save_pretrained(tmp_path / "saved")
    generation = json.loads((tmp_path / "saved/generation_config.json").read_text())
    assert generation == {"eos_token_id": 0, "bos_token_id": 3}
    assert "pad_token" not in json.loads((tmp_path / "saved/tokenizer_config.json").read_text())


def test_a_tilde_is_the_home_folder(tiny, notes, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    tiny.save_pretrained("~/model")
    export_sentence_transformers(tiny, "~/exported")
    tiny.add_lora(LoraOptions(r=1)).save_peft("~/adapter")
    NoteLLM.from_pretrained("~/model").load_peft("~/adapter")
    pairs = np.array([0]), np.array([1])
    Trainer(tiny, notes, *pairs, TrainOptions(pairs_per_step=1, max_steps=1), folder="~/run").train()
    names = {"model", "exported", "adapter", "run"}
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == names


def test_what_transformers_needs_is_written_where_the_folder_had_it_not(tiny, tmp_path):
    tiny.save_pretrained(tmp_path / "saved")
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {
        *("config.json", "model.safetensors", "notellm.json", "notellm.safetensors", "tokenizer.json"),
        *("generation_config.json", "tokenizer_config.json"),
    }
    hf = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    assert hf.config.architectures == ["LlamaForCausalLM"]
    assert hf.generation_config.eos_token_id == tiny.eos_token_id
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert tokenizer.eos_token_id == tiny.eos_token_id
    text = "a tool, na\u00efve  42\n[EMB] title"
    assert tokenizer(text)["input_ids"] == tiny.tokenizer.encode(text).ids


def test_transformers_computes_its_states_and_greedy_outputs(saved, notes):
    model, folder = saved
    hf, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    packed = model.prompt.pack(model.prompt.tokenize(notes), [1], mode="generate")
    ids = torch.from_numpy(packed.tokens[packed.path(0)]).long()[None]
    with torch.no_grad():
        states = hf.model(ids).last_hidden_state[0]  # (T, D)
    (ours,) = model.generate_category(notes.take([1]), max_new_tokens=5, dtype="fp32")
    theirs = hf.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=5, do_sample=False)
    assert ours == model.prompt.parse_category(
        tokenizer.decode(theirs[0, ids.shape[1] :], skip_special_tokens=True)
    )
    at = int(packed.compression[0])
    vector = model.embed(notes.take([1]), dtype="fp32", projected=False)[0]
    torch.testing.assert_close(torch.nn.functional.normalize(states[at], dim=0), vector, atol=1e-5, rtol=0)


def test_a_folder_that_transformers_saved_again_is_read(saved, notes, tmp_path):
    model, folder = saved
    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(tmp_path / "again")
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "again")
    for name in ("notellm.json", "notellm.safetensors"):
        shutil.copy(folder / name, tmp_path / "again")
    again = NoteLLM.from_pretrained(tmp_path / "again")
    assert torch.equal(again.embed(notes, dtype="fp32"), model.embed(notes, dtype="fp32"))


def test_the_tokenizer_of_transformers_pads_and_knows_emb(saved):
    model, folder = saved
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert (tokenizer.pad_token, tokenizer.padding_side, tokenizer.model_max_length) == (
        "<|end|>",
        "left",
        512,
    )
    assert tokenizer.convert_tokens_to_ids("[EMB]") == model.emb_token_id
    padded = tokenizer(["a tool", "a"], padding=True)["input_ids"]
    assert len(padded[0]) == len(padded[1])
    assert padded[1][0] == 0


def test_transformers_reads_the_dtype_that_was_written_and_the_generation_options(saved):
    model, folder = saved
    hf = AutoModelForCausalLM.from_pretrained(folder)
    assert hf.dtype == torch.float32
    weight = hf.model.layers[0].self_attn.q_proj.weight
    assert torch.equal(weight, model.model.layers[0].self_attn.q_proj.weight)
    assert hf.generation_config.eos_token_id == [0, 7]
    assert hf.generation_config.temperature == 0.6


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_model_in_another_dtype_says_so(tiny, tmp_path, dtype):
    tiny.to(dtype).save_pretrained(tmp_path / "saved")
    hf = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert hf["dtype"] == str(dtype).removeprefix("torch.")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "saved").dtype == dtype
