"""Metrics: ranks, recommended lists, categories, text overlap, and bootstrap intervals for them."""

from notellm.metrics.bootstrap import Interval, bootstrap_difference, bootstrap_mean
from notellm.metrics.categories import (
    Calibration,
    CategoryScores,
    Confusion,
    calibration,
    category_scores,
    confusion,
)
from notellm.metrics.lists import coverage, novelty, popularity
from notellm.metrics.ranking import (
    ExposureSplit,
    Ties,
    exposure_split,
    gains_at,
    hits_at,
    log_ranks,
    mrr,
    recall_at,
    reciprocal_ranks,
    reciprocal_ranks_at,
)
from notellm.metrics.texts import (
    Bleu,
    Overlap,
    Rouge,
    bleu,
    bleu_as_released,
    bleu_counts,
    bootstrap_bleu,
    corpus_bleu,
    hashtag_overlap,
    rouge,
)
from notellm.text import TOKENIZERS

__all__ = [
    "TOKENIZERS",
    "Bleu",
    "Calibration",
    "CategoryScores",
    "Confusion",
    "ExposureSplit",
    "Interval",
    "Overlap",
    "Rouge",
    "Ties",
    "bleu",
    "bleu_as_released",
    "calibration",
    "bleu_counts",
    "bootstrap_bleu",
    "bootstrap_difference",
    "bootstrap_mean",
    "category_scores",
    "confusion",
    "corpus_bleu",
    "coverage",
    "exposure_split",
    "gains_at",
    "hashtag_overlap",
    "hits_at",
    "log_ranks",
    "mrr",
    "novelty",
    "popularity",
    "recall_at",
    "reciprocal_ranks",
    "reciprocal_ranks_at",
    "rouge",
]
