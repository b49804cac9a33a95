"""Adapters on a backbone that is stored in bf16: the numbers of the same backbone, rounded and stored in fp32."""

import numpy as np
import pytest
import torch

from notellm.models.adapter import LoraOptions
from notellm.models.notellm import NoteLLM
from notellm.training import Trainer, TrainOptions

pytestmark = pytest.mark.instruction_set

LORA = {"r": 3, "alpha": 6.0, "targets": ("q_proj", "v_proj", "up_proj", "down_proj")}
SOURCE, TARGET = np.arange(0, 6), np.arange(6, 12)


def with_head(tiny_folder):
    model = NoteLLM.from_pretrained(tiny_folder, dim=6)
    table = model.model.embed_tokens.weight
    model.lm_head = torch.nn.Linear(table.size(1), table.size(0), bias=False)
    model.lm_head.weight.data = 0.5 * table.detach().flip(0)
    return model


def stir(model):
    torch.manual_seed(2)
    for layer in model.model.layers:
        for adapter in layer.adapters.values():
            torch.nn.init.normal_(adapter.lora_B, 0.0, 0.2)
    torch.nn.init.normal_(model.model.emb_row, 0.0, 0.3)
    return model


@pytest.fixture
def both(tiny_folder):
    """The same adapters: on a backbone in bf16, and on the rounded one in fp32."""

    def make(**options):
        narrow = stir(with_head(tiny_folder).add_lora(LoraOptions(**LORA | options, frozen_bf16=True)))
        wide = with_head(tiny_folder)
        for part in (wide.model, wide.lm_head):
            for parameter in part.parameters():
                if parameter.dim() > 1:
                    parameter.data = parameter.data.bfloat16().float()
        return narrow, stir(wide.add_lora(LoraOptions(**LORA | options)))

    return make


def test_frozen_matrices_alone_are_narrow(both):
    narrow, _ = both()
    for name, parameter in narrow.named_parameters():
        is_narrow = not parameter.requires_grad and parameter.dim() > 1
        assert parameter.dtype == (torch.bfloat16 if is_narrow else torch.float32), name
    assert narrow.lm_head.weight.dtype == torch.bfloat16


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_training_is_that_of_the_rounded_backbone(dtype, dropout, both, notes, loops):
    weights, records = [], []
    for model in both(dropout=dropout):
        options = TrainOptions(pairs_per_step=6, max_steps=3, lr=1e-2, lr_head=1e-2, dtype=dtype)
        records.append(Trainer(model, notes, SOURCE, TARGET, options).train())
        weights.append(dict(model.named_parameters()))
    for ours, theirs in zip(*records, strict=True):
        assert (ours["loss"], ours["grad_norm"]) == (theirs["loss"], theirs["grad_norm"])
    for name, parameter in weights[0].items():
        if parameter.requires_grad:
            assert torch.equal(parameter, weights[1][name]), name


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_embeddings_are_those_of_the_rounded_backbone(dtype, both, notes, loops):
    narrow, wide = (model.embed(notes, dtype=dtype) for model in both())
    assert torch.equal(narrow, wide)


def test_merging_widens_and_unmerging_narrows(both, notes):
    narrow, wide = both()
    narrow.model.sync_emb_row()
    before = {name: p.detach().clone() for name, p in narrow.named_parameters()}
    narrow.merge_lora(keep=True)
    assert {p.dtype for p in narrow.parameters()} == {torch.float32}
    wide.merge_lora()
    for name, parameter in wide.named_parameters():
        if name != "model.embed_tokens.weight":  # has [EMB]'s row, rounded
            assert torch.equal(dict(narrow.named_parameters())[name], parameter), name
    narrow.unmerge_lora()
    for name, parameter in narrow.named_parameters():
        assert parameter.dtype == before[name].dtype, name
        assert torch.equal(parameter, before[name]), name


def test_a_saved_model_is_that_of_the_rounded_backbone(both, notes, tmp_path):
    narrow, wide = both()
    narrow.save_pretrained(tmp_path / "narrow")
    wide.save_pretrained(tmp_path / "wide")
    ours, theirs = (NoteLLM.from_pretrained(tmp_path / name) for name in ("narrow", "wide"))
    assert ours.hf_config["dtype"] == theirs.hf_config["dtype"] == "float32"
    assert torch.equal(ours.embed(notes), theirs.embed(notes))


def test_a_run_goes_on(tiny_folder, notes, tmp_path):
    options = TrainOptions(pairs_per_step=3, max_steps=4, lr=1e-2, dtype="fp32")

    def trainer(folder):
        model = with_head(tiny_folder).add_lora(LoraOptions(**LORA, frozen_bf16=True))
        return Trainer(model, notes, SOURCE, TARGET, options, folder=folder)

    whole, cut, resumed = trainer(tmp_path / "whole"), trainer(tmp_path / "cut"), trainer(tmp_path / "cut")
    whole.train()
    cut.train(until=2)
    resumed.train(resume=True)
    for (name, ours), theirs in zip(resumed.model.named_parameters(), whole.model.parameters(), strict=True):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs), name
