"""The results in words; every claim is computed from the paired differences."""

from __future__ import annotations

from dataclasses import dataclass

from notellm.app.numbers import percent, signed_percent
from notellm.evaluation.metric_names import METRICS
from notellm.evaluation.results import Evaluation
from notellm.evaluation.retrieval_results import Difference
from notellm.evaluation.significance import Verdict as Significance

TRAINED, UNTRAINED = "trained", "zero_shot_prompt"


def main_cutoff(evaluation: Evaluation) -> int:
    """The cut-off in the headline: 100, or the middle one if 100 was not evaluated."""
    return 100 if 100 in evaluation.ks else evaluation.ks[len(evaluation.ks) // 2]


def list_length(evaluation: Evaluation) -> int:
    """The length of lists that are looked at as such: 10, or the smallest cut-off if 10 was not evaluated."""
    return 10 if 10 in evaluation.ks else min(evaluation.ks)


def cutting(evaluation: Evaluation) -> str | None:
    """How the texts were tokenised, system by system and metric by metric; ``None`` if nothing was tokenised.

    Example:
        >>> from notellm.evaluation.retrieval_results import RetrievalResult
        >>> from notellm.metrics import Interval
        >>> system = RetrievalResult("bm25", "BM25", {}, Interval(0, 0, 0), {}, "words")
        >>> cutting(Evaluation(1, 1, [], "mean", {}, [system], []))
        'Texts were cut into words (BM25).'
    """
    users: dict[str, list[str]] = {}
    for system in evaluation.systems:
        users.setdefault(system.analyzer, []).append(system.name)
    if evaluation.generation is not None:
        users.setdefault(evaluation.generation.tokenizer, []).append("ROUGE")
        users.setdefault(evaluation.generation.bleu_tokenizer, []).append("BLEU")
    users.pop("", None)
    parts = [f"{name} ({', '.join(of)})" for name, of in users.items()]
    return f"Texts were cut into {'; '.join(parts)}." if parts else None


def undefined_metrics(evaluation: Evaluation) -> str | None:
    """Which metrics of hashtags cover fewer notes than the others, and why; ``None`` if all cover the same notes."""
    counts: dict[str, int] = {}
    for writer in evaluation.writers:
        for metric, notes in writer.undefined.items():
            counts[metric] = max(notes, counts.get(metric, 0))
    if not counts:
        return None
    parts = [f"{METRICS.get(metric, metric)} {notes:,} notes" for metric, notes in counts.items()]
    return f"Left out, since their own hashtags are too short or hold no word: by {', by '.join(parts)}."


def cutoffs_left_out(evaluation: Evaluation) -> str | None:
    """Which cut-offs are not shown, and why; ``None`` if all are.

    Example:
        >>> cutoffs_left_out(Evaluation(572, 1, [10], "mean", {}, [], [], ks_left_out=[1000]))
        'Recall@1000 is left out: in a pool of 572 notes every order reaches it.'
    """
    if not evaluation.ks_left_out:
        return None
    names = ", ".join(f"Recall@{k}" for k in evaluation.ks_left_out)
    verb = "is" if len(evaluation.ks_left_out) == 1 else "are"
    them = "it" if verb == "is" else "them"
    return f"{names} {verb} left out: in a pool of {evaluation.pool:,} notes every order reaches {them}."


def training_verdict(evaluation: Evaluation) -> str | None:
    """How training changed recall, in one sentence; ``None`` if there is nothing to compare."""
    k = main_cutoff(evaluation)
    trained, untrained = evaluation.system(TRAINED), evaluation.system(UNTRAINED)
    difference = evaluation.difference(TRAINED, UNTRAINED, k)
    if trained is None or untrained is None or difference is None:
        return None
    before, after = untrained.recall[k].value, trained.recall[k].value
    if difference.is_clear:
        verb = "raises" if difference.interval.value > 0 else "lowers"
        claim = f"Training {verb} Recall@{k} from {percent(before)} % to {percent(after)} %"
        end = f"{_sure(difference, evaluation)}: the difference is not the luck of the queries drawn."
    elif difference.verdict == Significance.EQUIVALENT:
        claim = f"Training leaves Recall@{k} at {percent(after)} % (before: {percent(before)} %)"
        end = "The difference is less than half a point."
    else:
        claim = f"Training moves Recall@{k} from {percent(before)} % to {percent(after)} %"
        end = f"{_unsure([difference])}: these queries do not settle whether training helped."
    setting = f"{evaluation.queries:,} held-out queries, {evaluation.pool:,} notes to choose from"
    return f"{claim} ({setting}): {_change(difference)}. {end}"


@dataclass(frozen=True)
class Verdict:
    """The trained model compared with one baseline: one claim per line, the unfavourable one first."""

    baseline: str
    claims: list[str]

    def __str__(self) -> str:
        return f"Against {self.baseline}: {'; '.join(self.claims)}."


def tfidf_verdicts(evaluation: Evaluation) -> list[Verdict]:
    """At which cut-offs plain TF-IDF is better, not clearly different, or worse, for each TF-IDF baseline."""
    baselines = [s for s in evaluation.systems if s.key == "tfidf" or s.key.startswith("tfidf_")]
    verdicts = []
    for baseline in baselines:
        candidates = (evaluation.difference(TRAINED, baseline.key, k) for k in evaluation.ks)
        differences = [difference for difference in candidates if difference is not None]
        if differences:
            verdicts.append(Verdict(baseline.name, _claims(differences)))
    return verdicts


def _claims(differences: list[Difference]) -> list[str]:
    losses = [d for d in differences if d.is_clear and d.interval.value < 0]
    equal = [d for d in differences if d.verdict == Significance.EQUIVALENT]
    unsettled = [d for d in differences if not d.is_clear and d not in equal]
    wins = [d for d in differences if d.is_clear and d.interval.value > 0]
    claims = [
        f"TF-IDF still wins at {_listing(losses)}" if losses else "TF-IDF wins at no cut-off beyond doubt"
    ]
    if unsettled:
        why = _unsure(unsettled)
        claims.append(f"neither can be called better at {_listing(unsettled)}: {why[0].lower()}{why[1:]}")
    if equal:
        claims.append(f"they differ by less than half a point at {_listing(equal)}")
    if wins:
        claims.append(f"the trained model wins at {_listing(wins)}")
    return claims


def _sure(difference: Difference, evaluation: Evaluation) -> str:
    """Why a difference is clear; older evaluations have no tests."""
    if difference.p is None:
        return "The interval leaves out 0"
    return f"p = {difference.p:.3f}, corrected for {len(evaluation.differences)} comparisons"


def _unsure(differences: list[Difference]) -> str:
    """Why differences are not clear."""
    if all(d.low <= 0 <= d.high for d in differences):
        return "The interval includes 0"
    return "Not beyond chance, all comparisons considered"


def _listing(differences: list[Difference]) -> str:
    parts = [f"Recall@{d.k} ({_change(d)})" for d in differences]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _change(difference: Difference) -> str:
    interval = difference.interval
    value, low, high = (signed_percent(fraction) for fraction in interval)
    return f"{value} points, 95 %: {low} to {high}"
