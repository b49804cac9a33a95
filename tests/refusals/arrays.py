"""Token lists, forests, plans, samplers and logs: NumPy arrays and lists of indices."""

import numpy as np
import torch

from notellm import _core
from refusals import BEYOND, case
from refusals.parts import CPU, bad_configs, config_of, plan_of

models, losses, retrieval = _core.models, _core.losses, _core.retrieval
prompts, metrics = _core.prompts, _core.metrics

ids, offsets = np.arange(5, dtype=np.int32), np.array([0, 3, 5])
bad_offsets = [
    offsets.astype(float),
    offsets.astype(np.uint64),
    offsets[1:],
    offsets[:0],
    offsets[None],
    np.array([0, 3, 6]),
    np.array([0, BEYOND, 5]),
    np.array([0, 4, 3, 5]),
    np.array([-1, 3, 5]),
]
bad_ids = [ids.astype(float), ids.astype(np.int64), ids.astype(np.uint32), ids[None], ids[:4]]


@case
def TokenLists():
    return (
        prompts.TokenLists,
        {"ids": ids, "offsets": offsets},
        {"ids": bad_ids, "offsets": bad_offsets},
    )


lists = prompts.TokenLists(ids, offsets)


@case
def prefix_forest():
    return (
        prompts.prefix_forest,
        {"sequences": lists, "min_shared": 1, "own_tail": 0},
        {"min_shared": [0, -1], "own_tail": [-1, -BEYOND]},
    )


@case
def prefix_batches():
    return (
        prompts.prefix_batches,
        {"sequences": lists, "budget": 8, "room": 0, "min_shared": 1, "own_tail": 0},
        {"budget": [0, -1], "room": [-1, -BEYOND], "min_shared": [0], "own_tail": [-1]},
    )


parents = np.array([-1, 0])


@case
def path_to():
    return (
        prompts.path_to,
        {"segment_offsets": offsets, "segment_parents": parents, "token": 4},
        {
            "segment_offsets": [bad for bad in bad_offsets if list(bad.flat) != [0, 3, 6]],
            "segment_parents": [
                parents.astype(float),
                parents[None],
                parents[:1],
                np.array([-1, 1]),
                np.array([-2, 0]),
                np.array([BEYOND, 0]),
            ],
            "token": [-1, 5, BEYOND, -BEYOND, 1.5],
        },
    )


@case
def Segments():
    return (
        lambda **given: models.Segments(**given).mask(),
        {"offsets": [0, 3, 5], "parents": [-1, 0]},
        {
            "offsets": [[0, 3], [1, 3, 5], [0, 3, 3], [0, 5, 3], [0, 2**63 - 1, -(2**63)], [], [0.5, 1, 2]],
            "parents": [[-1], [-1, 1], [-2, 0], [BEYOND, 0], [0, -1]],
        },
    )


@case
def plan_decoder():
    return (
        models.plan_decoder,
        {
            "segments": models.Segments([0, 3, 5], [-1, 0]),
            "config": config_of(),
            "compute": torch.float32,
            "device": CPU,
            "read_rows": [0, 4],
        },
        {
            "config": [
                c for c in bad_configs() if c.rope.head_dim != 6 and c.width != 13 and c.inner_width != 9
            ],
            "compute": [torch.float16, torch.int64],
            "read_rows": [[-1], [5], [BEYOND], [-BEYOND]],
        },
    )


@case
def with_dropout():
    return (
        models.with_dropout,
        {
            "plan": plan_of(),
            "segments": models.Segments([0, 3, 5], [-1, 0]),
            "tokens": [1, 2, 3, 4, 5],
            "seed": 3,
        },
        {"tokens": [[1, 2], [1] * 6, []], "segments": [models.Segments([0, 5, 9], [-1, 0])]},
    )


sampler = {
    "sources": np.array([0, 1]),
    "targets": np.array([1, 2]),
    "hashtag_counts": np.array([0, 2, 1]),
    "pairs_per_step": 1,
    "hashtag_ratio": 0.5,
    "seed": 0,
    "count_policy": prompts.CountPolicy.one,
    "max_count": 2,
}
outside = [
    np.array([0, 3]),
    np.array([-1, 1]),
    np.array([BEYOND, 0]),
    np.array([0.0, 1.0]),
    np.array([0]),
]


@case
def PairSampler():
    return (
        prompts.PairSampler,
        sampler,
        {
            "sources": outside,
            "targets": outside,
            "hashtag_counts": [np.array([0, -1, 0]), np.array([0, BEYOND, 0]), np.array([0]), np.zeros(3)],
            "pairs_per_step": [0, -1, 3, BEYOND],
            "hashtag_ratio": [-0.1, 1.1, float("nan")],
            "max_count": [0, -1],
        },
    )


@case
def PairSampler_plan():
    return (
        prompts.PairSampler(**sampler).plan,
        {"step": 1, "pairs": np.array([1])},
        {
            "step": [-1, -BEYOND],
            "pairs": [np.array([2]), np.array([-1]), np.array([BEYOND]), np.array([0, 1]), np.array([0.0])],
        },
    )


log = {
    "users": np.array([0, 0, 1]),
    "notes": np.array([0, 1, 1]),
    "times": np.array([1, 2, 3]),
    "events": np.array([0, 1, 1], dtype=np.int8),
    "user_count": 2,
    "note_count": 2,
    "is_ordered": True,
    "options": _core.options.MiningOptions(),
}
codes = [np.array([0, 0, 2]), np.array([0, 0, -1]), np.array([0, 0, BEYOND]), np.zeros(3), np.array([0])]


@case
def mine_cooccurrence():
    return (
        _core.mining.mine_cooccurrence,
        log,
        {
            "users": codes,
            "notes": codes,
            "times": [np.array([1, 2]), np.array([1.5, 2, 3])],
            "events": [
                np.array([0, 1, 256]),
                np.array([0, 1, 2], dtype=np.int8),
                np.array([0], dtype=np.int8),
            ],
            "user_count": [1, 0, -1, BEYOND],
            "note_count": [1, 0, -1, BEYOND],
        },
    )
