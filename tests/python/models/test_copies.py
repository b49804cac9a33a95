"""Models are copied and pickled as other modules are: for averages of weights, processes of a pool, other tools."""

import copy
import io
import pickle

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from notellm import LoraOptions, NoteLLM, TransformersNoteLLM, _core


def same(model, other, notes):
    assert other is not model
    assert torch.equal(torch.as_tensor(other.embed(notes)), torch.as_tensor(model.embed(notes)))
    assert other.generate_category(notes) == model.generate_category(notes)


def pickled(model):
    return pickle.loads(pickle.dumps(model))


def saved(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.fixture(params=[NoteLLM, TransformersNoteLLM])
def model(request, tiny_folder):
    return request.param.from_pretrained(tiny_folder, dim=6)


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled, saved])
def test_a_copy_computes_the_same(model, notes, copied):
    same(model, copied(model), notes)


def test_a_copy_has_weights_of_its_own(tiny, notes):
    before = tiny.embed(notes)
    other = copy.deepcopy(tiny)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert (tiny.embed(notes) == before).all()


def test_a_copy_keeps_its_adapters(tiny, notes):
    tiny.add_lora(LoraOptions(r=2))
    with torch.no_grad():
        for parameter in tiny.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    same(tiny, copy.deepcopy(tiny), notes)


def test_an_average_of_weights(tiny, notes):
    averaged = AveragedModel(tiny)
    averaged.update_parameters(tiny)
    assert (averaged.module.embed(notes) == tiny.embed(notes)).all()


def test_a_prompt_is_copied_whole(tiny, notes):
    """What a copied tokenizer loses: that names of special tokens in a note are plain text."""
    other = pickled(tiny.prompt)
    text = ["<|im_start|> [EMB] a"]
    assert other.encode_values(text) == tiny.prompt.encode_values(text)
    assert (other.config, other.bos_token_ids) == (tiny.prompt.config, tiny.prompt.bos_token_ids)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled])
def test_weights_of_a_block_are_copied_without_those_that_it_lacks(copied):
    adapter = _core.models.Adapter(torch.ones(1, 3), torch.ones(2, 1), 0.5)
    block = _core.models.LayerWeights(
        query=torch.ones(2, 3), adapters=_core.models.LayerAdapters(key=adapter, dropout=0.25)
    )
    other = copied(block)
    assert torch.equal(other.query, block.query)
    assert other.key is None
    assert other.adapters.dropout == 0.25
    down, up, scale = other.adapters.key.__reduce__()[1]
    assert (down.shape, up.shape, scale) == ((1, 3), (2, 1), 0.5)
    assert copied(_core.models.LayerWeights()).query is None
    assert copied(_core.models.Adapter()).__reduce__()[1] == ()
