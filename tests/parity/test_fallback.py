"""The same Llama by the core and by transformers: the same vectors, losses, gradients, trained weights and outputs."""

import numpy as np
import pytest
import torch
from test_decoder import norm_in_fp64

from model_folders import changed
from notellm import LoraOptions, NoteLLM, Trainer, TrainOptions, TransformersNoteLLM
from notellm.generation import score_categories
from samples import CATEGORIES, make_notes

NEAR = 1e-5  # fp32
EXACT = 1e-8  # fp64
NOTES = make_notes(24, seed=3)
PAIRS = (np.arange(20), np.arange(1, 21))


def open_both(folder, dtype=torch.float32, **options):
    """The model by the core and by transformers; in fp64 the norms of the latter, too."""
    ours = NoteLLM.from_pretrained(folder, dim=6, **options).to(dtype)
    theirs = TransformersNoteLLM.from_pretrained(folder, dim=6, **options).to(dtype)
    if dtype == torch.float64:
        for module in theirs.modules():
            if type(module).__name__.endswith("RMSNorm"):
                module.forward = norm_in_fp64.__get__(module)
    return ours, theirs


@pytest.fixture(scope="module", params=["tied", "own head"])
def folder(request, tiny_folder, tmp_path_factory):
    if request.param == "tied":
        return tiny_folder
    torch.manual_seed(2)

    def with_head(weights):
        return weights | {"lm_head.weight": 0.3 * torch.randn_like(weights["model.embed_tokens.weight"])}

    config = {"tie_word_embeddings": False}
    return changed(tiny_folder, tmp_path_factory.mktemp("own") / "m", config=config, tensors=with_head)


@pytest.mark.parametrize(
    "options", [{}, {"pooling": "mean"}, {"projected": False}, {"dim": 4, "batch_tokens": 300}]
)
def test_vectors(folder, options):
    ours, theirs = open_both(folder)
    with torch.no_grad():
        theirs.projection.weight.copy_(ours.projection.weight)
    ours.nested_dims = theirs.nested_dims = (4,)
    found = theirs.embed(NOTES, dtype="fp32", **options)
    torch.testing.assert_close(found, ours.embed(NOTES, dtype="fp32", **options), rtol=0, atol=NEAR)


def test_a_fresh_projection_and_the_first_layers_are_the_same(folder):
    ours, theirs = open_both(folder, layers=1, seed=4, pooling="mean")
    assert (ours.layers, theirs.layers, ours.vocabulary, theirs.vocabulary) == (
        1,
        1,
        ours.vocabulary,
        ours.vocabulary,
    )
    assert torch.equal(ours.projection.weight, theirs.projection.weight)
    torch.testing.assert_close(
        theirs.embed(NOTES, dtype="fp32"), ours.embed(NOTES, dtype="fp32"), rtol=0, atol=NEAR
    )


def trained(model, folder=None, **changes):
    """Four steps in the dtype of the model, with both losses and two hashtag tasks."""
    dtype = "fp64" if model.projection.weight.dtype == torch.float64 else "fp32"
    options = TrainOptions(
        **{"pairs_per_step": 6, "max_steps": 4, "lr": 1e-3, "lr_head": 1e-2, "alpha": 0.5, "dtype": dtype}
        | changes
    )
    return Trainer(model, NOTES, *PAIRS, options, folder=folder).train()


def merged(model):
    """All weights by name, adapters merged."""
    if model.lora is not None:
        model.merge_lora()
    found = {name.removeprefix("model.model."): p for name, p in model.named_parameters()}
    return {name.removeprefix("model."): value.detach() for name, value in found.items()}


@pytest.mark.parametrize(
    ("dtype", "options", "lora"),
    [
        (torch.float64, {}, None),
        (torch.float64, {"micro_pairs": 2}, None),
        (torch.float64, {"checkpoint_layers": True}, None),
        (torch.float64, {"nested_dims": (3,), "csft_reduction": "token"}, None),
        (torch.float64, {}, LoraOptions(r=3, targets=("down_proj", "q_proj"))),
        (torch.float64, {"micro_pairs": 4, "alpha": 0.0}, LoraOptions(r=2, rslora=True)),
        (torch.float32, {"lr": 1e-4}, None),
    ],
)
def test_training_changes_the_same_weights_alike(folder, dtype, options, lora):
    runs = []
    for model in open_both(folder, dtype):
        if lora is not None:
            model.add_lora(lora, seed=5)
        runs.append((trained(model, **options), merged(model)))
    tolerance = EXACT if dtype == torch.float64 else NEAR
    for ours, theirs in zip(runs[0][0], runs[1][0], strict=True):
        for name in ("contrastive", "generative", "loss", "grad_norm", "tau"):
            near = pytest.approx(ours[name], rel=tolerance, abs=tolerance) if ours[name] is not None else None
            assert theirs[name] == near
    ours, theirs = runs[0][1], runs[1][1]
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        # in fp32 Adam's first steps follow the signs of gradients, some of which are rounding alone
        worst = 4e-4 if dtype == torch.float32 else EXACT
        torch.testing.assert_close(
            theirs[name], value, rtol=0, atol=worst, msg=lambda text, name=name: f"{name}: {text}"
        )
        if dtype == torch.float32:
            assert (theirs[name] - value).norm() <= 1e-3 * max(1.0, float(value.norm()))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"beams": 3},
        {"beams": 3, "length_penalty": 0.0},
        {"repetition_penalty": 1.3},
        {"batch_tokens": 200},
        {"stop": ("s",)},
    ],
)
def test_outputs(tiny_folder, options):
    ours, theirs = open_both(tiny_folder)
    asked = {"dtype": "fp32", "max_new_tokens": 8} | options
    assert theirs.generate_hashtags(NOTES, 3, **asked) == ours.generate_hashtags(NOTES, 3, **asked)
    assert theirs.generate_category(NOTES, **asked) == ours.generate_category(NOTES, **asked)


@pytest.mark.parametrize("options", [{}, {"max_new_tokens": 2}, {"beams": 2, "length_penalty": 0.0}])
def test_outputs_of_a_closed_set(tiny_folder, options):
    ours, theirs = open_both(tiny_folder)
    asked = {"dtype": "fp32", "categories": CATEGORIES} | options
    assert theirs.generate_category(NOTES, **asked) == ours.generate_category(NOTES, **asked)


@pytest.mark.parametrize("limit", [1, 1 << 24])
def test_scores_of_a_closed_set(folder, limit):
    ours, theirs = open_both(folder)
    for options in ({}, {"normalise_length": True}):
        found = score_categories(theirs, NOTES, CATEGORIES, dtype="fp32", max_logits=limit, **options)
        expected = score_categories(ours, NOTES, CATEGORIES, dtype="fp32", **options)
        torch.testing.assert_close(found.log_probs, expected.log_probs, rtol=NEAR, atol=NEAR)
        assert found.best == expected.best


def test_folders_go_both_ways(folder, tmp_path):
    ours, theirs = open_both(folder)
    trained(theirs, max_steps=2, nested_dims=(3,))
    theirs.save_pretrained(tmp_path / "saved")
    for kind in (NoteLLM, TransformersNoteLLM):
        again = kind.from_pretrained(tmp_path / "saved")
        assert (again.dim, again.nested_dims, again.end_tokens) == (6, (3,), theirs.end_tokens)
        found = again.embed(NOTES, dtype="fp32")
        torch.testing.assert_close(found, theirs.embed(NOTES, dtype="fp32"), rtol=0, atol=NEAR)
    ours.save_pretrained(tmp_path / "ours")
    found = TransformersNoteLLM.from_pretrained(tmp_path / "ours").embed(NOTES, dtype="fp32")
    torch.testing.assert_close(found, ours.embed(NOTES, dtype="fp32"), rtol=0, atol=NEAR)
