"""The training loop: plan a batch, compute its gradients (`step`), update the weights, save checkpoints when due."""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from notellm import _core
from notellm.data.notes import Notes
from notellm.io.fingerprints import Fingerprint
from notellm.losses import LossTerm, joint_loss, nested_dims_fault
from notellm.models.adapter import LoraOptions
from notellm.models.notellm import NoteLLM
from notellm.models.pooling import pooling_name
from notellm.precision import AUTO, resolve_dtype
from notellm.processes import Processes
from notellm.progress import ProgressFn
from notellm.training.checkpoint import (
    CHECKPOINTS,
    latest_checkpoint,
    load_checkpoint,
    refuse_newer,
    save_checkpoint,
    saved_dtype,
)
from notellm.training.log import TrainLog
from notellm.training.optimizer import Optimizer
from notellm.training.options import TrainOptions
from notellm.training.plugins import ExtraLosses, PairChooser, check_extra_losses, chosen_pairs
from notellm.training.schedule import linear_schedule
from notellm.training.sharding import Shards
from notellm.training.step import JointStep, StepSums

Record = dict[str, Any]


class Trainer:
    """Trains a `NoteLLM` on related pairs, jointly contrastive (GCL) and generative (CSFT).

    Every batch is a function of (seed, step), and a checkpoint holds weights and optimizer state: a run that was
    stopped after a checkpoint and resumed gives the same weights, bit for bit, as one that was not (on the same CPU,
    with the same numbers of threads and processes, and with ``moments="full"``).

    If torch.distributed is initialised, the processes of its default group share every step, and each must create the
    same `Trainer`. The weights are those of one process apart from rounding; the first process writes all files, which
    the others must be able to read.

    Args:
        model: Trained in place: all parameters that require a gradient.
        notes: The notes that the pairs index.
        source: Shape ``(P,)``, int64: first note of each related pair.
        target: Shape ``(P,)``, int64: second note.
        options: See `TrainOptions`. With ``dtype="auto"`` a run resumed from a checkpoint keeps the checkpoint's dtype.
        folder: Where checkpoints and ``train.jsonl`` go; None keeps nothing.
        extra_losses: Losses of the embeddings that are added to eq. (4), by name with their weights; see
            `notellm.training.plugins`. With ``options.contrastive`` false they take the place of GCL.
        choose_pairs: Which pairs each step has, instead of all in random order; see `notellm.training.plugins`.

    Raises:
        ValueError: If an option is out of range, there are fewer pairs than one step takes, a step has fewer pairs than
            there are processes, or an extra loss has a name that records use already.
        IndexError: If a pair names a note that does not exist.

    Attributes:
        step: Optimizer steps done. total_steps: Optimizer steps of the whole run.
        options: As given, with the dtype that was chosen for ``"auto"``.
    """

    def __init__(
        self,
        model: NoteLLM,
        notes: Notes,
        source: NDArray[np.int64],
        target: NDArray[np.int64],
        options: TrainOptions | None = None,
        *,
        folder: str | Path | None = None,
        extra_losses: ExtraLosses | None = None,
        choose_pairs: PairChooser | None = None,
    ) -> None:
        self.model = model
        self.extra_losses = dict(extra_losses or {})
        self.choose_pairs = choose_pairs
        check_extra_losses(self.extra_losses)
        asked = options or TrainOptions()
        self.options = replace(asked, dtype=resolve_dtype(asked.dtype, model.device))
        self._takes_saved_dtype = asked.dtype == AUTO
        self.folder = None if folder is None else Path(folder)
        self.processes = Processes.current()
        self._check_every_process_has_a_pair()
        self._set_nested_dims()
        # only notes in some pair are tokenised; from here on, indices count among these notes
        ends, self.pairs = _notes_of_pairs(len(notes), source, target)
        self.tokenized = model.prompt.tokenize(notes.take(ends))
        self.sampler = model.prompt.sampler(
            self.tokenized,
            self.pairs[0],
            self.pairs[1],
            pairs_per_step=self.options.pairs_per_step,
            hashtag_ratio=self.options.hashtag_ratio,
            seed=self.options.seed,
        )
        self._check_there_is_a_loss()
        self.total_steps = self.options.max_steps or self.options.epochs * self.sampler.steps_per_epoch
        self.warmup_steps = int(self.options.warmup_ratio * self.total_steps)
        is_divided = self.options.shard_weights and self.processes.count > 1
        self.shards = Shards(model, self.processes) if is_divided else None  # whole between two trainings
        self.optimizer = Optimizer(model, self.options, self.processes, self.shards)
        self.joint_step = JointStep(
            self.shards or model,
            self.tokenized,
            self.options,
            self.processes,
            self.extra_losses,
            numbers=ends,
        )
        self.step = 0
        self._kept_step = 0  # step of the newest checkpoint; before the first step there is nothing to save
        self._is_torn = False  # an update of the weights has begun, but its step is not counted yet

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the matrix products."""
        return self.joint_step.dtype

    def train(
        self, *, resume: bool = False, until: int | None = None, progress: ProgressFn | None = None
    ) -> list[Record]:
        """Runs the training steps that are left.

        Args:
            resume: Whether to go on from the folder's newest checkpoint, if there is one. Without it a folder that
                holds later steps than this trainer's is refused.
            until: Stop after this step, as an interruption would, with a checkpoint; default: at the end.
            progress: Called with (steps done, steps). If it raises KeyboardInterrupt in one of several processes,
                all stop after the same step.

        Returns:
            One record for each step done in this call, as in ``train.jsonl``.

        Raises:
            DataError: If the checkpoint is damaged, has other options or data, or is newer than the training.
            FloatingPointError: If the training diverges; the step is not taken.
            KeyboardInterrupt: If it is interrupted. The steps done are saved in a checkpoint first.
            ValueError: If another process trains something else; or if an earlier interruption came in the middle of
                an update of the weights, and they are not loaded from a checkpoint.
        """
        self._gather_weights()  # after a training that failed on one process
        if resume and self.folder is not None:
            self._resume(self.folder)
        self._check_weights_are_whole()
        if self.folder is not None:
            refuse_newer(self.folder / CHECKPOINTS, self.step)
        self._agree()
        if self.shards is not None:
            self.shards.divide()
        last = self.total_steps if until is None else min(until, self.total_steps)
        log = None
        if self.folder is not None and self.processes.is_first:
            log = TrainLog(self.folder, first_step=self.step, tensorboard=self.options.tensorboard)
        self.joint_step.model.train()
        _between_steps = _core.util.KeepsFreedMemory()  # until this call ends
        records = []
        try:
            while self.step < last:
                self._report(progress)
                records.append(self._train_step())
                if log is not None:
                    log.write(records[-1])
                self.step += 1
                self._is_torn = False
                self._checkpoint_if_due(last)
            if progress is not None:
                progress(self.step, self.total_steps)
            self._gather_weights()
        except FloatingPointError:  # of what the processes have summed: all are here
            self._gather_weights()
            raise
        except KeyboardInterrupt:
            # several processes agree in `_report`, or have nothing that they could save together
            if self.processes.count == 1:
                self._keep_what_is_done()
            raise
        finally:
            self.joint_step.model.eval()
            if log is not None:
                log.close()
        return records

    def plan(self, step: int) -> "_core.prompts.PlannedBatch":
        """The batch of a step: its pairs, their tasks and hashtags.

        Raises:
            ValueError: If ``choose_pairs`` gives another number of pairs than ``pairs_per_step``.
            IndexError: If it gives a number that is not the index of a pair.
        """
        if self.choose_pairs is None:
            return self.sampler.plan(step)
        pairs = chosen_pairs(self.choose_pairs, step)
        differing = self.processes.count_differing(str(pairs.tolist()), self.model.device)
        if differing:
            raise ValueError(
                f"Trainer: all processes must choose the same pairs, but {differing} of {self.processes.count} differ "
                f"from the first at step {step}"
            )
        return self.sampler.plan(step, pairs)

    def _train_step(self) -> Record:
        begin = time.perf_counter()
        plan = self.plan(self.step)
        factor = linear_schedule(self.step, self.total_steps, self.warmup_steps)
        self.optimizer.set_rates(factor)
        sums = self.joint_step.backward(plan, self.step)
        grad_norm = self.optimizer.clip(self.options.clip_norm)  # the host waits for a GPU here
        loss = self._loss(sums)
        self._check_finite(loss, grad_norm)
        if loss is not None:
            self._is_torn = True
            self.optimizer.step()
        return {
            "step": self.step,
            "contrastive": _mean(sums.contrastive),
            "generative": _mean(sums.generative),
            **sums.extra,
            "loss": loss,
            "tau": self.model.tau.item(),
            "scale": self.model.tau.exp().item(),
            "lr": self.options.lr * factor,
            "lr_head": self.options.lr_head * factor,
            "grad_norm": grad_norm,
            "tokens": sums.tokens,
            "notes": len(plan.note_ids),
            "hashtag_shortfall": plan.hashtag_shortfall,
            "seconds": time.perf_counter() - begin,
        }

    def _loss(self, sums: StepSums) -> float | None:
        """Equation (4) plus extra losses; None if there is neither."""
        terms = [self.extra_losses[name][0] * value for name, value in sums.extra.items()]
        if sums.contrastive.count + sums.generative.count > 0:
            terms.append(float(joint_loss(sums.contrastive, sums.generative, alpha=self.options.alpha)))
        return sum(terms) if terms else None

    def _check_every_process_has_a_pair(self) -> None:
        pairs, processes = self.options.pairs_per_step, self.processes.count
        if pairs < processes:
            raise ValueError(
                f"Trainer: pairs_per_step must be at least the number of processes, {processes}, but is {pairs}"
            )

    def _set_nested_dims(self) -> None:
        """Tells the model to which widths its embeddings may be cut."""
        fault = nested_dims_fault(self.options.nested_dims, self.model.dim)
        if fault:
            raise ValueError(f"Trainer: nested_dims {fault}")
        self.model.nested_dims = self.options.nested_dims if self.options.contrastive else ()

    def _check_there_is_a_loss(self) -> None:
        has_hashtags = self.options.hashtag_ratio > 0 and len(self.tokenized.hashtags.ids) > 0
        has_output = len(self.tokenized.categories.ids) > 0 or has_hashtags
        if (
            not self.options.contrastive
            and not self.extra_losses
            and not (has_output and self.options.alpha > 0)
        ):
            raise ValueError(
                "Trainer: without the contrastive loss there must be outputs to learn and alpha above 0, but "
                f"{'alpha is 0' if has_output else 'no note has a category, or a hashtag that may be asked for'}"
            )

    def _agree(self) -> None:
        """Makes sure that the processes are about to train the same weights on the same batches."""
        if self.processes.count > 1:
            run = f"{self._data_key()} {self.step} {self.folder is None} {self.options}"
            differing = self.processes.count_differing(run, self.model.device)
            if differing:
                raise ValueError(
                    "Trainer: all processes must train with the same options, data and step, but "
                    f"{differing} of {self.processes.count} differ from the first"
                )
            self.processes.copy_from_(0, *self.model.parameters())

    def _check_finite(self, loss: float | None, grad_norm: float) -> None:
        """Raises before a diverged step is taken, so that the newest checkpoint stays good."""
        if not (math.isfinite(grad_norm) and math.isfinite(loss or 0.0)):
            raise FloatingPointError(
                f"Trainer: loss and gradient must be finite, but are {loss} and {grad_norm} at step {self.step}; "
                "try a lower learning rate"
            )

    def _report(self, progress: ProgressFn | None) -> None:
        """Reports between two steps; if one process is interrupted, all stop after the same step."""
        is_interrupted = False
        try:
            if progress is not None:
                progress(self.step, self.total_steps)
        except KeyboardInterrupt:
            is_interrupted = True
        if self.processes.any(is_interrupted, self.model.device):
            self._keep_what_is_done()
            self._gather_weights()
            raise KeyboardInterrupt

    def _gather_weights(self) -> None:
        """Gives the model its whole weights, on all processes together."""
        if self.shards is not None:
            self.shards.gather()

    def _keep_what_is_done(self) -> None:
        """Saves a checkpoint of the steps done, unless there is one or an update was interrupted halfway."""
        if self.step != self._kept_step and not self._is_torn:
            self._save_checkpoint()

    def _check_weights_are_whole(self) -> None:
        if self._is_torn:
            raise ValueError(
                f"Trainer: weights must be those of whole steps, but step {self.step} was interrupted amid its update; "
                "try a new Trainer, with resume=True where there is a checkpoint"
            )

    def _checkpoint_if_due(self, last: int) -> None:
        every = self.options.checkpoint_every
        if self.step == last or (every and self.step % every == 0):
            self._save_checkpoint()

    def _save_checkpoint(self) -> None:
        if self.folder is not None:
            folder = self.folder / CHECKPOINTS
            save_checkpoint(folder, self.model, self.optimizer, self.step, self.options, self._data_key())
            self._kept_step = self.step

    def _data_key(self) -> str:
        """A fingerprint of notes, pairs, prompt and LoRA: runs with equal keys and options have equal batches."""
        notes = self.tokenized
        lists = [notes.titles, notes.contents, notes.categories, notes.hashtags]
        first_batch = self.model.prompt.pack_rows(notes, self.plan(0).prompts)
        weights = {name: weight for name, (weight, _) in self.extra_losses.items()}
        return _fingerprint(
            *(part for one in lists for part in (one.ids, one.offsets)),
            notes.hashtag_offsets,
            self.pairs,
            first_batch.tokens,
            first_batch.compression,
            np.array([self.total_steps]),
            *([] if self.model.lora is None else [np.array(_name_of(self.model.lora))]),
            np.array([self.model.model.config.layers]),
            np.array(f"{weights} {pooling_name(self.model.pooling)}"),
        )

    def _resume(self, folder: Path) -> None:
        newest = latest_checkpoint(folder / CHECKPOINTS)
        if newest is None:
            return
        if self._takes_saved_dtype:
            self.options = self.joint_step.options = replace(self.options, dtype=saved_dtype(newest))
        self.step = load_checkpoint(newest, self.model, self.optimizer, self.options, self._data_key())
        self._kept_step, self._is_torn = self.step, False


def _notes_of_pairs(
    notes: int, source: NDArray[np.int64], target: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The notes that pairs name, and the pairs ``(2, P)`` as positions among these."""
    ends, places = np.unique(np.stack([source, target]), return_inverse=True)
    if np.any((ends < 0) | (ends >= notes)):
        raise IndexError(f"Trainer: pairs must name notes in [0, {notes}), but name {ends[0]} to {ends[-1]}")
    return ends, places.reshape(2, -1)


def _name_of(lora: LoraOptions) -> str:
    """LoRA's options as in checkpoints of before ``frozen_bf16``, where it has its default."""
    return repr(lora).replace(", frozen_bf16=False", "")


def _fingerprint(*arrays: NDArray[Any]) -> str:
    """A name for the content of some arrays."""
    found = Fingerprint()
    for array in arrays:
        found.add_json([str(array.dtype), array.shape]).add_array(array)
    return found.name()


def _mean(term: LossTerm) -> float | None:
    return float(term.sum) / term.count if term.count else None
