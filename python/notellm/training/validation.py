"""Validation while a model is trained: the best weights are kept, and a training that gains nothing more may end."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from notellm.data.notes import Notes
from notellm.embedding import EmbedOptions, embed
from notellm.errors import DataError
from notellm.metrics import hits_at
from notellm.models.note_model import NoteModel
from notellm.precision import Dtype
from notellm.retrieval import target_ranks
from notellm.training.callbacks import Callback, Training

BEST = "best"
"""Folder of the best model so far in a run folder."""

Measure = Callable[[NoteModel], float]
"""How good a model is; more is better. It is called without gradients."""


class Validation(Callback):
    """Measures the model every few steps and after the last one, and keeps the one that is best, the first of equals.

    Each measured step's record has ``validation``, the number. The weights are kept in ``best/`` of the trainer's
    folder as a model folder, which is complete at any time. Training ends early if the last validations were not
    better than the best one before them.

    Args:
        measure: Called on the first of several processes alone.
        every: Steps between two validations.
        patience: Validations in a row without a better number after which the training ends; 0: it does not.

    Raises:
        ValueError: If a number is out of range.

    Attributes:
        best: The best number so far; None before the first one. best_step: The step after which it was measured,
            counted from 1.
    """

    def __init__(self, measure: Measure, *, every: int, patience: int = 0) -> None:
        if every < 1 or patience < 0:
            raise ValueError(
                f"Validation: every must be at least 1 and patience at least 0, but are {every} and {patience}"
            )
        self.measure, self.every, self.patience = measure, every, patience
        self.best: float | None = None
        self.best_step = 0
        self._waited = 0

    def before_training(self, training: Training) -> None:
        """Looks whether the best model is there, and whether the training had ended early.

        Raises:
            DataError: If a checkpoint says that there is a best model, but it is gone.
        """
        is_kept = training.folder is None or (training.folder / BEST).exists()
        if self.best is not None and training.processes.is_first and not is_kept:
            raise DataError(
                f"{training.folder}: must hold {BEST}/, the best model so far, of step {self.best_step}, but does not; "
                "train in another folder"
            )
        self._stop_if_in_vain(training)

    def after_step(self, training: Training, record: dict[str, Any]) -> None:
        """Measures, if it is time."""
        done = record["step"] + 1
        if done % self.every and done != training.total_steps:
            return
        with training.whole_model() as model:
            found = self._measured(training, model)
            record["validation"] = found
            if self.best is None or found > self.best:
                self._keep(training.folder if training.processes.is_first else None, model)
                self.best, self.best_step, self._waited = found, done, 0
            else:
                self._waited += 1
        self._stop_if_in_vain(training)

    def _measured(self, training: Training, model: NoteModel) -> float:
        """What the first process measures, on all of them."""
        found = torch.tensor(0.0, dtype=torch.float64, device=model.device)
        if training.processes.is_first:
            with torch.no_grad():
                found.fill_(self.measure(model))
        training.processes.wait(patiently=True)
        training.processes.copy_from_(0, found)
        value = float(found)
        if not math.isfinite(value):
            raise ValueError(f"Validation: a measure must be finite, but is {value}")
        return value

    def _keep(self, folder: Path | None, model: NoteModel) -> None:
        if folder is not None:
            model.save_pretrained(folder / BEST)

    def _stop_if_in_vain(self, training: Training) -> None:
        if self.patience and self._waited >= self.patience:
            training.stop()

    def state(self) -> dict[str, Any]:
        """The best number, its step, and the validations since then."""
        return {"best": self.best, "best_step": self.best_step, "waited": self._waited}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from there."""
        self.best = None if state["best"] is None else float(state["best"])
        self.best_step, self._waited = int(state["best_step"]), int(state["waited"])


def recall_on(
    pool: Notes,
    source: NDArray[np.int64],
    target: NDArray[np.int64],
    *,
    k: int = 10,
    projected: bool = True,
    dtype: Dtype = "auto",
    options: EmbedOptions | None = None,
) -> Measure:
    """Recall@k on queries of one's own as a measure, for example of notes that are held out for validation.

    Args:
        pool: The notes to rank, the queries among them.
        source: Shape ``(Q,)``, int64: queries, as positions in the pool.
        target: Shape ``(Q,)``: the note that each is to find.
        k: The cut-off.
        projected: Whether embeddings are projected; not if no contrastive loss trains the projection.
        dtype: Of the matrix products, see `notellm.resolve_dtype`.
        options: See `EmbedOptions`.

    Returns:
        A function of a model; the fraction is in 0..1, a tie counts by its chance.

    Raises:
        ValueError: If there is no query.
    """
    if len(source) == 0:
        raise ValueError("recall_on: there must be a query, but there is none")
    queries, targets = torch.from_numpy(source), torch.from_numpy(target)

    def measure(model: NoteModel) -> float:
        vectors = embed(
            model, model.prompt.tokenize(pool), projected=projected, dtype=dtype, options=options
        ).vectors
        ranks = target_ranks(vectors[queries], vectors, targets, exclude=queries)
        return float(np.mean(hits_at(ranks, [k])))

    return measure
