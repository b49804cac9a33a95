import dataclasses

import numpy as np
import pytest

from notellm._core.prompts import Task

PAIRS = 12


@pytest.fixture
def many(notes):
    """24 notes, every fourth of them without hashtags; pair p is notes 2p and 2p + 1."""
    notes.titles = [f"note {i}" for i in range(2 * PAIRS)]
    notes.contents = ["text"] * (2 * PAIRS)
    notes.topics = [[f"t{k}" for k in range(i % 4)] for i in range(2 * PAIRS)]
    notes.categories = ["games"] * (2 * PAIRS)
    return notes


def make_sampler(prompt, notes, **options):
    sources = np.arange(0, 2 * PAIRS, 2)
    return prompt.sampler(
        prompt.tokenize(notes), sources, sources + 1, **{"pairs_per_step": 4, "hashtag_ratio": 0.4, **options}
    )


def as_tuple(plan):
    rows = [(row.note, row.task, row.count, tuple(row.chosen)) for row in plan.prompts]
    return plan.note_ids.tolist(), rows, plan.hashtag_shortfall


def test_plans_depend_on_seed_and_step_only(paper, many):
    forward = [as_tuple(make_sampler(paper, many, seed=3).plan(step)) for step in range(9)]
    sampler = make_sampler(paper, many, seed=3)
    for step in (8, 0, 5, 5, 2):
        assert as_tuple(sampler.plan(step)) == forward[step]
    assert as_tuple(make_sampler(paper, many, seed=4).plan(0)) != forward[0]


def test_an_epoch_is_a_permutation_of_the_pairs(paper, many):
    sampler = make_sampler(paper, many)
    assert sampler.steps_per_epoch == 3
    epochs = [
        np.concatenate([sampler.plan(3 * epoch + step).note_ids for step in range(3)]) for epoch in range(4)
    ]
    for notes in epochs:
        assert sorted(notes.tolist()) == list(range(2 * PAIRS))
        assert (notes[1::2] == notes[::2] + 1).all()
    assert len({tuple(notes) for notes in epochs}) == 4


@pytest.mark.parametrize(("share", "wanted"), [(0.0, 0), (0.4, 10), (0.75, 18), (1.0, 24)])
def test_the_share_of_hashtag_tasks_and_the_shortfall(paper, many, share, wanted):
    plan = make_sampler(paper, many, hashtag_ratio=share, pairs_per_step=12).plan(0)
    tasks = [row.task for row in plan.prompts]
    assert tasks.count(Task.hashtags) == min(wanted, 18)  # 18 notes have hashtags
    assert plan.hashtag_shortfall == max(0, wanted - 18)
    assert all(row.note % 4 for row in plan.prompts if row.task is Task.hashtags)
    assert [row.note for row in plan.prompts] == plan.note_ids.tolist()


@pytest.mark.parametrize(("policy", "counts"), [("one", {1}), ("uniform", {1, 2, 3}), ("all", {1, 2, 3})])
def test_the_count_policy_of_the_configuration_is_followed(compile_prompt, paper, many, policy, counts):
    prompt = compile_prompt(dataclasses.replace(paper.config, hashtag_count=policy))
    sampler = make_sampler(prompt, many, hashtag_ratio=1.0)
    rows = [row for step in range(60) for row in sampler.plan(step).prompts if row.task is Task.hashtags]
    assert {row.count for row in rows} == counts
    for row in rows:
        assert row.count == len(row.chosen) == len(set(row.chosen))
        assert row.count <= row.note % 4
        if policy == "all":
            assert row.count == row.note % 4


def test_a_plan_can_be_packed_whole_or_in_slices(paper, many):
    tokenized = paper.tokenize(many)
    plan = make_sampler(paper, many, hashtag_ratio=0.5).plan(1)
    whole = paper.pack_rows(tokenized, plan.prompts)
    halves = [paper.pack_rows(tokenized, plan.prompts[part]) for part in (slice(0, 4), slice(4, 8))]
    assert len(whole) == 8
    assert whole.labels.tolist() == halves[0].labels.tolist() + halves[1].labels.tolist()


def test_bad_options_are_refused(paper, many):
    with pytest.raises(ValueError, match="at least 13 pairs for one step, but there are 12"):
        make_sampler(paper, many, pairs_per_step=13)
    with pytest.raises(ValueError, match=r"hashtag_ratio must be in \[0, 1\], but is -0.1"):
        make_sampler(paper, many, hashtag_ratio=-0.1)
    with pytest.raises(IndexError, match=r"a pair's note must be in \[0, 24\), but is 24"):
        paper.sampler(paper.tokenize(many), [24], [0], pairs_per_step=1, hashtag_ratio=0.4)
    with pytest.raises(ValueError, match="step must be at least 0, but is -1"):
        make_sampler(paper, many).plan(-1)
    with pytest.raises(ValueError, match=r"^PairSampler: seed must be in \[0, 2\^64\), but is -1$"):
        make_sampler(paper, many, seed=-1)
    with pytest.raises(ValueError, match=r"^PairSampler: sources must have one dimension, but has 2$"):
        paper.sampler(paper.tokenize(many), [[0, 2]], [1, 3], pairs_per_step=1, hashtag_ratio=0.4)
