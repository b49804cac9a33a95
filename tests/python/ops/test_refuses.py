"""Every function of the core that takes tensors, arrays or indices refuses what it cannot compute, before it reads it.

Its table is `refusals`: for each argument of each bound function, values that are wrong in one way. What was read or
written outside a tensor once would end the process, not the test.
"""

import numpy as np
import pytest
import torch

import refusals
from notellm import _core
from notellm.models.decoder import Decoder
from refusals import arrays, floats, losses, metrics, models, ops, retrieval
from refusals.parts import HF, plan_of

REFUSALS = (ValueError, IndexError, TypeError, NotImplementedError)
TABLES = (arrays, losses, metrics, ops, retrieval)
"""Imported for what they add to `refusals.CASES`."""

BOTH = pytest.mark.parametrize("loops", ["", "none"], ids=["loops", "composed"], indirect=True)
pytestmark = pytest.mark.instruction_set


@pytest.fixture
def loops(request, use):
    use(request.param)


def check_refusals(call, right, wrong):
    """The right arguments are taken; with any one that is wrong, the call is refused."""
    call(**right)
    taken = []
    for argument, values in wrong.items():
        for number, value in enumerate(values):
            try:
                call(**(right | {argument: value}))
                taken.append(f"{argument}, {number}: {value!r}")
            except REFUSALS:
                pass
            except BaseException as error:
                taken.append(f"{argument}, {number}: {type(error).__name__}: {error}")
    assert taken == []


@BOTH
@pytest.mark.parametrize("name", refusals.CASES)
def test_each_wrong_argument_is_refused(name, loops):
    check_refusals(*refusals.CASES[name]())


@BOTH
@pytest.mark.parametrize("make", models.CALLS, ids=lambda make: make.__name__)
def test_calls_over_a_model_refuse_wrong_tensors_and_indices(make, loops, tiny, notes):
    check_refusals(*make(tiny, tiny.prompt.tokenize(notes)))


def test_the_tables_speak_of_every_function():
    listed = set(refusals.CASES) | {make.__name__ for make in models.CALLS}
    listed |= {"category_tokens"}  # within `score_categories`
    others = {"wide_dtype", "multiplies_bf16", "matrix_bytes", "check_pieces"}  # nothing to reach
    others |= {"bleu_counts", "rouge_1", "rouge_2", "rouge_l", "faiss_version"}  # texts, or nothing
    parts = (
        _core.ops,
        _core.models,
        _core.losses,
        _core.retrieval,
        _core.prompts,
        _core.metrics,
        _core.generation,
    )
    bound = {
        name
        for part in (*parts, _core.mining, _core.embedding)
        for name, value in vars(part).items()
        if callable(value) and not isinstance(value, type) and not name.startswith("_")
    }
    assert bound - listed - others == set()


@BOTH
def test_a_block_refuses_halves_and_narrow_weights(loops):
    layer, plan, x = Decoder(HF).layers[0], plan_of(), floats(5, 12)
    for bad in (x.half(), x.bfloat16(), x.double()):
        with pytest.raises(ValueError, match=r"decoder_layer: x must be \(\*, 12\) of float32, but is"):
            layer(bad, plan)
    with pytest.raises(ValueError, match=r"rms_norm: weight must be \(64\) of a floating-point dtype"):
        _core.ops.rms_norm(torch.ones(4, 64), torch.ones(32), 1e-5)


@BOTH
def test_empty_rows_are_no_fault(loops):
    """Rows of no columns were divided by."""
    assert _core.ops.rms_norm(torch.ones(3, 0), torch.ones(0), 1e-5).shape == (3, 0)
    assert _core.ops.rms_norm(torch.ones(0, 4), torch.ones(4), 1e-5).shape == (0, 4)


def test_prompts_of_another_tokenizer_are_refused(tiny, notes):
    """Ids beyond the embedding table."""
    call, right, _ = models.embed_notes(tiny, tiny.prompt.tokenize(notes))
    own = right["notes"]
    ids = own.titles.ids.copy()
    ids[-1] = 400_000
    titles = _core.prompts.TokenLists(ids, own.titles.offsets)
    others = _core.prompts.TokenizedNotes(
        titles, own.contents, own.categories, own.hashtags, own.hashtag_offsets
    )
    with pytest.raises(IndexError, match="embed: tokens must be in"):
        call(**(right | {"notes": others, "indices": range(len(others))}))


@pytest.mark.skipif(not _core.has_faiss, reason="this build has no FAISS")
def test_an_index_refuses_wrong_pools_and_queries():
    pool, queries = floats(6, 4), floats(3, 4)
    pools = [pool.long(), pool[0], pool[:0], pool.to("meta"), pool * torch.nan, None]
    check_refusals(_core.retrieval.NeighbourIndex, {"pool": pool, "factory": "Flat"}, {"pool": pools})
    index = _core.retrieval.NeighbourIndex(pool, "Flat")
    wrong = {
        "queries": [queries[:, :3], queries.double(), queries.long(), queries.to("meta"), queries * np.inf],
        "k": [0, -1],
        "exclude": [torch.tensor([6, 0, 0]), torch.tensor([0, 0]), torch.zeros(3)],
    }
    check_refusals(index.search, {"queries": queries, "k": 2, "exclude": torch.tensor([1, 2, -1])}, wrong)


def test_structs_of_the_core_name_the_argument_of_another_type():
    with pytest.raises(TypeError, match="DecoderConfig: width must be of another type, but is <class 'str'>"):
        _core.models.DecoderConfig(width="a")
    with pytest.raises(TypeError, match="LayerWeights: query must be of another type"):
        _core.models.LayerWeights(query="a")
    with pytest.raises(TypeError, match="RopeOptions: knows the arguments head_dim "):
        _core.models.RopeOptions(width=1)
