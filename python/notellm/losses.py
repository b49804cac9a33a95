"""The losses of NoteLLM: contrastive (eq. 2), generative (eq. 3) and joint (eq. 4)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from notellm import _core
from notellm.precision import Dtype, compute_dtype

LossTerm = _core.losses.LossTerm
"""A loss before division: ``sum``, a differentiable scalar, and ``count``, the number of items summed."""

__all__ = [
    "LossTerm",
    "csft_head_loss",
    "csft_head_term",
    "csft_loss",
    "csft_term",
    "gcl_loss",
    "gcl_term",
    "joint_loss",
]

ALPHA = 0.01
"""Weight of the generative loss in the paper."""


def gcl_term(
    embeddings: Tensor,
    tau: Tensor,
    *,
    note_ids: Tensor | None = None,
    log_q: Tensor | None = None,
    anchors: tuple[int, int] | None = None,
    negatives: int = 0,
    nested_dims: Sequence[int] = (),
) -> LossTerm:
    """The contrastive loss as sum and count; see `gcl_loss`."""
    return _core.losses.nested_gcl_loss(
        embeddings, tau, nested_dims, note_ids, log_q=log_q, anchors=anchors, negatives=negatives
    )


def gcl_loss(
    embeddings: Tensor,
    tau: Tensor,
    *,
    note_ids: Tensor | None = None,
    log_q: Tensor | None = None,
    anchors: tuple[int, int] | None = None,
    negatives: int = 0,
    nested_dims: Sequence[int] = (),
) -> Tensor:
    r"""Generative-contrastive loss, eq. (2) of NoteLLM: every note must pick out its partner.

    .. math:: -\frac{1}{2B} \sum_i \log \mathrm{softmax}_{j \ne i}(e^{\tau} \cos(e_i, e_j) - \log q_j)_{i^+}

    Args:
        embeddings: Shape ``(R, d)`` with ``R = 2B + negatives``, floating point; rows ``2b`` and ``2b + 1`` are a
            related pair. Any norm.
        tau: Shape ``()``, the log of the scale (the paper starts it at 3).
        note_ids: Shape ``(R,)``, int64. If given, an anchor leaves out every other copy of itself and of its
            partner (false-negative mask).
        log_q: Shape ``(R,)``, floating point: the log of the chance that sampling takes each row's note, up to a
            constant. Notes that are taken often are negatives too often; this takes it back (logQ correction: Yi et
            al., Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations, 2019). Default: q = 1,
            as in the paper. No gradient reaches it.
        anchors: Half-open range of the rows whose losses count; default: all. The other rows are still negatives,
            and the gradient reaches every row. So ranges can be divided among processes: the sums of `gcl_term` and
            their gradients add up to those of the whole batch.
        negatives: So many rows at the end are no pairs, but further negatives of all anchors (hard negatives).
        nested_dims: Ascending, each in ``[1, d - 1]``. The first so many numbers of an embedding, normalised anew, must
            pick out its partner, too (Matryoshka representation learning, Kusupati et al. 2022): the loss is the mean,
            with equal weights, of those of each of these widths and of the whole one.

    Returns:
        Scalar: the mean over the anchors, in fp32 (fp64 for fp64); differentiable twice in ``embeddings`` and
        ``tau``. The ``(R, R)`` similarities are computed tile by tile and never kept, so memory grows with ``R``,
        not with its square (except for the second derivative).

    Raises:
        ValueError: If the number of rows in pairs is odd or zero, shapes do not match, ``anchors`` is not a range of
            these rows, or ``nested_dims`` do not ascend from 1 to below ``d``.

    Example:
        >>> gcl_loss(torch.eye(2).repeat_interleave(2, 0), torch.tensor(0.0))
        tensor(0.5514)
    """
    term = gcl_term(
        embeddings,
        tau,
        note_ids=note_ids,
        log_q=log_q,
        anchors=anchors,
        negatives=negatives,
        nested_dims=nested_dims,
    )
    return term.sum / term.count


def nested_dims_fault(dims: Sequence[int], width: int | None = None) -> str:
    """Why widths cannot be nested in an embedding, as the end of a message; empty if they can.

    Args:
        dims: The widths.
        width: That of the embedding, if it is known.

    Example:
        >>> nested_dims_fault([16, 64], 64)
        'must be below the width 64, but are [16, 64]'
    """
    if any(low >= high for low, high in pairwise([0, *dims])):
        return f"must ascend from at least 1, but are {list(dims)}"
    if width is not None and dims and dims[-1] >= width:
        return f"must be below the width {width}, but are {list(dims)}"
    return ""


def csft_term(logits: Tensor, labels: Tensor, label_offsets: Tensor, *, reduction: str = "note") -> LossTerm:
    """The generative loss as sum and count; see `csft_loss`."""
    return _core.losses.csft_loss(logits, labels, label_offsets, _as_reduction("csft_loss", reduction))


def csft_loss(logits: Tensor, labels: Tensor, label_offsets: Tensor, *, reduction: str = "note") -> Tensor:
    r"""Collaborative supervised fine-tuning loss, eq. (3): cross-entropy of the output tokens.

    .. math:: -\frac{1}{T} \sum_t \log p(o_t \mid o_{<t}, \mathrm{input})

    Args:
        logits: Shape ``(M, V)``, floating point: next-token logits at the label positions only.
        labels: Shape ``(M,)``, int64: the token to predict at each.
        label_offsets: Shape ``(n + 1,)``, int64, on the CPU; note ``i`` owns
            ``labels[label_offsets[i]:label_offsets[i + 1]]``.
        reduction: ``"note"``: mean over a note's tokens, then over notes (the paper); ``"token"``: mean over all
            tokens (the authors' public code).

    Returns:
        Scalar mean; NaN if there is no label at all.

    Raises:
        ValueError: If shapes or offsets do not match, or the reduction is unknown.
        IndexError: If a label is outside ``[0, V)``.

    Example:
        >>> csft_loss(torch.zeros(3, 4), torch.tensor([0, 1, 2]), torch.tensor([0, 1, 3]))
        tensor(1.3863)
    """
    term = csft_term(logits, labels, label_offsets, reduction=reduction)
    return term.sum / term.count


def csft_head_term(
    states: Tensor,
    head: Tensor,
    labels: Tensor,
    label_offsets: Tensor,
    *,
    reduction: str = "note",
    dtype: Dtype = "fp32",
    max_logits: int | None = None,
) -> LossTerm:
    """The generative loss of states and LM head as sum and count; see `csft_head_loss`."""
    return _core.losses.csft_head_loss(
        states,
        head,
        labels,
        label_offsets,
        _as_reduction("csft_head_loss", reduction),
        compute_dtype(dtype, states.device),
        max_logits=max_logits,
    )


def csft_head_loss(
    states: Tensor,
    head: Tensor,
    labels: Tensor,
    label_offsets: Tensor,
    *,
    reduction: str = "note",
    dtype: Dtype = "fp32",
    max_logits: int | None = None,
) -> Tensor:
    """`csft_loss` of the logits ``states @ head.T``, eq. (3), without keeping all logits at once.

    They are computed in tiles (some positions by a part of the vocabulary), once forward and once more backward.

    Args:
        states: Shape ``(M, D)``, floating point: the decoder's hidden states at the label positions only.
        head: Shape ``(V, D)``, floating point: the LM head, which may be the token embedding itself.
        labels: Shape ``(M,)``, int64: the token to predict at each.
        label_offsets: Shape ``(n + 1,)``, int64, on the CPU; as in `csft_loss`.
        reduction: ``"note"`` or ``"token"``, as in `csft_loss`.
        dtype: Of the matrix products, see `notellm.resolve_dtype`. Sums over tiles are fp32 (fp64 for fp64).
        max_logits: The most logits kept at a time. Default: 2^20 on the CPU, 2^24 elsewhere.

    Returns:
        Scalar mean; NaN if there is no label at all. Differentiable in ``states`` and ``head``; no gradient is
        computed for an input that needs none. A second derivative takes the memory of all logits.

    Raises:
        ValueError: If shapes or offsets do not match, the reduction or the dtype is unknown, or ``max_logits``
            is below 1.
        IndexError: If a label is outside ``[0, V)``; on a GPU, whose labels the host does not wait for, the loss is
            NaN instead.

    Example:
        >>> csft_head_loss(torch.zeros(3, 2), torch.ones(4, 2), torch.tensor([0, 1, 2]), torch.tensor([0, 1, 3]))
        tensor(1.3863)
    """
    term = csft_head_term(
        states, head, labels, label_offsets, reduction=reduction, dtype=dtype, max_logits=max_logits
    )
    return term.sum / term.count


def joint_loss(
    contrastive: LossTerm | Tensor, generative: LossTerm | Tensor, *, alpha: float = ALPHA
) -> Tensor:
    r"""NoteLLM's loss, eq. (4): :math:`(L_{cl} + \alpha L_{gen}) / (1 + \alpha)`.

    Args:
        contrastive: A `LossTerm`, or a mean loss as a scalar tensor.
        generative: The same.
        alpha: Weight of the generative loss, at least 0.

    Returns:
        Scalar; a term whose count is 0 is left out.

    Raises:
        ValueError: If ``alpha`` is negative or not finite, or both counts are 0.

    Example:
        >>> joint_loss(torch.tensor(2.0), torch.tensor(4.0), alpha=1.0)
        tensor(3.)
    """
    return _core.losses.joint_loss(_as_term(contrastive), _as_term(generative), alpha)


def _as_term(loss: LossTerm | Tensor) -> LossTerm:
    return _core.losses.LossTerm(loss, 1) if isinstance(loss, torch.Tensor) else loss


def _as_reduction(where: str, name: str) -> "_core.losses.CsftReduction":
    members = _core.losses.CsftReduction.__members__
    if name not in members:
        raise ValueError(f"{where}: reduction must be one of {', '.join(members)}, but is {name!r}")
    return members[name]
