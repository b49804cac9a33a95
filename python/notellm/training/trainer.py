"""The training loop: plan a batch, compute its gradients (`step`), update the weights, save checkpoints when due."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from notellm import _core
from notellm.data.notes import Notes
from notellm.hard_negatives import HardNegatives
from notellm.io.home import expanded
from notellm.loggers import About
from notellm.losses import nested_dims_fault
from notellm.models.note_model import NoteModel
from notellm.precision import AUTO, resolve_dtype
from notellm.processes import Processes
from notellm.progress import ProgressFn
from notellm.training.built_in import chosen_callbacks
from notellm.training.callbacks import Callback, called_around, check_distinct, load_states, states
from notellm.training.checkpoint import (
    CHECKPOINTS,
    latest_checkpoint,
    load_checkpoint,
    refuse_newer,
    save_checkpoint,
    saved_callbacks,
    saved_dtype,
)
from notellm.training.checks import check_pairs, check_there_is_a_loss
from notellm.training.gradient_norms import GradientNorms
from notellm.training.identity import TrainedPairs, data_key
from notellm.training.optimizer import Optimizer
from notellm.training.options import TrainOptions
from notellm.training.plugins import ExtraLosses, PairChooser, chosen_pairs
from notellm.training.record import Record, check_extra_losses, step_record
from notellm.training.schedule import linear_schedule
from notellm.training.sharding import ShardedModel
from notellm.training.step import JointStep
from notellm.training.validation import Measure


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
        folder: Where checkpoints, logs and the best model go; None keeps nothing.
        extra_losses: Losses of the embeddings that are added to eq. (4), by name with their weights; see
            `notellm.training.plugins`. With ``options.contrastive`` false they take the place of GCL.
        choose_pairs: Which pairs each step has, instead of all in random order; see `notellm.training.plugins`.
        negatives: Hard negatives of the pairs, which a step's pairs bring as further negatives of all its anchors; see
            `notellm.hard_negatives`. They read the category prompt, and do not learn to write.
        validate: Measures the model every ``options.validate_every`` steps; see `notellm.training.validation`.
        callbacks: Called at the moments of a training; see `notellm.training.callbacks`.
        about: What loggers are told of the run; by default the folder's name and the options.

    Raises:
        ValueError: If an option is out of range, there are fewer pairs than one step takes, a step has fewer pairs than
            there are processes, an extra loss has a name that records use already, or options ask for a validation
            without a measure, or for loggers without a folder.
        IndexError: If a pair or a negative names a note that does not exist.
        NotSupportedError: If a logger's package, or that of 8-bit moments, is not installed.

    Attributes:
        step: Optimizer steps done. total_steps: Optimizer steps of the whole run.
        options: As given, with the dtype that was chosen for ``"auto"``.
    """

    def __init__(
        self,
        model: NoteModel,
        notes: Notes,
        source: NDArray[np.int64],
        target: NDArray[np.int64],
        options: TrainOptions | None = None,
        *,
        folder: str | Path | None = None,
        extra_losses: ExtraLosses | None = None,
        choose_pairs: PairChooser | None = None,
        negatives: HardNegatives | None = None,
        validate: Measure | None = None,
        callbacks: Sequence[Callback] = (),
        about: About | None = None,
    ) -> None:
        self.model = model
        self.extra_losses = dict(extra_losses or {})
        self.choose_pairs = choose_pairs
        check_extra_losses(self.extra_losses)
        asked = options or TrainOptions()
        self.options = replace(asked, dtype=resolve_dtype(asked.dtype, model.device))
        self._takes_saved_dtype = asked.dtype == AUTO
        self.folder = None if folder is None else expanded(folder)
        self._take_callbacks(callbacks, validate, about)
        self.processes = Processes.current()
        check_pairs(self.options.pairs_per_step, self.processes.count)
        self._set_nested_dims()
        self._take_notes(notes, TrainedPairs.among(len(notes), source, target, negatives))
        check_there_is_a_loss(self.options, self.tokenized, bool(self.extra_losses))
        self.total_steps = self.options.max_steps or self.options.epochs * self.sampler.steps_per_epoch
        self.warmup_steps = int(self.options.warmup_ratio * self.total_steps)
        is_divided = self.options.shard_weights and self.processes.count > 1
        # between two trainings it is whole
        self.shards = ShardedModel(model, self.processes) if is_divided else None
        self.optimizer = Optimizer(model, self.options, self.processes, self.shards)
        self.joint_step = JointStep(
            self.shards or model,
            self.tokenized,
            self.options,
            self.processes,
            self.trained_pairs,
            self.extra_losses,
        )
        self._norms: GradientNorms
        self.step = 0
        self._kept_step = 0  # step of the newest checkpoint; before the first step there is nothing to save
        self._is_torn = False  # an update of the weights has begun, but its step is not counted yet
        self._is_to_stop = False  # as a callback wishes

    def _take_callbacks(
        self, callbacks: Sequence[Callback], validate: Measure | None, about: About | None
    ) -> None:
        first, last = chosen_callbacks(self.options, self.folder, validate, about)
        self.callbacks = [*first, *callbacks, *last]
        check_distinct(self.callbacks)

    def _take_notes(self, notes: Notes, pairs: TrainedPairs) -> None:
        """Tokenises the notes of pairs and of their negatives; from here on, indices count among these."""
        self.trained_pairs, negatives = pairs, pairs.negatives
        self.tokenized = self.model.prompt.tokenize(notes.take(pairs.ends))
        self.sampler = self.model.prompt.sampler(
            self.tokenized,
            *pairs.pairs,
            pairs_per_step=self.options.pairs_per_step,
            hashtag_ratio=self.options.hashtag_ratio,
            seed=self.options.seed,
            negatives=(negatives.offsets, negatives.notes),
            negatives_per_pair=negatives.per_pair,
        )

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
            KeyboardInterrupt: If it is interrupted. The steps done are saved in a checkpoint first, unless it comes
                amid an update or its callbacks, such as a validation: then the newest checkpoint is where to go on.
            TypeError: If a callback's state is not plain data.
            ValueError: If another process trains something else; or if an earlier interruption came amid an update or
                its callbacks, and the weights are not loaded from a checkpoint.
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
        states(self.callbacks)  # one that cannot be kept is told before there is something to lose
        last = self.total_steps if until is None else min(until, self.total_steps)
        self._norms = GradientNorms(self.joint_step, self.optimizer)
        self._is_to_stop = False
        self.joint_step.model.train()
        _between_steps = _core.util.KeepsFreedMemory()  # until this call ends
        records: list[Record] = []
        try:
            with called_around(self.callbacks, self):
                self._take_steps_or_keep(last, records, progress)
        finally:
            self.joint_step.model.eval()
        return records

    def _take_steps_or_keep(self, last: int, records: list[Record], progress: ProgressFn | None) -> None:
        """Takes steps; if that ends early, what is done is kept."""
        try:
            self._take_steps(last, records, progress)
        except FloatingPointError:  # of what the processes have summed: all are here
            self._gather_weights()
            raise
        except KeyboardInterrupt:
            # several processes agree in `_goes_on`, or have nothing that they could save together
            if self.processes.count == 1:
                self._keep_what_is_done()
            raise
        self._gather_weights()

    def _take_steps(self, last: int, records: list[Record], progress: ProgressFn | None) -> None:
        """Takes steps up to the last, or until a callback wishes to stop."""
        while self.step < last:
            if not self._goes_on(progress):
                return
            records.append(self._train_step())
            for callback in self.callbacks:
                callback.after_step(self, records[-1])
            self.step += 1
            self._is_torn = False
            self._checkpoint_if_due(last)
        if progress is not None:
            progress(self.step, self.total_steps)

    def stop(self) -> None:
        """Ends the training before its next step, with a checkpoint, if any process asks for it. For callbacks."""
        self._is_to_stop = True

    @contextmanager
    def whole_model(self) -> Iterator[NoteModel]:
        """The model amid a training, whole and ready to embed. For callbacks, on all processes together."""
        is_divided = self.shards is not None and not self.shards.is_whole
        trained = self.joint_step.model
        is_training = trained.training
        self._gather_weights()
        trained.eval()
        try:
            yield self.model
        finally:
            trained.train(is_training)
            # `after_training`, and a `whole_model` in another, found it whole and leave it so
            if self.shards is not None and is_divided:
                self.shards.divide()

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
        norms = self._norms.of(plan, self.step)
        sums = self.joint_step.backward(plan, self.step)
        grad_norm = self.optimizer.clip(self.options.clip_norm)  # the host waits for a GPU here
        loss = sums.loss(self.options.alpha, self.extra_losses)
        self._check_finite(loss, grad_norm)
        if loss is not None:
            self._is_torn = True
            self.optimizer.step()
        record = step_record(
            self.step,
            plan,
            sums,
            self.options,
            loss=loss,
            tau=self.model.tau.detach(),
            factor=factor,
            grad_norm=grad_norm,
            norms=norms,
            has_negatives=bool(len(self.trained_pairs.negatives.notes)),
        )
        seconds = time.perf_counter() - begin
        return record | {"seconds": seconds, "tokens_per_second": sums.tokens / seconds}

    def _set_nested_dims(self) -> None:
        """Tells the model to which widths its embeddings may be cut."""
        fault = nested_dims_fault(self.options.nested_dims, self.model.dim)
        if fault:
            raise ValueError(f"Trainer: nested_dims {fault}")
        self.model.nested_dims = self.options.nested_dims if self.options.contrastive else ()

    def _agree(self) -> None:
        """Makes sure that the processes are about to train the same weights on the same batches."""
        if self.processes.count > 1:
            run = f"{self._data_key} {self.step} {self.folder is None} {self.options}"
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

    def _goes_on(self, progress: ProgressFn | None) -> bool:
        """Reports between two steps; if one process is interrupted or wishes to stop, all stop after the same step."""
        is_interrupted = False
        try:
            if progress is not None:
                progress(self.step, self.total_steps)
        except KeyboardInterrupt:
            is_interrupted = True
        device = self.model.device
        if not self.processes.any(is_interrupted or self._is_to_stop, device):
            return True
        self._keep_what_is_done()
        if self.processes.any(is_interrupted, device):
            self._gather_weights()
            raise KeyboardInterrupt
        return False

    def _gather_weights(self) -> None:
        """Gives the model its whole weights, on all processes together."""
        if self.shards is not None:
            self.shards.gather()

    def _keep_what_is_done(self) -> None:
        """Saves a checkpoint of the steps done, unless there is one or a step was interrupted halfway."""
        if self.step != self._kept_step and not self._is_torn:
            self._save_checkpoint()

    def _check_weights_are_whole(self) -> None:
        if self._is_torn:
            raise ValueError(
                f"Trainer: weights must be those of whole steps, but step {self.step} was interrupted amid its update "
                "or its callbacks; try a new Trainer, with resume=True where there is a checkpoint"
            )

    def _checkpoint_if_due(self, last: int) -> None:
        every = self.options.checkpoint_every
        if self.step == last or (every and self.step % every == 0):
            self._save_checkpoint()

    def _save_checkpoint(self) -> None:
        if self.folder is not None:
            folder = self.folder / CHECKPOINTS
            kept = states(self.callbacks)
            path = save_checkpoint(
                folder, self.model, self.optimizer, self.step, self.options, self._data_key, kept
            )
            self._kept_step = self.step
            for callback in self.callbacks:
                callback.after_checkpoint(self, path)

    @cached_property
    def _data_key(self) -> str:
        """What a checkpoint must agree with; computed once, since it reads all tokens."""
        weights = {name: weight for name, (weight, _) in self.extra_losses.items()}
        return data_key(
            self.model, self.tokenized, self.trained_pairs, self.plan(0), self.total_steps, weights
        )

    def _resume(self, folder: Path) -> None:
        newest = latest_checkpoint(folder / CHECKPOINTS)
        if newest is None:
            return
        if self._takes_saved_dtype:
            self.options = self.joint_step.options = replace(self.options, dtype=saved_dtype(newest))
        self.step = load_checkpoint(newest, self.model, self.optimizer, self.options, self._data_key)
        load_states(self.callbacks, saved_callbacks(newest), newest)
        self._kept_step, self._is_torn = self.step, False
