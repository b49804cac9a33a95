"""Shared prefixes against their definition: each sequence alone, and a trie of dictionaries."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from notellm import _core
from notellm._core.prompts import TokenLists, path_to, prefix_batches, prefix_forest
from notellm.losses import csft_term, gcl_term, joint_loss
from notellm.prompts import load_prompt
from samples import make_notes

sequences = st.lists(st.lists(st.integers(0, 2), max_size=12), max_size=12)


def as_lists(sequences):
    ids = np.array([token for sequence in sequences for token in sequence], np.int32)
    return TokenLists(ids, np.cumsum([0, *map(len, sequences)]))


def read(forest, last):
    return path_to(forest.segment_offsets, forest.segment_parents, last) if last >= 0 else np.array([], int)


def trie_size(sequences):
    return len({tuple(sequence[: end + 1]) for sequence in sequences for end in range(len(sequence))})


def trie_size_with_tails(sequences, own_tail):
    """The same with each sequence's last tokens unlike all others'."""
    marked = [
        [(token, None if place < len(s) - own_tail else number) for place, token in enumerate(s)]
        for number, s in enumerate(sequences)
    ]
    return trie_size(marked)


@settings(max_examples=300, deadline=None)
@given(sequences=sequences, min_shared=st.integers(1, 6), own_tail=st.integers(0, 3))
def test_every_sequence_is_read_back_along_its_path(sequences, min_shared, own_tail):
    forest = prefix_forest(as_lists(sequences), min_shared=min_shared, own_tail=own_tail)
    segments = _core.models.Segments(forest.segment_offsets.tolist(), forest.segment_parents.tolist())
    positions = segments.positions().numpy()
    mask = segments.mask().numpy()
    for sequence, last in zip(sequences, forest.last, strict=True):
        path = read(forest, last)
        assert forest.tokens[path].tolist() == sequence
        assert positions[path].tolist() == list(range(len(sequence)))
        if sequence:  # the last token attends to the sequence and to nothing else
            assert np.flatnonzero(mask[last]).tolist() == sorted(path)
    total = sum(map(len, sequences))
    least = trie_size_with_tails(sequences, own_tail) if own_tail else trie_size(sequences)
    assert least <= len(forest.tokens) <= total
    if min_shared == 1:
        assert len(forest.tokens) == least


@settings(max_examples=200, deadline=None)
@given(sequences=sequences, min_shared=st.integers(1, 6), own_tail=st.integers(0, 3))
def test_segments_are_as_long_and_leaves_as_own_as_asked_for(sequences, min_shared, own_tail):
    forest = prefix_forest(as_lists(sequences), min_shared=min_shared, own_tail=own_tail)
    lengths, parents = np.diff(forest.segment_offsets), forest.segment_parents
    assert (parents < np.arange(len(parents))).all()
    is_inner = np.isin(np.arange(len(parents)), parents)
    assert (lengths[is_inner] >= min_shared).all()
    assert all(np.count_nonzero(parents == s) >= 2 for s in np.flatnonzero(is_inner))
    ends = [last for last in forest.last if last >= 0]
    if own_tail:
        leaves = np.searchsorted(forest.segment_offsets, ends, side="right") - 1
        assert len(set(leaves)) == len(ends)
        assert not is_inner[leaves].any()
        for sequence, last, leaf in zip(filter(None, sequences), ends, leaves, strict=True):
            assert last == forest.segment_offsets[leaf + 1] - 1
            assert lengths[leaf] >= min(own_tail, len(sequence))


@settings(max_examples=200, deadline=None)
@given(sequences=sequences, budget=st.integers(1, 60), room=st.integers(0, 3), own_tail=st.integers(0, 1))
def test_batches_hold_every_sequence_once_within_the_budget(sequences, budget, room, own_tail):
    options = {"min_shared": 3, "own_tail": own_tail}
    rows, groups, batches = prefix_batches(as_lists(sequences), budget=budget, room=room, **options)
    assert sorted(rows) == list(range(len(sequences)))
    distinct = []
    for begin, end in zip(groups, groups[1:], strict=False):
        (sequence,) = {tuple(sequences[row]) for row in rows[begin:end]}
        distinct.append(sequence)
    assert len(set(distinct)) == len(distinct) == len(set(map(tuple, sequences)))
    assert [batches[0], batches[-1]] == [0, len(distinct)]
    for begin, end in zip(batches, batches[1:], strict=False):
        forest = prefix_forest(as_lists(distinct[begin:end]), **options)
        assert end == begin + 1 or len(forest.tokens) + room * (end - begin) <= budget


def states_of(model, tokens, offsets, parents):
    plan = model.model.plan(_core.models.Segments(offsets, parents), torch.float64)
    with torch.no_grad():
        return model.model(torch.as_tensor(tokens), plan)


@pytest.mark.parametrize("own_tail", [0, 1])
@pytest.mark.parametrize("min_shared", [1, 4])
def test_states_equal_those_of_each_sequence_alone(min_shared, own_tail, tiny):
    model = tiny.double()
    rng = np.random.default_rng(0)
    stem = rng.integers(0, 300, 30).tolist()
    sequences = [
        stem[:cut] + rng.integers(0, 2, tail).tolist() for cut in (5, 17, 30) for tail in (0, 2, 6, 6)
    ]
    sequences += [[7], stem, stem, stem[:1], sequences[3]]
    forest = prefix_forest(as_lists(sequences), min_shared=min_shared, own_tail=own_tail)
    assert len(forest.tokens) < sum(map(len, sequences)) / 2
    states = states_of(
        model, forest.tokens.copy(), forest.segment_offsets.tolist(), forest.segment_parents.tolist()
    )
    for sequence, last in zip(sequences, forest.last, strict=True):
        alone = states_of(model, sequence, [0, len(sequence)], [-1])
        torch.testing.assert_close(states[read(forest, last).tolist()], alone, rtol=0, atol=1e-10)


def duplicates_and_prefixes():
    """Notes of which many are equal or go on from one another."""
    notes = make_notes(5)
    picked = notes.take([0, 1, 2, 3, 4, 1, 2, 2, 1, 3])
    for i in (5, 9):
        picked.contents[i] += " and more"
    picked.categories[8] = "another"  # the same prompt with another answer
    return picked


def joint(model, batches):
    outs = [model(batch, torch.float64) for batch in batches]
    embeddings = torch.cat([out.embeddings for out in outs])
    logits = torch.cat([model.logits(out.labelled, torch.float64) for out in outs])
    labels = torch.tensor(np.concatenate([batch.labels for batch in batches]))
    counts = np.concatenate([np.diff(batch.label_offsets) for batch in batches])
    generative = csft_term(logits, labels, torch.tensor(np.cumsum([0, *counts])))
    return joint_loss(gcl_term(embeddings, model.tau), generative, alpha=0.3)


@pytest.mark.parametrize("prompt", ["paper", "release_zh", "bare"])
def test_loss_and_gradients_equal_those_of_notes_packed_alone(prompt, tiny_folder):
    from notellm.models.notellm import NoteLLM

    model = NoteLLM.from_pretrained(tiny_folder, dim=6, prompt=load_prompt(prompt)).double()
    notes = duplicates_and_prefixes()
    tokenized = model.prompt.tokenize(notes)
    rows = model.prompt.rows(tokenized, range(10))
    tagged = [i for i in range(10) if notes.topics[i]]
    rows += [
        row for count in (1, 2) for row in model.prompt.rows(tokenized, tagged, task="hashtags", count=count)
    ]
    rows = rows[: len(rows) // 2 * 2]  # pairs
    together, alone = (
        model.prompt.pack_rows(tokenized, rows),
        [model.prompt.pack_rows(tokenized, [r]) for r in rows],
    )
    assert len(together.tokens) < 0.6 * sum(len(batch.tokens) for batch in alone)
    assert len(set(together.label_positions)) < len(together.label_positions)
    results = []
    for batches in ([together], alone):
        model.zero_grad()
        loss = joint(model, batches)
        loss.backward()
        results.append({"loss": loss.detach()} | {name: p.grad for name, p in model.named_parameters()})
    for name, value in results[0].items():
        torch.testing.assert_close(
            value, results[1][name], rtol=1e-10, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_refuses(tiny):
    with pytest.raises(ValueError, match="min_shared must be at least 1, but is 0"):
        prefix_forest(as_lists([[1]]), min_shared=0)
    with pytest.raises(ValueError, match="own_tail must be at least 0, but is -1"):
        prefix_forest(as_lists([[1]]), own_tail=-1)
    with pytest.raises(ValueError, match="token budget must be at least 1, but is 0"):
        prefix_batches(as_lists([[1]]), budget=0)
