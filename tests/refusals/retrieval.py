"""Ranks and neighbours."""

import torch

from notellm import _core
from refusals import BEYOND, case, floats, wrong_indices, wrong_tensors

models, losses, retrieval = _core.models, _core.losses, _core.retrieval
prompts, metrics = _core.prompts, _core.metrics

queries, pool = floats(3, 4), floats(6, 4)
targets, exclude = torch.tensor([0, 5, 2]), torch.tensor([[1, 2], [-1, 0], [5, 5]])
bad_exclude = [
    exclude.float(),
    exclude.int(),
    exclude[:2],
    exclude[None],
    exclude.to("meta"),
    torch.tensor([6, 0, 0]),
    torch.tensor([-2, 0, 0]),
    torch.tensor([BEYOND, 0, 0]),
]
shared = {
    "queries": [*wrong_tensors(queries), queries * torch.nan, queries * torch.inf],
    "pool": [*wrong_tensors(pool), pool * torch.nan],
    "exclude": bad_exclude,
    "query_tile": [-1, -BEYOND],
    "pool_tile": [-1, -BEYOND],
}
# halves are widened: wrong only beside the other's dtype, which they then share
for name in ("queries", "pool"):
    shared[name] = [v for v in shared[name] if v is None or v.dtype not in (torch.float16, torch.bfloat16)]
own = {"queries": queries, "pool": pool, "exclude": exclude, "query_tile": 2, "pool_tile": 4}


@case
def truncated():
    wrong = {"vectors": list(wrong_tensors(pool, any_float=True, any_width=True)), "dim": [0, -1, 5, BEYOND]}
    return _core.embedding.truncated, {"vectors": pool, "dim": 2}, wrong


@case
def target_ranks():
    return (
        retrieval.target_ranks,
        own | {"targets": targets},
        shared | {"targets": list(wrong_indices(targets, 6))},
    )


@case
def target_ranks_on_device():
    call, arguments, wrong = target_ranks()
    return call, arguments | {"on_device": True}, wrong


@case
def neighbours_on_device():
    call, arguments, wrong = neighbours()
    return call, arguments | {"on_device": True}, wrong


@case
def neighbours():
    return retrieval.neighbours, own | {"k": 2}, shared | {"k": [0, -1, -BEYOND]}


@case
def ranks_in_part():
    wrong = {name: values for name, values in shared.items() if name != "pool"}
    rows = {"targets": pool[targets], "part": pool}
    return (
        retrieval.ranks_in_part,
        {name: value for name, value in own.items() if name != "pool"} | rows,
        wrong | {"part": shared["pool"], "targets": [*shared["queries"], pool[:2]]},
    )


@case
def nearest_among():
    candidates = torch.tensor([[0, 5, -1], [1, -1, -1], [2, 3, 4]])
    outside = [torch.where(candidates == 5, place, candidates) for place in (6, -2, BEYOND, -BEYOND)]
    return (
        retrieval.nearest_among,
        {"queries": queries, "pool": pool, "candidates": candidates, "k": 2},
        {
            "queries": shared["queries"],
            "pool": shared["pool"],
            "candidates": [candidates.float(), candidates.int(), candidates[:2], candidates[0], *outside],
            "k": [0, -1, -BEYOND],
        },
    )
