"""Greedy decoding against ``transformers.generate``: the same ids, but for steps whose two best logits nearly tie."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from notellm import NoteLLM, _core
from notellm._core import prompts as core
from notellm.data import debian
from notellm.errors import DataError
from notellm.generation import DecodingOptions
from notellm.io.cache import cache_folder

NEAR_TIE = 1e-4


def ours(model, notes, count, limit, dtype=torch.float32, penalty=1.0, **search):
    """Prompts and what we write after them."""
    tokenized = model.prompt.tokenize(notes)
    rows = model.prompt.rows(tokenized, range(len(notes)), task="hashtags", mode="generate", count=count)
    lists = core.lay_out(model.prompt.core, tokenized, rows, core.PackMode.generate)
    prompts = [torch.from_numpy(ids.astype(np.int64)) for ids in np.split(lists.ids, lists.offsets[1:-1])]
    stops = search.pop("stop_tokens", [])
    outputs = _core.generation.generate(
        model.core_weights(),
        model.prompt.core,
        tokenized,
        rows,
        DecodingOptions(max_new_tokens=limit, repetition_penalty=penalty, **search),
        stop_tokens=stops,
        compute=dtype,
    )
    return prompts, outputs


def theirs_for(model, theirs, prompt, limit, **options):
    """What transformers writes after a prompt, without the end."""
    end = model.eos_token_id
    output = theirs.generate(
        prompt[None],
        attention_mask=torch.ones_like(prompt[None]),
        max_new_tokens=limit,
        do_sample=False,
        eos_token_id=end,
        pad_token_id=end,
        **options,
    )[0, len(prompt) :].tolist()
    return output[: output.index(end)] if end in output else output


def nearly_ties(theirs, prompt, written):
    """Whether the two best logits after this beginning are less than NEAR_TIE apart."""
    with torch.no_grad():
        logits = theirs(torch.cat([prompt, torch.tensor(written, dtype=torch.int64)])[None]).logits[0, -1]
    best = logits.topk(2).values
    return float(best[0] - best[1]) < NEAR_TIE


def count_near_ties(model, theirs, notes, limit):
    """How many outputs part from those of transformers, each at a near tie."""
    parted = 0
    for prompt, written in zip(*ours(model, notes, 3, limit), strict=True):
        output = theirs_for(model, theirs, prompt, limit)
        if written == output:
            continue
        same = next(
            (i for i, pair in enumerate(zip(written, output, strict=False)) if pair[0] != pair[1]),
            min(len(written), len(output)),
        )
        assert nearly_ties(theirs, prompt, output[:same]), (written, output)
        parted += 1
    return parted


BIASED = {"model_type": "llama", "attention_bias": True, "mlp_bias": True}


@pytest.fixture(params=["llama", "llama with biases", "qwen2", "qwen3"])
def family(request, tiny_folder, tmp_path):
    """The tiny backbone as another family, with the parts that only that one has."""
    folder = shutil.copytree(tiny_folder, tmp_path / "backbone")
    fields = BIASED if request.param == "llama with biases" else {"model_type": request.param}
    config = json.loads((folder / "config.json").read_text()) | fields
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    torch.manual_seed(1)
    for layer in range(config["num_hidden_layers"]):
        attention = f"model.layers.{layer}.self_attn"
        if request.param == "qwen3":
            weights |= {f"{attention}.{name}_norm.weight": 1 + torch.randn(8) / 5 for name in "qk"}
        if request.param in ("qwen2", "llama with biases"):
            for name, width in (("q", 32), ("k", 16), ("v", 16)):
                weights[f"{attention}.{name}_proj.bias"] = torch.randn(width) / 5
        if request.param == "llama with biases":
            weights[f"{attention}.o_proj.bias"] = torch.randn(32) / 5
            for name, width in (("gate", 48), ("up", 48), ("down", 32)):
                weights[f"model.layers.{layer}.mlp.{name}_proj.bias"] = torch.randn(width) / 5
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("instruction_set", ["", "none"])
def test_greedy_equals_transformers(family, notes, tmp_path, use, instruction_set):
    use(instruction_set)
    model = NoteLLM.from_pretrained(family, dim=6)
    model.save_pretrained(tmp_path / "saved")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "saved", dtype=torch.float32).eval()
    assert count_near_ties(model, theirs, notes, 8) <= 1


@pytest.mark.parametrize(
    "options",
    [
        {"beams": 3},
        {"beams": 4, "length_penalty": 0.0},
        {"beams": 2, "length_penalty": 2.0},
        {"penalty": 1.3},
        {"beams": 3, "penalty": 1.3},
    ],
)
def test_beams_and_penalties_equal_transformers(family, notes, tmp_path, options):
    model = NoteLLM.from_pretrained(family, dim=6)
    # an end that is the best where another token would be, so that some outputs end early
    table = model.model.embed_tokens.weight.data
    prompts, free = ours(model, notes, 3, 8)
    table[model.eos_token_id] = 1.05 * table[free[3][1]]
    model.save_pretrained(tmp_path / "saved")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "saved", dtype=torch.float32).eval()
    prompts, outputs = ours(model, notes, 3, 8, **options)
    named = {
        "num_beams": options.get("beams", 1),
        "length_penalty": options.get("length_penalty", 1.0),
        "repetition_penalty": options.get("penalty", 1.0),
    }
    expected = [theirs_for(model, theirs, prompt, 8, **named) for prompt in prompts]
    assert sum(a != b for a, b in zip(outputs, expected, strict=True)) <= 1  # a near tie
    if options.get("length_penalty") == 0:  # otherwise long outputs may win everywhere
        assert len({len(output) for output in expected}) > 1


@pytest.fixture
def real_notes():
    """200 notes of the Debian catalogue."""
    try:
        notes = debian.fetch(cache_folder("debian")).notes
    except DataError as error:
        pytest.skip(str(error))
    return notes.take(np.random.default_rng(0).permutation(len(notes))[:200])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_greedy_equals_transformers_on_real_notes(smollm2_folder, real_notes, tmp_path):
    model = NoteLLM.from_pretrained(smollm2_folder)
    model.save_pretrained(tmp_path / "saved")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "saved", dtype=torch.float32).eval()
    assert count_near_ties(model, theirs, real_notes, 16) <= 4  # 2 %


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_beams_equal_transformers_on_real_notes(smollm2_folder, real_notes, tmp_path):
    model = NoteLLM.from_pretrained(smollm2_folder)
    model.save_pretrained(tmp_path / "saved")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "saved", dtype=torch.float32).eval()
    prompts, outputs = ours(model, real_notes, 3, 12, beams=3)
    expected = [theirs_for(model, theirs, prompt, 12, num_beams=3) for prompt in prompts]
    assert sum(a != b for a, b in zip(outputs, expected, strict=True)) <= 4  # 2 %: near ties
