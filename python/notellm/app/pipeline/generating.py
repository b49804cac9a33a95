"""Generates categories and hashtags of notes, as a configuration asks for them."""

from collections.abc import Collection, Sequence
from typing import Any

from notellm.app.config import Config
from notellm.data.notes import Notes
from notellm.errors import ConfigError
from notellm.generation import generate_category, generate_hashtags, score_categories
from notellm.models.note_model import NoteModel
from notellm.progress import ProgressFn


class Describer:
    """Generates for notes what the configuration's ``generation`` group asks for.

    Args:
        config: The configuration.
        model: The model.
        known_categories: A closed set; the best of it is found for each note, with its probability in the set. If
            empty, this is skipped.
        closed: Whether ``category`` is that best one instead of being generated freely.
        vocabulary: The allowed hashtags; default: any.
        ban_in_text: Whether hashtags that occur in the note's text are left out.
        writes: What is written: ``"category"``, ``"hashtags"`` or both; the other stays empty.
    """

    def __init__(
        self,
        config: Config,
        model: NoteModel,
        *,
        known_categories: Sequence[str] = (),
        closed: bool = False,
        vocabulary: Sequence[str] | None = None,
        ban_in_text: bool = False,
        writes: Collection[str] = ("category", "hashtags"),
    ) -> None:
        self.model, self.known, self.closed = model, known_categories, closed
        self.vocabulary, self.ban_in_text, self.writes = vocabulary, ban_in_text, writes
        asked = config.generation
        self.count, most = asked.hashtag_count, model.prompt.config.max_hashtags
        if self.count > most:
            raise ConfigError(
                f"generation.hashtag_count must be at most {most}, the max_hashtags of the model's prompt, but is "
                f"{self.count}"
            )
        self.written: dict[str, Any] = {
            "decoding": asked,
            "seed": config.seed,
            "dtype": config.dtype,
        }

    def __call__(self, notes: Notes, progress: ProgressFn) -> list[dict[str, Any]]:
        """The outputs for each note.

        Args:
            notes: The notes; their own categories are not used; the category prompt shows their hashtags.
            progress: Called with (outputs done, outputs).

        Returns:
            ``{"category", "hashtags"}`` for each note; with known categories also ``best_category`` (unless that is
            the category) and ``confidence``.
        """
        has_category = "category" in self.writes
        parts = [self._categories] if has_category and not (self.known and self.closed) else []
        parts += [self._best_categories] if has_category and self.known else []
        parts += [self._hashtags] if "hashtags" in self.writes else []
        rows: list[dict[str, Any]] = [{"category": "", "hashtags": []} for _ in range(len(notes))]
        for number, part in enumerate(parts):
            for row, own in zip(rows, part(notes, _part_of(progress, number, len(parts))), strict=True):
                row |= own
        return rows

    def _categories(self, notes: Notes, progress: ProgressFn) -> list[dict[str, Any]]:
        written = generate_category(self.model, notes, progress=progress, **self.written)
        return [{"category": category} for category in written]

    def _best_categories(self, notes: Notes, progress: ProgressFn) -> list[dict[str, Any]]:
        scored = score_categories(
            self.model,
            notes,
            self.known,
            dtype=self.written["dtype"],
            batch_tokens=self.written["decoding"].batch_tokens,
            progress=progress,
        )
        key = "category" if self.closed else "best_category"
        both = zip(scored.best, scored.confidence.tolist(), strict=True)
        return [{key: best, "confidence": round(confidence, 6)} for best, confidence in both]

    def _hashtags(self, notes: Notes, progress: ProgressFn) -> list[dict[str, Any]]:
        written = generate_hashtags(
            self.model,
            notes,
            self.count,
            vocabulary=self.vocabulary,
            ban_in_text=self.ban_in_text,
            progress=progress,
            **self.written,
        )
        return [{"hashtags": tags} for tags in written]


def _part_of(progress: ProgressFn, number: int, parts: int) -> ProgressFn:
    """The progress of one of several passes over the same notes, as part of the whole."""
    return lambda done, total: progress(number * total + done, parts * total)
