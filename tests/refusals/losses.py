"""Losses."""

import torch

from notellm import _core
from refusals import BEYOND, case, floats, wrong_indices, wrong_tensors

models, losses, retrieval = _core.models, _core.losses, _core.retrieval
prompts, metrics = _core.prompts, _core.metrics

pairs, tau, ids = floats(4, 3), torch.tensor(1.0), torch.tensor([0, 1, 0, 2])


@case
def gcl_loss():
    return (
        losses.gcl_loss,
        {"embeddings": pairs, "tau": tau, "note_ids": ids, "anchors": (0, 4), "tile_rows": 2},
        {
            "embeddings": [*wrong_tensors(pairs, any_float=True, any_width=True), pairs[:3], pairs[:0]],
            "tau": [torch.ones(2), torch.tensor(1), tau.to("meta"), None],
            "note_ids": [ids.float(), ids.int(), ids[:3], ids[None], ids.to("meta")],
            "anchors": [(-1, 4), (0, 5), (3, 2), (-BEYOND, BEYOND)],
            "tile_rows": [0, -2, 3],
        },
    )


@case
def nested_gcl_loss():
    return (
        losses.nested_gcl_loss,
        {"embeddings": pairs, "tau": tau, "nested_dims": [1, 2], "note_ids": ids, "anchors": (0, 4)},
        {
            "embeddings": [*wrong_tensors(pairs, any_float=True, any_width=True), pairs[:3], pairs[:0]],
            "tau": [torch.ones(2), None],
            "nested_dims": [[0], [-1], [2, 1], [1, 1], [3], [BEYOND], [1.5], None],
            "note_ids": [ids.float(), ids[:3]],
            "anchors": [(-1, 4), (0, 5)],
        },
    )


logits, labels, offsets = floats(3, 5), torch.tensor([0, 4, 2]), torch.tensor([0, 1, 3])
bad_offsets = [
    offsets.int(),
    offsets.float(),
    offsets[None],
    offsets[:0],
    offsets.to("meta"),
    torch.tensor([0, 1, 4]),
    torch.tensor([-1, 1, 3]),
    torch.tensor([0, BEYOND, 3]),
    torch.tensor([0, 2, 1, 3]),
    None,
]
shared = {"labels": labels, "label_offsets": offsets, "reduction": losses.CsftReduction.note}


@case
def csft_loss():
    return (
        losses.csft_loss,
        {"logits": logits} | shared,
        {
            "logits": [logits.long(), logits[:2], logits[0], logits.to("meta"), None],
            "labels": list(wrong_indices(labels, 5)),
            "label_offsets": bad_offsets,
        },
    )


states, head = floats(3, 6), floats(5, 6)


@case
def csft_head_loss():
    return (
        losses.csft_head_loss,
        {"states": states, "head": head, "compute": torch.float32} | shared,
        {
            "states": list(wrong_tensors(states, any_float=True)),
            "head": list(wrong_tensors(head, any_float=True)),
            "labels": list(wrong_indices(labels, 5)),
            "label_offsets": bad_offsets,
            "compute": [torch.float16, torch.int64],
        },
    )


term = losses.LossTerm(torch.tensor(1.0), 2)


@case
def joint_loss():
    return (
        losses.joint_loss,
        {"contrastive": term, "generative": term, "alpha": 0.1},
        {
            "contrastive": [
                losses.LossTerm(bad, 2)
                for bad in (torch.ones(2), torch.tensor(1), torch.tensor(1.0, device="meta"))
            ],
            "generative": [losses.LossTerm(torch.ones(2), 2), None],
            "alpha": [-1.0, float("nan"), float("inf")],
        },
    )
