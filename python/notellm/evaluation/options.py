"""What is measured."""

from typing import get_args

from notellm.data.histories import LAST, LONGEST, read_moment
from notellm.losses import nested_dims_fault
from notellm.metrics.bootstrap import RESAMPLES
from notellm.metrics.ranking import HIGH, LOW, Ties
from notellm.options import Options, option
from notellm.text import ANALYZERS

NAMES = {
    "random": "Random order",
    "popularity": "Popularity",
    "tfidf": "TF-IDF (same text)",
    "tfidf_full": "TF-IDF (full text)",
    "bm25": "BM25 (full text)",
    "cooccurrence": "Co-occurrence",
    "zero_shot_mean": "Zero-shot mean",
    "zero_shot_last": "Zero-shot last",
    "zero_shot_prompt": "Zero-shot prompt",
    "sentence_bert_zero_shot": "MiniLM zero-shot",
    "sentence_bert": "MiniLM trained",
    "trained": "NoteLLM trained",
}
"""The systems that come with the package, in the order of the tables, and their names in tables."""


class EvaluationOptions(Options):
    """What is measured, and how surely."""

    systems: tuple[str, ...] = option(
        "What is compared; sentence_bert is trained too, by a sweep; cooccurrence is of known notes "
        "(data.split=users).",
        default=(
            "random",
            "popularity",
            "tfidf",
            "tfidf_full",
            "zero_shot_mean",
            "zero_shot_prompt",
            "trained",
        ),
        choices=tuple(NAMES),
        not_empty=True,
        each_once=True,
    )
    ks: tuple[int, ...] = option(
        "Cut-offs of Recall@k.", default=(1, 10, 100, 1000), at_least=1, not_empty=True, each_once=True
    )
    dims: tuple[int, ...] = option(
        "Ascending widths below model.dim at which the trained model's vectors are measured, too; then each width, the "
        "whole one included, is also measured as int8.",
        default=(),
        at_least=1,
        added_later=True,
    )
    ties: str = option("What equal scores count as.", default="mean", choices=get_args(Ties))
    analyzer: str = option(
        "How texts are cut for TF-IDF, BM25, ROUGE and BLEU: by script; all as words or as characters; or by script, "
        "with the words of the package jieba for Chinese and Japanese.",
        default="auto",
        choices=ANALYZERS,
    )
    bootstrap_samples: int = option("Resamples behind the 95 % intervals.", default=RESAMPLES, at_least=1)
    generation_notes: int = option(
        "Test notes whose category and hashtags are generated; 0 = none.",
        default=200,
        at_least=0,
        unit="notes",
    )
    low_fraction: float = option("Share of test notes called low-exposure.", default=LOW, above=0, at_most=1)
    high_fraction: float = option(
        "Share of test notes called high-exposure.", default=HIGH, above=0, at_most=1
    )

    next_notes: str = option(
        "User-to-item: whether the note that came next is found by a user's history in the pool; last: each user's "
        "last note is left out; a date, such as 2024-01-31: the first note from then on; empty: not measured.",
        default="",
        added_later=True,
    )
    history_notes: int = option(
        "next_notes: how many notes of a user are the query, the most recent ones.",
        default=LONGEST,
        at_least=1,
        unit="notes",
        added_later=True,
    )
    history_decay: float = option(
        "next_notes: how much less each note counts than the one after it; 1 = the plain mean of their vectors.",
        default=1.0,
        above=0,
        at_most=1,
        added_later=True,
    )

    def mismatch(self) -> str:
        """Widths must ascend; what came next is the last note, or that from a moment on."""
        fault = nested_dims_fault(self.dims)
        if fault:
            return f"dims {fault}"
        if self.next_notes not in ("", LAST):
            try:
                read_moment(self.next_notes)
            except ValueError as error:
                return f"next_notes: {str(error).partition(': ')[2]}"
        return ""
