"""The metrics of an evaluation by the names that tables, ledgers and loggers use."""

from __future__ import annotations

import sys

from notellm.app.run import RunFolder
from notellm.errors import NotSupportedError
from notellm.evaluation.generation_results import GenerationResult
from notellm.evaluation.results import Evaluation
from notellm.evaluation.retrieval_results import RetrievalResult
from notellm.loggers import Loggers


def log_metrics(run: RunFolder, evaluation: Evaluation) -> None:
    """Gives the loggers of a run what its evaluation has found.

    Metrics of the trained system have no name before them, nor have those of a run that has only another one.
    """
    found = {row.key.partition(".")[0]: dict[str, float]() for row in evaluation.systems}
    own = "trained" if "trained" in found or len(found) > 1 else next(iter(found), "")
    metrics: dict[str, float] = {}
    for system in found:
        named = metrics_of(evaluation, system)
        metrics |= named if system == own else {f"{system}/{name}": value for name, value in named.items()}
    try:
        loggers = Loggers(run.config.train.loggers, run.about)
    except NotSupportedError as error:  # the metrics are in the run folder already
        print(f"Loggers get nothing of this evaluation, since one cannot be opened: {error}", file=sys.stderr)
        return
    loggers.summary(metrics)
    loggers.close(failed=False)


def metrics_of(evaluation: Evaluation, system: str) -> dict[str, float]:
    """The numbers of one system, by the names used in tables; those of a variant with its name before."""
    metrics: dict[str, float] = {}
    for row in evaluation.systems:
        name, _, variant = row.key.partition(".")
        if name == system:
            metrics |= {
                f"{variant}.{key}".lstrip("."): value for key, value in _retrieval_metrics(row).items()
            }
    for writer in evaluation.writers:
        if writer.key == system:
            metrics |= _generation_metrics(writer)
    return metrics


def _retrieval_metrics(own: RetrievalResult) -> dict[str, float]:
    metrics = {"mrr": own.mrr.value} | _further_metrics(own)
    for side, recall in {
        "": own.recall,
        **{side: part.recall for side, part in own.exposure.items()},
    }.items():
        recalls = {f"recall@{k}": found.value for k, found in recall.items()}
        recalls["recall@avg"] = sum(recalls.values()) / len(recalls)
        metrics |= {f"{side}.{name}".lstrip("."): value for name, value in recalls.items()}
    return metrics


def _further_metrics(own: RetrievalResult) -> dict[str, float]:
    """Those that an evaluation of an older version lacks: of the order, by target, and of lists."""
    metrics = {f"ndcg@{k}": found.value for k, found in own.ndcg.items()}
    metrics |= {f"map@{k}": found.value for k, found in own.map.items()}
    metrics |= {f"coverage@{k}": found.coverage for k, found in own.lists.items()}
    metrics |= {f"popularity@{k}": found.popularity.value for k, found in own.lists.items()}
    if own.log_score is not None:
        metrics["log_score"] = own.log_score.value
    if own.by_target is not None:
        macro = own.by_target
        metrics |= {f"macro.recall@{k}": found.value for k, found in macro.recall.items()}
        metrics |= {f"macro.ndcg@{k}": found.value for k, found in macro.ndcg.items()}
        metrics |= {"macro.mrr": macro.mrr.value, "macro.log_score": macro.log_score.value}
    return metrics


def _generation_metrics(writer: GenerationResult) -> dict[str, float]:
    found = {
        "accuracy": writer.category_accuracy,
        "illusory": writer.illusory,
        "closed_set": writer.closed_set.accuracy if writer.closed_set else None,
        "bleu4": writer.bleu4,
        "rouge1": writer.rouge1,
        "rouge2": writer.rouge2,
        "rougeL": writer.rouge_l,
        "hashtag_f1": writer.hashtags.f1 if writer.hashtags else None,
    }
    return {name: interval.value for name, interval in found.items() if interval is not None}
