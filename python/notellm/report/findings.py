"""What the numbers say, in words; every claim is computed from the paired differences."""

from __future__ import annotations

from notellm.report.results import Difference, Evaluation, Interval

TRAINED, UNTRAINED = "trained", "zero_shot_prompt"


def percent(fraction: float) -> str:
    """A share as a percentage with one decimal, without the sign.

    Example:
        >>> percent(0.2304)
        '23.0'
    """
    return f"{100 * fraction:.1f}"


def interval_text(interval: Interval) -> str:
    """The bounds of an interval of shares, in percent.

    Example:
        >>> interval_text(Interval(0.23, 0.188, 0.271))
        '18.8\u201327.1'
    """
    return f"{percent(interval.low)}\u2013{percent(interval.high)}"


def main_cutoff(evaluation: Evaluation) -> int:
    """The cut-off that the headline speaks of: 100, or the middle one where 100 was not evaluated."""
    return 100 if 100 in evaluation.ks else evaluation.ks[len(evaluation.ks) // 2]


def training_verdict(evaluation: Evaluation) -> str | None:
    """What training did to recall, in one sentence; ``None`` where there is nothing to compare."""
    k = main_cutoff(evaluation)
    trained, untrained = evaluation.system(TRAINED), evaluation.system(UNTRAINED)
    difference = evaluation.difference(TRAINED, UNTRAINED, k)
    if trained is None or untrained is None or difference is None:
        return None
    before, after = untrained.recall[k].value, trained.recall[k].value
    if difference.is_clear:
        verb = "raises" if difference.interval.value > 0 else "lowers"
        claim = f"Training {verb} Recall@{k} from {percent(before)} % to {percent(after)} %"
        end = "The interval leaves out 0: the difference is not the luck of the queries drawn."
    else:
        claim = f"Training moves Recall@{k} from {percent(before)} % to {percent(after)} %"
        end = "The interval includes 0: these queries do not settle whether training helped."
    setting = f"{evaluation.queries:,} held-out queries, {evaluation.pool:,} notes to choose from"
    return f"{claim} ({setting}): {_change(difference)}. {end}"


def tfidf_verdicts(evaluation: Evaluation) -> list[str]:
    """Where plain TF-IDF is better, worse, or not to be told apart: one sentence for each TF-IDF baseline."""
    baselines = [s for s in evaluation.systems if s.key == "tfidf" or s.key.startswith("tfidf_")]
    verdicts = [_against(evaluation, baseline.key, baseline.name) for baseline in baselines]
    return [verdict for verdict in verdicts if verdict is not None]


def _against(evaluation: Evaluation, baseline: str, name: str) -> str | None:
    candidates = (evaluation.difference(TRAINED, baseline, k) for k in evaluation.ks)
    differences = [difference for difference in candidates if difference is not None]
    if not differences:
        return None
    losses = [d for d in differences if d.is_clear and d.interval.value < 0]
    wins = [d for d in differences if d.is_clear and d.interval.value > 0]
    open_ = [d for d in differences if not d.is_clear]
    clauses = []
    if losses:
        clauses.append(f"{name} still wins at {_listing(losses)}")
    else:
        clauses.append(f"{name} wins at no cut-off beyond doubt")
    if open_:
        clauses.append(f"the interval includes 0 at {_listing(open_)}, so neither can be called better there")
    if wins:
        clauses.append(f"the trained model wins at {_listing(wins)}")
    return "; ".join(clauses) + "."


def _listing(differences: list[Difference]) -> str:
    parts = [f"Recall@{d.k} ({_change(d)})" for d in differences]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _change(difference: Difference) -> str:
    """Trained minus the other, in percentage points, with a true minus sign."""
    value, low, high = (
        f"{100 * x:+.1f}".replace("-", "\u2212")
        for x in (difference.interval.value, difference.interval.low, difference.interval.high)
    )
    return f"{value} points, 95 % interval {low} to {high}"
