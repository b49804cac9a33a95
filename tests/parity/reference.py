"""Plain-torch references written from the specification: slow, obvious, and nothing from the library under test."""

import torch
from torch import Tensor


def nt_xent(
    embeddings: Tensor,
    tau: Tensor,
    note_ids: Tensor | None = None,
    log_q: Tensor | None = None,
    negatives: int = 0,
) -> Tensor:
    """Eq. (2), anchor by anchor, as it is printed; with the logQ correction, and rows that are only negatives."""
    unit = torch.nn.functional.normalize(embeddings, dim=1)
    losses = []
    for i in range(len(unit) - negatives):
        partner = i + 1 if i % 2 == 0 else i - 1
        logits, target = [], 0
        for j in range(len(unit)):
            if j == i:
                continue
            if j == partner:
                target = len(logits)
            elif note_ids is not None and note_ids[j] in (note_ids[i], note_ids[partner]):
                continue
            correction = 0.0 if log_q is None else log_q[j]
            logits.append(tau.exp() * (unit[i] @ unit[j]) - correction)
        losses.append(-torch.log_softmax(torch.stack(logits), 0)[target])
    return torch.stack(losses).mean()


def generative(logits: list[Tensor], labels: list[Tensor], reduction: str = "note") -> Tensor:
    """Eq. (3): one (tokens, V) matrix and one label list a note."""
    losses = [
        torch.nn.functional.cross_entropy(note_logits, note_labels, reduction="none")
        for note_logits, note_labels in zip(logits, labels, strict=True)
        if len(note_labels)
    ]
    if reduction == "token":
        return torch.cat(losses).mean()
    return torch.stack([loss.mean() for loss in losses]).mean()


def masked_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Softmax attention with an explicit (T, T) mask. q: (T, H, E); k, v: (T, K, E). Returns (T, H * E)."""
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scores = torch.einsum("ihe,jhe->hij", q, k) / q.shape[2] ** 0.5
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
    return torch.einsum("hij,jhe->ihe", weights, v).flatten(1)


def encode(tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


def training_sequence(tokenizer, config, notes, index: int, task: str, chosen: list[str], emb: int, eos: int):
    """One note's training prompt from the specification: pieces tokenised alone, ids end to end.

    Returns the ids, the position whose state is the embedding, and the output ids with EOS.
    """

    def value(text: str, limit: int | None = None) -> list[int]:
        return encode(tokenizer, config.slot_lead + text)[:limit] if text else []

    def tags(names: list[str]) -> list[int]:
        separator = encode(tokenizer, config.hashtag_separator)
        ids: list[int] = []
        for name in names:
            ids += (separator if ids else []) + value(name)
        return ids

    topics = [topic[: config.max_hashtag_chars] for topic in notes.topics[index]][: config.max_hashtags]
    slots = {
        "<title>": value(notes.titles[index], config.title_tokens),
        "<topics>": tags(topics),
        "<content>": value(notes.contents[index], config.content_tokens),
        "<emb>": [emb],
        "<category>": value(notes.categories[index]),
        "<hashtags>": tags(chosen),
    }
    ids: list[int] = []
    position, output_begin = -1, -1
    for piece in config.category if task == "category" else config.hashtags:
        if piece == "<emb>":
            position = len(ids) - 1
        if piece in ("<category>", "<hashtags>"):
            output_begin = len(ids)
        ids += slots.get(piece) or (
            [] if piece in slots else encode(tokenizer, piece.replace("<j>", str(len(chosen))))
        )
    return ids, position, ids[output_begin:] + [eos]
