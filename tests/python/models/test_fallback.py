"""Families that the core does not compute, by transformers: whole flows, and what is refused."""

import json
import sys
import warnings

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from families import FAMILIES, write_family
from model_folders import changed, write_json
from notellm import LoraOptions, NoteLLM, NotSupportedError, Trainer, TrainOptions, TransformersNoteLLM
from notellm.errors import DataError
from notellm.generation import score_categories
from notellm.processes import Processes
from notellm.training.sharding import ShardedModel
from samples import CATEGORIES, make_notes

NEAR = 1e-5
NOTES = make_notes(16, seed=3)
DROPOUT = {"resid_pdrop": 0.3, "embd_pdrop": 0.3, "attn_pdrop": 0.3, "bos_token_id": 0}
PAIRS = (np.arange(12), np.arange(1, 13))


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, tiny_folder, tmp_path_factory):
    """A random model of a family, with the tiny tokenizer."""
    return write_family(tiny_folder, tmp_path_factory.mktemp("family") / request.param, request.param)


@pytest.fixture
def gemma(tiny_folder, tmp_path):
    return write_family(tiny_folder, tmp_path / "gemma", "gemma3_text")


def options(**changes):
    base = {"pairs_per_step": 4, "max_steps": 3, "lr": 1e-3, "lr_head": 1e-2, "alpha": 0.5, "dtype": "fp32"}
    return TrainOptions(**base | changes)


def train(model, folder=None, until=None, resume=False, choose_pairs=None, **changes):
    trainer = Trainer(model, NOTES, *PAIRS, options(**changes), folder=folder, choose_pairs=choose_pairs)
    return trainer.train(until=until, resume=resume)


def same_pairs(step):
    return range(4)


def embed(model, notes=NOTES, **asked):
    return model.embed(notes, dtype="fp32", **asked)


def losses(records):
    return [(record["contrastive"], record["generative"]) for record in records]


def test_a_family_is_trained_saved_and_read(folder, tmp_path):
    model = TransformersNoteLLM.from_pretrained(folder, dim=6)
    alone = torch.cat([embed(model, NOTES.take([i])) for i in range(len(NOTES))])
    torch.testing.assert_close(embed(model), alone, rtol=0, atol=NEAR)  # what fills a batch changes nothing
    records = train(model, max_steps=6, hashtag_ratio=0.0, choose_pairs=same_pairs)
    assert records[-1]["loss"] < records[0]["loss"]
    model.save_pretrained(tmp_path / "saved")
    again = TransformersNoteLLM.from_pretrained(tmp_path / "saved")
    assert torch.equal(embed(again), embed(model))
    asked = {"dtype": "fp32", "max_new_tokens": 6}
    assert again.generate_hashtags(NOTES, 2, **asked) == model.generate_hashtags(NOTES, 2, **asked)
    if folder.name != "qwen3_moe":
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "saved", dtype=torch.float32)
        for name, value in theirs.state_dict().items():
            assert torch.equal(value, model.model.state_dict()[name])


def test_states_and_logits_are_those_of_the_whole_model(folder):
    model = TransformersNoteLLM.from_pretrained(folder, dim=6)
    tokenized = model.prompt.tokenize(NOTES)
    batch = model.prompt.pack(tokenized, [3, 5, 15, 3], mode="train")
    with torch.no_grad():
        logits = model.logits(model(batch).labelled)
        for i in range(len(batch)):
            path, own = batch.path(i), slice(*batch.label_offsets[i : i + 2].tolist())
            whole = model.model(input_ids=torch.from_numpy(batch.tokens[path])[None]).logits[0]
            places = [path.tolist().index(place) for place in batch.label_positions[own].tolist()]
            torch.testing.assert_close(logits[own], whole[places], rtol=1e-4, atol=1e-4)


def test_scores_are_the_sums_of_log_p(folder):
    model = TransformersNoteLLM.from_pretrained(folder, dim=6)
    notes = NOTES.take([1, 15])
    found = score_categories(model, notes, CATEGORIES, dtype="fp32", max_logits=1000)
    for row in range(len(notes)):
        copies = notes.take([row] * len(CATEGORIES))
        copies.categories[:] = CATEGORIES
        batch = model.prompt.pack(model.prompt.tokenize(copies), range(len(copies)))
        with torch.no_grad():
            each = model.logits(model(batch).labelled).double().log_softmax(1)
        each = each.gather(1, torch.from_numpy(batch.labels)[:, None]).squeeze(1)
        sums = [own.sum() for own in each.split(np.diff(batch.label_offsets).tolist())]
        torch.testing.assert_close(found.log_probs[row], torch.stack(sums), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("folder", ["gemma3_text", "phi", "phi3", "gpt_neox"], indirect=True)
def test_adapters_are_trained_alone_and_merged(folder, tmp_path):
    model = TransformersNoteLLM.from_pretrained(folder, dim=6)
    before, vectors = {n: p.clone() for n, p in model.model.named_parameters()}, embed(model)
    model.add_lora(LoraOptions(r=2), seed=1)
    assert torch.equal(embed(model), vectors)
    records = train(model, max_steps=6, hashtag_ratio=0.0, choose_pairs=same_pairs)
    assert records[-1]["loss"] < records[0]["loss"]
    emb = model.emb_token_id
    tables = {id(model.model.get_input_embeddings().weight)}
    for name, parameter in model.model.named_parameters():
        rows = torch.arange(len(parameter)) != emb if id(parameter) in tables else slice(None)
        assert torch.equal(parameter[rows], before[name][rows])
    vectors = embed(model)
    model.save_pretrained(tmp_path / "saved")
    torch.testing.assert_close(
        embed(TransformersNoteLLM.from_pretrained(tmp_path / "saved")), vectors, rtol=0, atol=NEAR
    )
    torch.testing.assert_close(embed(model.merge_lora()), vectors, rtol=0, atol=NEAR)
    assert all(p.requires_grad for p in model.parameters())
    with pytest.raises(ValueError, match="merge_lora: the model must have LoRA, but has not"):
        model.merge_lora()


@pytest.mark.parametrize("lora", [None, LoraOptions(r=2)])
def test_a_stopped_training_goes_on_bit_by_bit(gemma, tmp_path, lora):
    def make():
        model = TransformersNoteLLM.from_pretrained(gemma, dim=6)
        return model if lora is None else model.add_lora(lora)

    whole, stopped, resumed = make(), make(), make()
    train(whole, max_steps=4)
    train(stopped, tmp_path / "run", until=2, max_steps=4)
    train(resumed, tmp_path / "run", resume=True, max_steps=4)
    for (name, one), (_, other) in zip(whole.named_parameters(), resumed.named_parameters(), strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize("changes", [{"micro_pairs": 1}, {"checkpoint_layers": True}])
def test_ways_to_save_memory_change_no_gradient(gemma, changes):
    found = []
    for asked in ({}, changes):
        model = TransformersNoteLLM.from_pretrained(gemma, dim=6).double()
        trainer = Trainer(model, NOTES, *PAIRS, options(dtype="fp64", **asked))
        trainer.joint_step.backward(trainer.plan(0))
        found.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        # the norms of transformers are fp32
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-6)


def test_a_family_with_dropout_trains_without_it(tiny_folder, tmp_path):
    folder = write_family(tiny_folder, tmp_path / "gpt2", "gpt2", **DROPOUT)
    found = []
    for asked in ({}, {"micro_pairs": 1}, {}):
        model = TransformersNoteLLM.from_pretrained(folder, dim=6)
        found.append(losses(train(model, **asked)))
    assert found[2] == found[0]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)
    assert model.training is False
    assert model.train().training is True


def test_checkpointing_keeps_less(gemma):
    kept = []
    for checkpoint in (False, True):
        model = TransformersNoteLLM.from_pretrained(gemma, dim=6)
        batch = model.prompt.pack(model.prompt.tokenize(NOTES), range(len(NOTES)))
        kept.append(0)

        def count(saved):
            kept[-1] += saved.numel()
            return saved

        with torch.autograd.graph.saved_tensors_hooks(count, lambda saved: saved):
            model(batch, "fp32", checkpoint=checkpoint)
    assert kept[1] < kept[0] / 3


def test_draws_depend_on_seed_and_prompt_alone(gemma):
    model = TransformersNoteLLM.from_pretrained(gemma, dim=6)
    asked = {"dtype": "fp32", "max_new_tokens": 6, "temperature": 1.5, "top_k": 50, "top_p": 0.95}
    together = model.generate_category(NOTES, **asked)
    assert together == model.generate_category(NOTES, batch_tokens=1, **asked)
    assert together[4:6] == model.generate_category(NOTES.take([4, 5]), **asked)
    assert together != model.generate_category(NOTES, seed=1, **asked)
    cold = model.generate_category(NOTES, **asked | {"temperature": 1e-6})
    assert cold == model.generate_category(NOTES, dtype="fp32", max_new_tokens=6)


def test_drawn_tokens_follow_their_probabilities(gemma):
    model = TransformersNoteLLM.from_pretrained(gemma, dim=6)
    notes, count = NOTES.take([2]), 3000
    rows = model.prompt.rows(model.prompt.tokenize(notes), [0], mode="generate")
    from notellm.models.fallback.writing import _gumbel, _prompts

    (ids,) = _prompts(model.prompt, model.prompt.tokenize(notes), rows)
    with torch.no_grad():
        log_p = model.model(input_ids=torch.tensor([ids])).logits[0, -1].double().log_softmax(0).numpy()
    drawn = [int((log_p + _gumbel(seed, tuple(ids), 0, len(log_p))).argmax()) for seed in range(count)]
    shares, p = np.bincount(drawn, minlength=len(log_p)) / count, np.exp(log_p)
    likely = p > 0.01
    assert likely.any()
    assert np.abs(shares - p)[likely].max() < 4 * np.sqrt(p[likely].max() / count)


@pytest.mark.parametrize("pooling", ["compression", "mean"])
def test_batches_of_notes_are_within_the_budget_however_unlike_their_lengths(gemma, monkeypatch, pooling):
    model = TransformersNoteLLM.from_pretrained(gemma, dim=6)
    notes = make_notes(24, seed=4)
    notes.contents[:] = ["word " * (1 + 3 * (i % 12)) for i in range(len(notes))]
    expected = embed(model, notes, pooling=pooling)
    computed, forward = [], model.model.base_model.forward

    def counted(input_ids, **given):
        computed.append(input_ids.numel())
        return forward(input_ids=input_ids, **given)

    monkeypatch.setattr(model.model.base_model, "forward", counted)
    found = embed(model, notes, pooling=pooling, batch_tokens=700)
    torch.testing.assert_close(found, expected, rtol=0, atol=NEAR)
    assert len(computed) > 1
    assert max(computed) <= 700


@pytest.mark.parametrize("family", ["gpt2", "opt"])
def test_positions_that_were_learned_are_not_exceeded(tiny_folder, tmp_path, family):
    few = {"max_position_embeddings": 40, "bos_token_id": 0}
    model = TransformersNoteLLM.from_pretrained(
        write_family(tiny_folder, tmp_path / "m", family, **few), dim=6
    )
    with pytest.raises(
        ValueError, match=r"a prompt must have at most 40 tokens, the positions .* has up to \d+; try"
    ):
        embed(model)
    with pytest.raises(ValueError, match="must have at most 40 tokens"):
        train(model)


def test_positions_that_are_computed_may_be_exceeded(tiny_folder, tmp_path):
    folder = write_family(tiny_folder, tmp_path / "gemma", "gemma3_text", max_position_embeddings=40)
    assert embed(TransformersNoteLLM.from_pretrained(folder, dim=6)).isfinite().all()


def test_a_closed_set_is_not_stopped_by_other_tokens(gemma):
    model = TransformersNoteLLM.from_pretrained(gemma, dim=6)
    asked = {"categories": CATEGORIES, "dtype": "fp32"}
    expected = model.generate_category(NOTES, **asked)
    starts = {model.prompt.encode_values([name])[0][-1] for name in CATEGORIES}
    assert model.generate_category(NOTES, stop=sorted(starts), **asked) == expected


def test_the_core_names_the_way_out(gemma):
    with pytest.raises(
        NotSupportedError, match=r"model_type must be one of llama.*; try model.backend=transformers"
    ):
        NoteLLM.from_pretrained(gemma)
    TransformersNoteLLM.from_pretrained(gemma, dim=6).save_pretrained(gemma.parent / "saved")
    with pytest.raises(
        NotSupportedError, match=r"try model.backend=transformers \(notellm.TransformersNoteLLM\)"
    ):
        NoteLLM.from_pretrained(gemma.parent / "saved")


def test_what_is_not_there_is_refused(gemma, tmp_path, monkeypatch):
    model = TransformersNoteLLM.from_pretrained(gemma, dim=6)
    with pytest.raises(NotSupportedError, match="weights must be 'same' with model.backend=transformers"):
        model.embed(NOTES, weights="int8")
    with pytest.raises(NotSupportedError, match="hashtags must be free, but a vocabulary is given"):
        model.generate_hashtags(NOTES, 2, vocabulary=["web"])
    with pytest.raises(ValueError, match="weights must be fp64 for dtype fp64"):
        model.embed(NOTES, dtype="fp64")
    with pytest.raises(ValueError, match="must have at most 512 tokens, the model's context"):
        model.generate_category(NOTES, max_new_tokens=500)
    with pytest.raises(NotSupportedError, match="lora.dropout must be 0 with model.backend=transformers"):
        model.add_lora(LoraOptions(dropout=0.1))
    with pytest.raises(
        NotSupportedError, match="lora.frozen_bf16 must be false with model.backend=transformers"
    ):
        model.add_lora(LoraOptions(frozen_bf16=True))
    with pytest.raises(
        NotSupportedError, match="shard_weights: the core must compute the model, but it is a Transf"
    ):
        ShardedModel(model, Processes.current())
    model.add_lora(LoraOptions(r=1))
    with pytest.raises(ValueError, match="must be without LoRA, but has it"):
        model.add_lora()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(FileExistsError, match="must be absent, empty or a saved NoteLLM"):
        model.save_pretrained(tmp_path / "other")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(
        NotSupportedError, match="transformers must be installed, but is not; try `pip install"
    ):
        TransformersNoteLLM.from_pretrained(gemma)


@pytest.mark.parametrize(
    ("tensors", "config", "problem"),
    [
        (
            lambda w: {n: v for n, v in w.items() if "layers.1.mlp.up" not in n},
            {},
            "lacks model.layers.1.mlp.up_proj",
        ),
        (
            lambda w: w | {"model.norm.weight": w["model.norm.weight"] * float("nan")},
            {},
            "norm.weight must be finite",
        ),
        (None, {"model_type": "gemma9"}, "transformers must load it, but: .*gemma9"),
        (None, {}, r"layers must be in \[0, 2\], but 5"),
        (None, {"quantization_config": {"quant_method": "awq"}}, "quantization_config says"),
    ],
)
def test_folders_that_are_not_whole_are_refused(gemma, tmp_path, tensors, config, problem):
    folder = changed(gemma, tmp_path / "changed", config=config, tensors=tensors)
    kind = NotSupportedError if "quantization" in problem else DataError
    with pytest.raises(kind, match=problem):
        TransformersNoteLLM.from_pretrained(folder, layers=5 if "must be in" in problem else 0)


def test_weights_that_are_not_used_are_said(gemma, tmp_path):
    folder = changed(gemma, tmp_path / "changed", tensors=lambda w: w | {"model.extra": torch.ones(1)})
    with pytest.warns(UserWarning, match="transformers does not use model.extra"):
        TransformersNoteLLM.from_pretrained(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TransformersNoteLLM.from_pretrained(gemma, layers=1)


@pytest.mark.parametrize("changes", [{"dim": 5}, {"layers": 1}, {"pooling": "mean"}])
def test_arguments_that_contradict_a_saved_model_are_refused(gemma, tmp_path, changes):
    TransformersNoteLLM.from_pretrained(gemma, dim=6).save_pretrained(tmp_path / "saved")
    with pytest.raises(DataError, match="as it was trained|must be 2"):
        TransformersNoteLLM.from_pretrained(tmp_path / "saved", **changes)
    extra = tmp_path / "saved" / "notellm.json"
    write_json(extra, json.loads(extra.read_text()) | {"backend": "x"})
    with pytest.raises(DataError, match="backend must be core or transformers, but is 'x'"):
        TransformersNoteLLM.from_pretrained(tmp_path / "saved")
