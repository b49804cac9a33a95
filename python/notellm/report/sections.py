"""The sections of the page that show results: one function each, from a part of the run to HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log

from notellm.evaluation.results import Difference, Evaluation, GenerationResult, RetrievalResult
from notellm.metrics import Interval
from notellm.report.figures import Bar, bars, curve, reliability
from notellm.report.findings import (
    TRAINED,
    Verdict,
    cutting,
    interval_text,
    main_cutoff,
    percent,
    signed,
    tfidf_verdicts,
    training_verdict,
    undefined_metrics,
)
from notellm.report.markup import Html, el, join
from notellm.report.run_results import TrainingLog

SIDES = {"low": "seldom seen", "high": "often seen"}


@dataclass(frozen=True)
class Row:
    """A line of a table: whose it is, under what name, and its cells."""

    key: str
    name: str
    cells: Sequence[str | Html]


def figures(panels: Sequence[tuple[str | Html, Html]], caption: str) -> Html:
    """Panels with a heading each, two or three abreast where they fit, under one caption."""
    cells = [el("div", el("h3", title), svg, class_="panel") for title, svg in panels]
    abreast = "panels three" if len(panels) % 3 == 0 else "panels"
    return el("figure", el("div", cells, class_=abreast), el("figcaption", caption))


def table(caption: str, header: Sequence[str], rows: Iterable[Row]) -> Html:
    """A table with the systems down the side; scrolls sideways where it does not fit."""
    head = el("tr", [el("th", name, scope="col") for name in header])
    body = []
    for row in rows:
        cells = [el("td", cell) for cell in row.cells]
        emphasis = "trained" if row.key == TRAINED else None
        body.append(el("tr", el("th", row.name, scope="row"), cells, class_=emphasis))
    grid = el("table", el("caption", el("span", caption)), el("thead", head), el("tbody", body))
    return el("div", grid, class_="scroll", tabindex="0", role="region", aria_label=caption)


def verdict(evaluation: Evaluation) -> Html:
    """What came out, in sentences, good and bad."""
    trained = training_verdict(evaluation)
    against = tfidf_verdicts(evaluation)
    return join(
        el("p", trained, class_="lead") if trained else None,
        el("div", [_claims(verdict) for verdict in against], class_="against") if against else None,
    )


def _claims(verdict: Verdict) -> Html:
    sentences = [el("li", f"{claim[0].upper()}{claim[1:]}.") for claim in verdict.claims]
    return el("div", el("h3", f"Against {verdict.baseline}"), el("ul", sentences), class_="honest")


def retrieval(evaluation: Evaluation) -> Html:
    """The table of recalls, its bars, and the rules it was made by."""
    ks = evaluation.ks
    rows = [
        Row(system.key, system.name, [*(share(system.recall[k]) for k in ks), mrr(system.mrr)])
        for system in evaluation.systems
    ]
    caption = f"{evaluation.queries:,} queries, {evaluation.pool:,} notes in the pool"
    panels = [
        (f"Recall@{k}", bars(f"Recall@{k}", [_bar(s, s.recall[k]) for s in evaluation.systems])) for k in ks
    ]
    return join(
        table(caption, ["System", *(f"Recall@{k}" for k in ks), "MRR"], rows),
        el("p", _rules(evaluation), class_="fine"),
        figures(panels, "Percent of queries whose target is among the first K. Lines: 95 % intervals."),
        _differences(evaluation),
    )


def exposure(evaluation: Evaluation) -> Html | None:
    """Recall for targets that few and that many have seen."""
    systems = [system for system in evaluation.systems if system.exposure]
    if not systems:
        return None
    ks, panels, rows = evaluation.ks, [], []
    for side, words in SIDES.items():
        having = [system for system in systems if side in system.exposure]
        if not having:
            continue
        for system in having:
            cells = [share(system.exposure[side].recall[k]) for k in ks]
            rows.append(Row(system.key, f"{system.name}, target {words}", cells))
        k, queries = main_cutoff(evaluation), max((s.exposure[side].queries for s in having), default=0)
        title = f"Recall@{k}, target {words}"
        drawn = bars(title, [_bar(system, system.exposure[side].recall[k]) for system in having])
        panels.append((f"{title} ({queries:,} queries)", drawn))
    caption = "; ".join(
        f"{SIDES.get(side, side)}: the target is among the {'least' if side == 'low' else 'most'} exposed "
        f"{share_of_pool:.0%} of the pool"
        for side, share_of_pool in evaluation.exposure_fractions.items()
    )
    header = ["System", *(f"Recall@{k}" for k in ks)]
    full = el("details", el("summary", "All cut-offs"), table("Recall by exposure", header, rows))
    return join(figures(panels, caption), full)


def training(log_: TrainingLog) -> Html:
    """The losses and the learned scale, step by step."""
    contrastive, generative, scale = (log_.curves[name] for name in ("contrastive", "generative", "scale"))
    # A model that cannot tell the notes apart picks the partner among the 2B - 1 others by chance.
    chance = ("chance", log(max(log_.notes_per_step - 1, 1)))
    panels: list[tuple[Html | str, Html]] = []
    if contrastive[0]:
        panels.append(("Contrastive loss", curve("Contrastive loss", *contrastive, chance)))
    if generative[0]:
        panels.append(("Generative loss", curve("Generative loss", *generative)))
    panels.append((join("Learned scale e", el("sup", "\u03c4")), curve("Learned scale", *scale)))
    speed = f", {log_.tokens / log_.seconds:,.0f} tokens a second" if log_.seconds > 0 else ""
    caption = (
        f"Thin: each step; thick: running mean. {len(log_.steps):,} steps of {log_.notes_per_step:,} notes, "
        f"{log_.tokens:,} tokens in {log_.seconds / 60:,.1f} minutes{speed}. Chance: the loss of a model "
        "that finds all notes of a batch equally alike."
    )
    if log_.hashtag_shortfall:
        caption += (
            f" {log_.hashtag_shortfall:,} notes that were to write hashtags wrote their category: too few notes "
            "of their batch have hashtags."
        )
    return figures(panels, caption)


def generation(evaluation: Evaluation) -> Html | None:
    """The tables of what the models wrote, and how well they know what they are right about."""
    if evaluation.generation is None:
        return None
    writers = evaluation.writers
    tagged = max(writer.hashtag_notes for writer in writers)
    categories = table(
        f"Categories of {evaluation.generation.notes:,} held-out notes",
        ["System", "Acc.", "Ill.", "Macro F1", "Closed-set Acc.", "Calibration error"],
        [Row(writer.key, writer.name, _of_categories(writer)) for writer in writers],
    )
    hashtags = table(
        f"Hashtags of the {tagged:,} that have some",
        ["System", "BLEU-4", "ROUGE-1", "ROUGE-2", "ROUGE-L", "Precision", "Recall", "F1"],
        [Row(writer.key, writer.name, _of_hashtags(writer)) for writer in writers],
    )
    direction = "Percent. Less is better for Ill. and the calibration error; more for all others."
    left_out = undefined_metrics(evaluation)
    return join(
        categories,
        hashtags,
        el("p", f"{direction} {left_out}" if left_out else direction, class_="fine"),
        _calibration(writers),
        _confusions(writers),
    )


def _calibration(writers: Sequence[GenerationResult]) -> Html | None:
    panels: list[tuple[str | Html, Html]] = [
        (writer.name, reliability(f"Confidence of {writer.name}", writer.key, writer.closed_set.calibration))
        for writer in writers
        if writer.closed_set
    ]
    if not panels:
        return None
    caption = (
        "The probability that the best of the known categories has among them all, and the share of such answers that "
        "is right. On the line a model knows exactly how often it is right; a larger dot stands for more notes."
    )
    return figures(panels, caption)


def _confusions(writers: Sequence[GenerationResult]) -> Html | None:
    mistaken = [(writer, writer.confusions) for writer in writers if writer.confusions]
    if not mistaken:
        return None
    rows = [
        Row(writer.key, writer.name, [pair.true, pair.written or "\u2013", f"{pair.notes:,}"])
        for writer, pairs in mistaken
        for pair in pairs
    ]
    listed = table("The most frequent mistakes", ["System", "True", "Written", "Notes"], rows)
    return el("details", el("summary", "What is taken for what"), listed)


def share(interval: Interval | None) -> Html | str:
    """A share in percent with its interval beneath."""
    if interval is None:
        return "\u2013"
    return join(el("b", percent(interval.value)), el("span", interval_text(interval)))


def mrr(interval: Interval) -> Html:
    """A mean reciprocal rank with its interval beneath."""
    bounds = f"{interval.low:.3f}\u2013{interval.high:.3f}"
    return join(el("b", f"{interval.value:.3f}"), el("span", bounds))


def _bar(system: RetrievalResult, interval: Interval) -> Bar:
    return Bar(system.key, system.name, interval)


def _of_categories(writer: GenerationResult) -> list[Html | str]:
    best = writer.closed_set
    return [
        share(writer.category_accuracy),
        share(writer.illusory),
        _plain(writer.macro_f1),
        share(best.accuracy if best else None),
        _plain(best.calibration_error if best else None),
    ]


def _of_hashtags(writer: GenerationResult) -> list[Html | str]:
    overlaps = (writer.bleu4, writer.rouge1, writer.rouge2, writer.rouge_l)
    sets = writer.hashtags
    return [
        share(score)
        for score in (*overlaps, *((sets.precision, sets.recall, sets.f1) if sets else [None] * 3))
    ]


def _plain(number: float | None) -> Html | str:
    return "\u2013" if number is None else el("b", percent(number))


def _rules(evaluation: Evaluation) -> str:
    ties = {
        "mean": "a target that ties with others counts as the mean over the orders they could come in",
        "optimistic": "a target that ties with others counts as the first of them",
        "pessimistic": "a target that ties with others counts as the last of them",
    }[evaluation.ties]
    cut_into = cutting(evaluation)
    cut = ", ".join(f"{name} {length} tokens" for name, length in evaluation.truncation.items())
    return (
        "Percent (MRR: 0 to 1), with 95 % bootstrap intervals. Ranks are exact, over the whole pool but the "
        f"query; {ties}."
        + (f" Language model: {evaluation.language_model}." if evaluation.language_model else "")
        + (f" Prompt: {evaluation.prompt}." if evaluation.prompt else "")
        + (f" Input cut to: {cut}." if cut else "")
        + (f" {cut_into}" if cut_into else "")
    )


def _differences(evaluation: Evaluation) -> Html | None:
    if not evaluation.differences:
        return None
    names = {system.key: system.name for system in evaluation.systems}
    by_pair: dict[tuple[str, str], dict[int, Html]] = {}
    for d in evaluation.differences:
        by_pair.setdefault((d.a, d.b), {})[d.k] = _change(d)
    rows = [
        Row(
            key=f"{a}-{b}",
            name=f"{names.get(a, a)} \u2212 {names.get(b, b)}",
            cells=[cells.get(k, "\u2013") for k in evaluation.ks],
        )
        for (a, b), cells in by_pair.items()
    ]
    caption = (
        "Paired differences in percentage points, with 95 % intervals; bold where the interval leaves out 0"
    )
    return table(caption, ["Difference", *(f"Recall@{k}" for k in evaluation.ks)], rows)


def _change(difference: Difference) -> Html:
    interval = difference.interval
    value = el("b", signed(interval.value), class_="clear" if difference.is_clear else None)
    return join(value, el("span", f"{signed(interval.low)} to {signed(interval.high)}"))
