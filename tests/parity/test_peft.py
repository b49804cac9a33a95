"""Adapters against the `peft` package: the same outputs and gradients, folders read and written both ways."""

import json
import shutil

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_decoder import FP64_TOLERANCE, norm_in_fp64
from transformers import AutoModelForCausalLM

from notellm import _core
from notellm.errors import DataError, NotSupportedError
from notellm.models.adapter import TARGETS, LoraOptions
from notellm.models.notellm import NoteLLM

# peft calls what transformers has renamed, and has its own to say of heads that are tied
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Model has .tie_word_embeddings=True.:UserWarning"),
]

CASES = {
    "all": {"target_modules": list(TARGETS)},
    "query and value": {"target_modules": ["q_proj", "v_proj"], "r": 3},
    "feed-forward": {"target_modules": ["up_proj", "down_proj"], "use_rslora": True},
}


def hf_model(folder):
    """The tiny backbone of transformers in fp64, its norms too."""
    hf = AutoModelForCausalLM.from_pretrained(folder).double().eval()
    for module in hf.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = norm_in_fp64.__get__(module)
    return hf


def adapted(folder, **changes):
    """A peft model with adapters that change something."""
    torch.manual_seed(1)
    fields = {"r": 4, "lora_alpha": 10, "lora_dropout": 0.25, "task_type": "CAUSAL_LM"} | changes
    model = peft.get_peft_model(hf_model(folder), peft.LoraConfig(**fields)).double().eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, 0.0, 0.3)
    return model


def our_logits(model, tokens):
    plan = model.model.plan(_core.models.Segments([0, len(tokens)], [-1]), torch.float64)
    head = model.head_weight[:-1]  # without [EMB]
    return _core.models.head_logits(model.model(tokens, plan), head, torch.float64)


@pytest.fixture
def tokens():
    return torch.randint(0, 300, (23,), generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("case", CASES)
def test_a_folder_of_peft_gives_its_outputs_and_gradients(case, tiny_folder, tmp_path, tokens):
    theirs = adapted(tiny_folder, **CASES[case])
    theirs.save_pretrained(tmp_path)
    ours = NoteLLM.from_pretrained(tiny_folder).double().load_peft(tmp_path)
    expected = theirs(tokens.unsqueeze(0)).logits[0]
    actual = our_logits(ours, tokens)
    torch.testing.assert_close(actual, expected, rtol=0, atol=FP64_TOLERANCE * expected.abs().max().item())
    assert not torch.allclose(hf_model(tiny_folder)(tokens.unsqueeze(0)).logits[0], expected, atol=1e-2)

    weight = torch.randn_like(expected)
    (expected * weight).sum().backward()
    (actual * weight).sum().backward()
    gradients = {
        name.removeprefix("base_model.model.").replace(".default", ""): p.grad
        for name, p in theirs.named_parameters()
        if "lora" in name
    }
    compared = 0
    for layer in ours.model.layers:
        for target, adapter in layer.adapters.items():
            holder = "self_attn" if target in TARGETS[:4] else "mlp"
            for kind in ("lora_A", "lora_B"):
                theirs_ = gradients[f"model.layers.{layer.number}.{holder}.{target}.{kind}.weight"]
                limit = FP64_TOLERANCE * theirs_.abs().max().item()
                torch.testing.assert_close(getattr(adapter, kind).grad, theirs_, rtol=0, atol=limit)
                compared += 1
    assert compared == len(gradients) == 4 * len(CASES[case]["target_modules"])


@pytest.mark.parametrize("rslora", [False, True])
def test_peft_reads_our_folder(rslora, tiny_folder, tmp_path, tokens):
    options = LoraOptions(
        r=5, alpha=7.5, dropout=0.1, targets=("q_proj", "o_proj", "gate_proj"), rslora=rslora
    )
    ours = NoteLLM.from_pretrained(tiny_folder).double().add_lora(options, seed=3)
    for layer in ours.model.layers:
        for adapter in layer.adapters.values():
            torch.nn.init.normal_(adapter.lora_B, 0.0, 0.3)
    ours.save_peft(tmp_path / "adapter", base_model="tiny")
    theirs = peft.PeftModel.from_pretrained(hf_model(tiny_folder), tmp_path / "adapter").double().eval()
    expected = theirs(tokens.unsqueeze(0)).logits[0]
    actual = our_logits(ours, tokens)
    torch.testing.assert_close(actual, expected, rtol=0, atol=FP64_TOLERANCE * expected.abs().max().item())
    config = theirs.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (5, 7.5, 0.1)
    assert config.base_model_name_or_path == "tiny"


def test_adapters_come_back_from_peft(tiny_folder, notes, tmp_path):
    ours = NoteLLM.from_pretrained(tiny_folder, dim=6).add_lora(LoraOptions(r=2), seed=3)
    for name, parameter in ours.named_parameters():
        if "lora_B" in name or name in ("tau", "projection.weight"):
            torch.nn.init.normal_(parameter, 0.0, 0.3)
    ours.save_peft(tmp_path / "adapter")
    theirs = peft.PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tiny_folder), tmp_path / "adapter"
    )
    theirs.save_pretrained(tmp_path / "again")
    shutil.copy(tmp_path / "adapter/notellm.safetensors", tmp_path / "again")  # which peft does not know
    again = NoteLLM.from_pretrained(tiny_folder, dim=6, seed=1).load_peft(tmp_path / "again")
    expected = ours.embed(notes, dtype="fp32")
    assert torch.equal(again.embed(notes, dtype="fp32"), expected)
    assert not torch.allclose(
        NoteLLM.from_pretrained(tiny_folder, dim=6).embed(notes, dtype="fp32"), expected, atol=0.1
    )


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("use_dora", {"use_dora": True}),
        ("rank_pattern", {"rank_pattern": {"q_proj": 2}}),
        ("alpha_pattern", {"alpha_pattern": {"q_proj": 2}}),
        ("bias", {"bias": "all"}),
        ("lora_bias", {"lora_bias": True}),
        ("modules_to_save", {"modules_to_save": ["lm_head"]}),
        ("layers_to_transform", {"layers_to_transform": [0]}),
        ("init_lora_weights", {"init_lora_weights": "pissa"}),
        ("target_modules", {"target_modules": ["q_proj", "embed_tokens"]}),
    ],
)
def test_what_the_core_cannot_compute_is_refused_by_name(field, changes, tiny_folder, tmp_path):
    fields = {"task_type": "CAUSAL_LM", "target_modules": ["q_proj"]} | changes
    peft.LoraConfig(**fields).save_pretrained(tmp_path)
    model = NoteLLM.from_pretrained(tiny_folder)
    with pytest.raises(NotSupportedError, match=f"adapter_config.json: {field} must be .*, but is "):
        model.load_peft(tmp_path)
    assert model.lora is None


class TestBadFolders:
    @pytest.fixture
    def folder(self, tiny_folder, tmp_path):
        adapted(tiny_folder, target_modules=["q_proj"]).save_pretrained(tmp_path)
        return tmp_path

    def refuse(self, tiny_folder, folder, error, message):
        model = NoteLLM.from_pretrained(tiny_folder)
        with pytest.raises(error, match=message):
            model.load_peft(folder)
        assert model.lora is None
        assert model.model.emb_row is None

    def change(self, folder, change):
        weights = load_file(folder / "adapter_model.safetensors")
        change(weights)
        save_file(weights, folder / "adapter_model.safetensors")

    def test_missing(self, tiny_folder, tmp_path):
        message = "adapter_config.json: must be a JSON file, but is not there"
        self.refuse(tiny_folder, tmp_path, DataError, message)

    def test_missing_tensor(self, tiny_folder, folder):
        self.change(folder, lambda weights: weights.pop(sorted(weights)[0]))
        message = r"must hold the tensor layers.0.self_attn.q_proj.lora_A, but lacks it$"
        self.refuse(tiny_folder, folder, DataError, message)

    def test_another_shape(self, tiny_folder, folder):
        name = "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight"
        self.change(folder, lambda weights: weights.__setitem__(name, torch.zeros(8, 4)))
        message = r"tensor layers.1.self_attn.q_proj.lora_B must have shape \(32, 4\), but has \(8, 4\)"
        self.refuse(tiny_folder, folder, DataError, message)

    def test_a_tensor_without_a_place(self, tiny_folder, folder):
        name = "base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight"
        self.change(folder, lambda weights: weights.__setitem__(name, torch.zeros(4, 32)))
        message = "must hold what the model has a place for only, but holds layers.2.self_attn.q_proj.lora_A"
        self.refuse(tiny_folder, folder, NotSupportedError, message)

    def test_a_tensor_by_two_names(self, tiny_folder, folder):
        name = "base_model.model.layers.1.self_attn.q_proj.lora_A.weight"
        self.change(folder, lambda weights: weights.__setitem__(name, torch.zeros(4, 32)))
        message = "must hold layers.1.self_attn.q_proj.lora_A once, but holds it by two names"
        self.refuse(tiny_folder, folder, DataError, message)

    def test_an_infinite_number(self, tiny_folder, folder):
        self.change(folder, lambda weights: weights[sorted(weights)[0]].fill_(torch.inf))
        message = (
            r"tensor layers.0.self_attn.q_proj.lora_A must be finite, but has 128 values that are not, of 128"
        )
        self.refuse(tiny_folder, folder, DataError, message)

    def test_matrices_in_few_bits(self, tiny_folder, folder):
        name = "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight"
        self.change(folder, lambda weights: weights.__setitem__(name, torch.zeros(4, 32, dtype=torch.int8)))
        message = "layers.1.self_attn.q_proj.lora_A must be of floating-point numbers .*, but is int8"
        self.refuse(tiny_folder, folder, NotSupportedError, message)

    def test_another_kind_of_tensor(self, tiny_folder, folder):
        name = "base_model.model.model.embed_tokens.weight"
        self.change(folder, lambda weights: weights.__setitem__(name, torch.zeros(4, 32)))
        message = (
            "must hold lora_A and lora_B of a decoder's layers only, but holds base_model.model.model.emb"
        )
        self.refuse(tiny_folder, folder, NotSupportedError, message)

    def test_a_missing_or_bad_field(self, tiny_folder, folder):
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps(config | {"r": 0}))
        self.refuse(
            tiny_folder, folder, DataError, "must describe an adapter, but: r must be at least 1, but is 0"
        )
        del config["lora_alpha"]
        (folder / "adapter_config.json").write_text(json.dumps(config))
        self.refuse(tiny_folder, folder, DataError, "must have the field lora_alpha, but lacks it")

    def test_a_projection_of_another_width(self, tiny_folder, folder, tmp_path):
        NoteLLM.from_pretrained(tiny_folder, dim=6).add_lora().save_peft(tmp_path / "narrow")
        message = (
            r"notellm.safetensors: tensor projection.weight must have shape \(128, 32\), but has \(6, 32\)"
        )
        self.refuse(tiny_folder, tmp_path / "narrow", DataError, message)
