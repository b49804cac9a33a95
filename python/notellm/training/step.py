"""The rule of one training step: the same update for any number of micro-batches and processes.

Every process plans the whole batch, ``2B`` rows in pairs and ``H`` hard negatives, and computes its own rows, one
micro-batch at a time (a pair and the negatives that it brings are in the same one):

1. *Embeddings* of its rows. A single micro-batch keeps its graph for stage 3. With several, none keeps it, and only
   the tokens up to [EMB] are computed (GradCache: Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory
   Limited Setup, 2021).
2. *Contrast.* All embeddings are gathered. The loss of a process's own anchors against all rows has gradients for
   tau and for the rows of all processes; gradients of rows are summed over processes, and each process keeps those of
   its own rows. Extra losses (`plugins`) are computed here, too.
3. *Backward through the model*, one micro-batch at a time: from the embeddings with their gradients of stage 2, and
   from the generative loss, divided by the denominator of the whole step.
4. *Gradients* of parameters are summed over processes: denominators are global, so nothing is averaged. (Those of
   parameters that are divided by rows have been summed in stage 3 already, see `sharding`.)

Where weights are divided, every pass gathers them, so all processes make the same passes: those that have nothing to
compute at a time make one over a single row, which counts for nothing.

Each loss term of the batch is counted exactly once, on one process and in one micro-batch; so the sum is the gradient
of the whole batch, also for tau.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from notellm import _core
from notellm.language_model import TrainingStates
from notellm.losses import LossTerm, gcl_term, joint_loss
from notellm.models.lora import dropout_seed
from notellm.models.note_model import NoteModel
from notellm.precision import compute_dtype
from notellm.processes import Processes
from notellm.training.identity import TrainedPairs
from notellm.training.options import TrainOptions
from notellm.training.plugins import ExtraLosses
from notellm.training.sharding import ShardedModel

PackedBatch = _core.prompts.PackedBatch
NOTHING = LossTerm(torch.zeros(()), 0)


@dataclass(frozen=True)
class StepSums:
    """The sums of one step over all processes. The host waits for a GPU when the first of its losses is read."""

    losses: Tensor
    """Shape ``(2 + extra losses,)``, fp64, on the model's device: contrastive, generative and extra losses."""
    anchors: int
    labelled: int
    """What the sums of both losses are divided by."""
    tokens: int
    names: tuple[str, ...]
    """Of the extra losses."""

    @property
    def contrastive(self) -> LossTerm:
        """The contrastive loss."""
        return LossTerm(self._on_host[0], self.anchors)

    @property
    def generative(self) -> LossTerm:
        """The generative loss."""
        return LossTerm(self._on_host[1], self.labelled)

    @property
    def extra(self) -> dict[str, float]:
        """Extra losses, not weighted."""
        return dict(zip(self.names, self._on_host[2:].tolist(), strict=True))

    def loss(self, alpha: float, extra_losses: ExtraLosses) -> float | None:
        """Equation (4) plus extra losses; None if there is neither."""
        terms = [extra_losses[name][0] * value for name, value in self.extra.items()]
        if self.anchors + self.labelled > 0:
            terms.append(float(joint_loss(self.contrastive, self.generative, alpha=alpha)))
        return sum(terms) if terms else None

    @cached_property
    def _on_host(self) -> Tensor:
        return self.losses.cpu()


@dataclass(frozen=True)
class _MicroBatch:
    """Rows whose graph is in memory at the same time."""

    rows: NDArray[np.int64]
    """Their places in the step's batch."""
    packed: PackedBatch
    """The packed rows; with outputs only if the generative loss has a weight."""

    @property
    def is_idle(self) -> bool:
        """Whether its rows count for nothing: its passes only answer those of other processes."""
        return len(self.rows) == 0


class JointStep:
    """Computes a step's gradients by the rule above.

    Args:
        model: `backward` sets the ``grad`` of its parameters; or their shards.
        tokenized: The notes that the plans index.
        options: Weights of the losses, and how a step is divided.
        processes: The processes that share the step.
        pairs: What the plans are drawn from: extra losses get the notes' positions in all notes, and the logQ
            correction is that of these pairs.
        extra_losses: Losses of the embeddings in addition to eq. (4).
    """

    def __init__(
        self,
        model: NoteModel | ShardedModel,
        tokenized: "_core.prompts.TokenizedNotes",
        options: TrainOptions,
        processes: Processes,
        pairs: TrainedPairs,
        extra_losses: ExtraLosses | None = None,
    ) -> None:
        self.shards = model if isinstance(model, ShardedModel) else None
        self.model = model.twin if isinstance(model, ShardedModel) else model
        self.tokenized = tokenized
        self.options = options
        self.processes = processes
        self.pairs = pairs
        self.extra_losses = extra_losses or {}
        self._log_q = options.log_q * pairs.log_frequencies

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the matrix products."""
        return compute_dtype(self.options.dtype, self.model.device)

    def backward(self, plan: "_core.prompts.PlannedBatch", step: int = 0) -> StepSums:
        """Sets every parameter's gradient of the step's joint loss; the same on all processes.

        Args:
            plan: The plan of the whole batch, the same on all processes.
            step: Number of the step, from which the adapters' dropout is drawn.

        Returns:
            The sums and counts of both losses, and the tokens, over all processes. If both counts are 0 there are no
            gradients. With a single process the host has not waited for a GPU yet.
        """
        self.model.zero_grad(set_to_none=True)
        self._dropout_seed = dropout_seed(self.options.seed, step)  # the same mask in all passes
        micros = self._cut(plan)
        anchors = 2 * plan.pairs if self.options.contrastive else 0
        reads_rows = anchors > 0 or bool(self.extra_losses)
        labelled = self._count_labelled(micros)
        kept: TrainingStates | None = None
        contrastive = generative = torch.zeros((), device=self.model.device)
        extra: list[Tensor] = []
        row_gradients: Tensor | None = None
        if reads_rows:
            embeddings, kept = self._embed(micros, plan)
            rows = self._gather(embeddings, np.concatenate([micro.rows for micro in micros]), plan)
            contrastive, extra, row_gradients = self._contrast(rows, plan)
        for micro in micros:
            if reads_rows or len(micro.packed.labels) or (self.shards and labelled):
                states = kept or self._forward(micro.packed)
                generative = generative + self._descend(micro, states, row_gradients, labelled)
                del states  # frees its graph before the next one is built
        tokens = sum(len(micro.packed.tokens) for micro in micros if not micro.is_idle)
        losses = torch.stack([loss.double().reshape(()) for loss in (contrastive, generative, *extra)])
        if self.processes.count > 1:
            losses, tokens = self._sum_over_processes(losses, tokens)
        return StepSums(losses, anchors, labelled, tokens, tuple(self.extra_losses))

    def _cut(self, plan: "_core.prompts.PlannedBatch") -> list[_MicroBatch]:
        """Cuts this process's share of the pairs into micro-batches of ``micro_pairs``."""
        first, last = self.processes.share(plan.pairs)
        size = self.options.micro_pairs or last - first
        mode = "train" if self.options.alpha > 0 else "embed"  # outputs without weight are left out
        micros = []
        for pair in range(first, last, size):
            rows = self._rows_of(plan, pair, min(pair + size, last))
            micros.append(_MicroBatch(rows, self._pack(plan, rows, mode)))
        return micros + self._idle(plan, size, len(micros))

    def _rows_of(self, plan: "_core.prompts.PlannedBatch", first: int, last: int) -> NDArray[np.int64]:
        """The rows of some pairs, and the negatives that these bring if there is a contrastive loss."""
        pairs = np.arange(2 * first, 2 * last)
        if not self.options.contrastive:
            return pairs
        begin, end = (2 * plan.pairs + int(plan.negative_offsets[pair]) for pair in (first, last))
        return np.concatenate([pairs, np.arange(begin, end)])

    def _pack(self, plan: "_core.prompts.PlannedBatch", rows: NDArray[np.int64], mode: str) -> PackedBatch:
        prompts = plan.prompts
        return self.model.prompt.pack_rows(self.tokenized, [prompts[row] for row in rows], mode=mode)

    def _idle(self, plan: "_core.prompts.PlannedBatch", size: int, own: int) -> list[_MicroBatch]:
        """Where weights are divided: passes that other processes make, and this one has no rows left for."""
        pairs, count = plan.pairs, self.processes.count
        if self.shards is None or not self.options.micro_pairs:
            return []
        most = math.ceil(math.ceil(pairs / count) / size)  # of the largest share
        row = 2 * self.processes.share(pairs)[0]
        none = np.empty(0, np.int64)
        return [_MicroBatch(none, self._pack(plan, np.array([row]), "embed"))] * (most - own)

    def _count_labelled(self, micros: Sequence[_MicroBatch]) -> int:
        """The denominator of the generative loss, over all processes: notes with an output, or tokens."""
        if self.options.csft_reduction == "token":
            own = sum(len(micro.packed.labels) for micro in micros)
        else:
            own = sum(int(np.count_nonzero(np.diff(micro.packed.label_offsets))) for micro in micros)
        if self.processes.count == 1:
            return own
        count = torch.tensor(own, device=self.model.device)
        self.processes.sum_(count)
        return int(count)

    def _forward(self, batch: PackedBatch) -> TrainingStates:
        states: TrainingStates = self.model(
            batch,
            self.dtype,
            checkpoint=self.options.checkpoint_layers,
            dropout_seed=self._dropout_seed,
        )
        return states

    def _embed(
        self, micros: Sequence[_MicroBatch], plan: "_core.prompts.PlannedBatch"
    ) -> tuple[Tensor, TrainingStates | None]:
        """Stage 1: own embeddings, detached, and the states with their graph if there is a single micro-batch."""
        if len(micros) == 1:
            states = self._forward(micros[0].packed)
            return states.embeddings.detach(), states
        embeddings = []
        with torch.no_grad():
            for micro in micros:
                inputs = micro.packed if micro.is_idle else self._pack(plan, micro.rows, "embed")
                embeddings.append(self._forward(inputs).embeddings[: len(micro.rows)])
        return torch.cat(embeddings), None

    def _gather(self, own: Tensor, places: NDArray[np.int64], plan: "_core.prompts.PlannedBatch") -> Tensor:
        """Stage 2: the embeddings of all processes' rows, from one's own and their places: ``(2B + H, d)``."""
        rows = own.new_zeros(len(plan.note_ids) if self.options.contrastive else 2 * plan.pairs, own.size(1))
        rows[self.model.on_device(places)] = own
        self.processes.sum_(rows)  # gathers by a sum: adding zeros is exact, and shares may differ in size
        return rows.requires_grad_()

    def _contrast(
        self, rows: Tensor, plan: "_core.prompts.PlannedBatch"
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """Stage 2: loss sum of own anchors, shares of extra losses, and gradients of all rows; adds tau's gradient.

        Args:
            rows: Shape ``(2B + H, d)``: all embeddings.
            plan: The plan of the whole batch.

        Returns:
            A scalar, scalars, and gradients of shape ``(2B + H, d)``.
        """
        paired = 2 * plan.pairs
        # every process computes extra losses completely, but counts only its share of them
        notes = self.model.on_device(self.pairs.ends[plan.note_ids[:paired]])
        extra = [fn(rows[:paired], notes) / self.processes.count for _, fn in self.extra_losses.values()]
        total = rows.sum() * 0  # so that there is always a graph
        for (weight, _), loss in zip(self.extra_losses.values(), extra, strict=True):
            total = total + weight * loss
        contrastive = rows.new_zeros(())
        if self.options.contrastive:
            contrastive = self._contrastive_sum(rows, plan)
            total = total + joint_loss(LossTerm(contrastive, paired), NOTHING, alpha=self.options.alpha)
        total.backward()  # type: ignore[no-untyped-call]
        assert rows.grad is not None
        self.processes.sum_(rows.grad)
        return contrastive.detach(), [loss.detach() for loss in extra], rows.grad

    def _contrastive_sum(self, rows: Tensor, plan: "_core.prompts.PlannedBatch") -> Tensor:
        """Equation 2, summed over own anchors."""
        options, notes = self.options, plan.note_ids
        begin, end = (2 * pair for pair in self.processes.share(plan.pairs))
        has_copies = len(np.unique(notes)) < len(notes)
        log_q = self.model.on_device(self._log_q[notes], torch.float64) if options.log_q else None
        return gcl_term(
            rows,
            self.model.tau,
            note_ids=self.model.on_device(notes) if options.mask_same_note and has_copies else None,
            log_q=log_q,
            anchors=(begin, end),
            negatives=len(notes) - 2 * plan.pairs,
            nested_dims=options.nested_dims,
        ).sum

    def _descend(
        self, micro: _MicroBatch, states: TrainingStates, row_gradients: Tensor | None, labelled: int
    ) -> Tensor:
        """Stage 3 of one micro-batch; returns the sum of its generative losses."""
        roots: list[Tensor] = []
        gradients: list[Tensor | None] = []
        if row_gradients is not None:
            roots.append(states.embeddings)
            rows = torch.zeros_like(states.embeddings)
            if not micro.is_idle:
                rows = row_gradients[self.model.on_device(micro.rows)]
            gradients.append(rows)
        if self.shards is not None:
            self._reach_all(self.shards.twin.lm_head, states, labelled, roots, gradients)
        generative = torch.zeros((), device=self.model.device)
        if len(micro.packed.labels):
            generative = self._generative_sum(states, micro.packed)
            whole = LossTerm(generative, labelled)
            roots.append(joint_loss(NOTHING, whole, alpha=self.options.alpha))
            gradients.append(None)
        torch.autograd.backward(roots, gradients)
        return generative.detach().double()

    def _reach_all(
        self,
        head: nn.Linear | None,
        states: TrainingStates,
        labelled: int,
        roots: list[Tensor],
        gradients: list[Tensor | None],
    ) -> None:
        """Lets zeros reach all parameters that another process's gradient may reach: the two are added up."""
        roots.append(states.labelled)  # goes through the decoder alone, also where there are no labels
        gradients.append(torch.zeros_like(states.labelled))
        if labelled and head is not None and head.weight.requires_grad:
            roots.append(head.weight)
            gradients.append(torch.zeros_like(head.weight))

    def _generative_sum(self, states: TrainingStates, batch: PackedBatch) -> Tensor:
        labels = self.model.on_device(batch.labels)
        offsets = torch.tensor(batch.label_offsets)
        return self.model.generative_term(
            states.labelled, labels, offsets, reduction=self.options.csft_reduction, dtype=self.dtype
        ).sum

    def _sum_over_processes(self, losses: Tensor, tokens: int) -> tuple[Tensor, int]:
        """Stage 4: sums losses and tokens, in fp64, and every parameter's gradient that is not summed yet."""
        divided = frozenset[str]() if self.shards is None else self.shards.names
        parameters = [
            p for name, p in self.model.named_parameters() if p.requires_grad and name not in divided
        ]
        reached = [parameter.grad is not None for parameter in parameters]
        counts = torch.tensor([tokens, *reached], dtype=torch.float64, device=self.model.device)
        sums = torch.cat([losses, counts])
        self.processes.sum_(sums)
        tokens, *reached_by = (int(count) for count in sums[len(losses) :].tolist())
        shared = []
        for parameter, times in zip(parameters, reached_by, strict=True):
            if times:  # a parameter that no process's loss reaches keeps no gradient, as with one process
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                shared.append(parameter.grad)
        self.processes.sum_(*shared)
        return sums[: len(losses)], tokens
