"""Greedy decoding against the naive loop, and the texts that come of it."""

import pytest
import torch

from notellm import _core
from notellm.data import Notes
from notellm.generation import DecodingOptions, generate_category, generate_hashtags

pytestmark = pytest.mark.instruction_set


def naive_greedy(model, notes, row, limit):
    """One note, no cache: the whole sequence anew for every token."""
    batch = model.prompt.pack_rows(model.prompt.tokenize(notes), [row], mode="generate")
    tokens = torch.tensor(batch.tokens)
    output = []
    while len(output) < limit:
        plan = model.model.plan(_core.models.Segments([0, len(tokens)], [-1]), torch.float32)
        with torch.no_grad():
            states = model.model(tokens, plan)
            best = int((states[-1] @ model.head_weight.T).argmax())
        if best == model.eos_token_id:
            break
        output.append(best)
        tokens = torch.cat([tokens, torch.tensor([best])])
    return output


def category_rows(model, notes):
    return model.prompt.rows(model.prompt.tokenize(notes), range(len(notes)), mode="generate")


def decode(model, notes, rows, limit, batch_tokens=8192):
    return _core.generation.generate(
        model.core_weights(),
        model.prompt.core,
        model.prompt.tokenize(notes),
        rows,
        DecodingOptions(max_new_tokens=limit, batch_tokens=batch_tokens),
        compute=torch.float32,
    )


@pytest.mark.parametrize("instruction_set", ["", "none"])
@pytest.mark.parametrize("batch_tokens", [1, 300, 8192])
def test_cached_batches_equal_the_naive_loop(batch_tokens, instruction_set, tiny, notes, use):
    use(instruction_set)
    rows = category_rows(tiny, notes)
    tokenized = tiny.prompt.tokenize(notes)
    for count in (1, 2, 3):
        some = range(count, len(notes), 3)
        rows += tiny.prompt.rows(tokenized, some, task="hashtags", mode="generate", count=count)
    expected = [naive_greedy(tiny, notes, row, 7) for row in rows]
    assert decode(tiny, notes, rows, 7, batch_tokens) == expected
    assert len({tuple(output) for output in expected}) > 5


def test_equal_prompts_and_prompts_of_any_order_are_answered_in_place(tiny, notes):
    rows = category_rows(tiny, notes)
    shuffled = [rows[i] for i in (5, 2, 5, 9, 2, 5)]
    expected = [naive_greedy(tiny, notes, row, 7) for row in shuffled]
    assert len({tuple(output) for output in expected}) == 3
    assert decode(tiny, notes, shuffled, 7) == expected
    assert decode(tiny, notes, shuffled, 7, batch_tokens=1) == expected
    assert decode(tiny, notes, [], 7) == []


@pytest.mark.parametrize("batch_tokens", [1, 300, 700, 8192])
def test_stops_at_the_end_token(batch_tokens, tiny, notes):
    rows = category_rows(tiny, notes)
    free = decode(tiny, notes, rows, 7)
    # make a token that was written early the end token by giving the end token's row its direction, only longer
    early = free[3][2]
    tiny.model.embed_tokens.weight.data[tiny.eos_token_id] = 1.05 * tiny.model.embed_tokens.weight.data[early]
    outputs = decode(tiny, notes, rows, 7, batch_tokens)
    assert outputs == [naive_greedy(tiny, notes, row, 7) for row in rows]
    assert any(len(output) < 7 for output in outputs)
    assert all(tiny.eos_token_id not in output for output in outputs)


def test_text_comes_back_clean(tiny, notes):
    categories = generate_category(tiny, notes, max_new_tokens=4)
    assert len(categories) == len(notes)
    assert all(text == text.strip() for text in categories)
    hashtags = generate_hashtags(tiny, notes, 3, max_new_tokens=6)
    assert len(hashtags) == len(notes)
    assert all(len(set(tags)) == len(tags) and "" not in tags for tags in hashtags)


def test_notes_without_any_text_get_an_output(tiny):
    empty = Notes(["a"], [""], [""], [[]], [""])
    assert len(generate_category(tiny, empty)) == 1
    assert len(generate_hashtags(tiny, empty, 2)) == 1
    assert generate_category(tiny, empty.take([])) == []


def test_refuses(tiny, notes):
    with pytest.raises(ValueError, match="max_new_tokens must be at least 1, but is 0"):
        generate_category(tiny, notes, max_new_tokens=0)
    with pytest.raises(ValueError, match="max_new_tokens must be at most 1048576, but is 2097152"):
        generate_category(tiny, notes, max_new_tokens=1 << 21)
    with pytest.raises(ValueError, match="batch_tokens must be at least 1, but is 0"):
        generate_category(tiny, notes, batch_tokens=0)
    with pytest.raises(ValueError, match="number of hashtags asked for must be in .*, but is 0"):
        generate_hashtags(tiny, notes, 0)
    with pytest.raises(ValueError, match="max_values must be in .*, but is 0"):
        generate_hashtags(tiny, notes, 0, vocabulary=["web"])
    with pytest.raises(ValueError, match="context of 512 tokens, but that of request 0 takes .*; try"):
        generate_category(tiny, notes, max_new_tokens=480)
