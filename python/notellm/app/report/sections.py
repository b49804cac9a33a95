"""The sections of the page as data: their titles, and the arguments for the macros of ``sections.html``."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from notellm.app.config import parse_config
from notellm.app.report.examples import HIT, INVENTION, NEAR, in_order, note_cards
from notellm.app.report.figures import Bar, Drawing, bars, curve, histogram, reliability
from notellm.app.report.findings import (
    cutoffs_left_out,
    cutting,
    list_length,
    main_cutoff,
    tfidf_verdicts,
    training_verdict,
    undefined_metrics,
)
from notellm.app.report.run_results import RunResults, TrainingLog
from notellm.errors import ConfigError
from notellm.evaluation.generation_results import Generation
from notellm.evaluation.results import Evaluation
from notellm.evaluation.retrieval_results import RetrievalResult
from notellm.metrics import Interval

SIDES = {"low": "seldom seen", "high": "often seen"}

Panels = list[tuple[str, Drawing]]
"""Figures side by side, each with its heading."""


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        title: Its heading.
        macro: The macro of ``sections.html`` that shows it.
        data: The macro's arguments, by name.
    """

    title: str
    macro: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """A row of a table: the system's key and name, and the content of its cells."""

    key: str
    name: str
    cells: Any


def gather_sections(run: RunResults) -> Iterator[Section]:
    """The sections in reading order; for a part that the run does not have yet, the command that makes it.

    Args:
        run: The results of the run so far.

    Raises:
        NotSupportedError: If matplotlib is not installed.
    """
    evaluation = run.evaluation
    if evaluation is None:
        yield _missing(run, "Retrieval", "evaluation.json", "evaluate")
    else:
        yield from _results(run, evaluation)
    if run.training:
        yield Section("Training", "training", _training(run.training))
    else:
        yield _missing(run, "Training", "train.jsonl", "train")
    title = "Nearest notes, before and after training"
    if run.queries:
        yield Section(title, "neighbours", {"queries": in_order(run.queries)})
    else:
        yield _missing(run, title, "neighbours.json", "evaluate")
    title = "Categories and hashtags, true and generated"
    yield (
        Section(title, "notes", _notes(run)) if run.notes else _without_words(run, title, "generation.jsonl")
    )
    yield Section("Data", "data", _data(run)) if run.data else _missing(run, "Data", "data.json", "train")
    yield Section("How to read it", "glossary", {"evaluation": evaluation})
    yield Section("How it was made", "origin", _origin(run))


def _missing(run: RunResults, title: str, what: str, verb: str, *changes: str) -> Section:
    """What stands where a part would be, with the command that makes it."""
    return Section(title, "missing", {"what": what, "call": _call(run, verb, *changes)})


def _call(run: RunResults, verb: str, *changes: str) -> str:
    return shlex.join(["notellm", verb, "--run", str(run.path), *changes])


def _without_words(run: RunResults, title: str, what: str) -> Section:
    """Where nothing has been written: an evaluation writes words, unless it is told not to."""
    try:
        notes = parse_config(run.config or "").evaluation.generation_notes
    except ConfigError:  # of another version: it is shown, and no more
        notes = None
    if notes == 0:
        off = f"{what} (evaluation.generation_notes is 0)"
        return _missing(run, title, off, "evaluate", "evaluation.generation_notes=200")
    return _missing(run, title, what, "evaluate")


def _results(run: RunResults, evaluation: Evaluation) -> Iterator[Section]:
    verdicts = {"training": training_verdict(evaluation), "baselines": tfidf_verdicts(evaluation)}
    if any(verdicts.values()):
        yield Section("What came out", "verdict", verdicts)
    yield Section("Retrieval", "retrieval", _retrieval(evaluation))
    if any(system.exposure for system in evaluation.systems):
        yield Section("Seldom and often seen notes", "exposure", _exposure(evaluation))
    if evaluation.generation is None:
        yield _without_words(run, "Generation", "generation")
    else:
        yield Section("Generation", "generation", _generation(evaluation, evaluation.generation))


def _retrieval(evaluation: Evaluation) -> dict[str, Any]:
    names = {system.key: system.name for system in evaluation.systems}
    pairs = dict.fromkeys((d.a, d.b) for d in evaluation.differences)
    differences = [
        Row(
            key=f"{a}-{b}",
            name=f"{names.get(a, a)} \u2212 {names.get(b, b)}",
            cells=[evaluation.difference(a, b, k) for k in evaluation.ks],
        )
        for a, b in pairs
    ]
    panels = [
        _recall_bars(f"Recall@{k}", [(s, s.recall[k]) for s in evaluation.systems]) for k in evaluation.ks
    ]
    recalls = [title for title, _ in panels]
    shown = {"recalls": recalls, "panels": panels, "differences": differences}
    next_ks = evaluation.next_notes.ks if evaluation.next_notes else []
    shown |= {"next_recalls": [f"Recall@{k}" for k in next_ks]}
    shown |= {"k": list_length(evaluation), "main": main_cutoff(evaluation)}
    said = [note for note in (cutoffs_left_out(evaluation), cutting(evaluation)) if note]
    return {"evaluation": evaluation, "cut_into": " ".join(said), **shown}


def _recall_bars(title: str, recalls: Sequence[tuple[RetrievalResult, Interval]]) -> tuple[str, Drawing]:
    return title, bars(title, [Bar(system.key, system.name, recall) for system, recall in recalls])


def _exposure(evaluation: Evaluation) -> dict[str, Any]:
    """Recall for targets that were shown rarely, and often."""
    k, panels, rows = main_cutoff(evaluation), [], []
    for side, words in SIDES.items():
        having = [(system, system.exposure[side]) for system in evaluation.systems if side in system.exposure]
        if not having:
            continue
        rows += [
            Row(system.key, f"{system.name}, target {words}", [*part.recall.values()])
            for system, part in having
        ]
        title, drawn = _recall_bars(
            f"Recall@{k}, target {words}", [(system, part.recall[k]) for system, part in having]
        )
        panels.append((f"{title} ({max(part.queries for _, part in having):,} queries)", drawn))
    caption = "; ".join(
        f"{SIDES.get(side, side)}: the target is among the {'least' if side == 'low' else 'most'} exposed "
        f"{share_of_pool:.0%} of the pool"
        for side, share_of_pool in evaluation.exposure_fractions.items()
    )
    recalls = [f"Recall@{k}" for k in evaluation.ks]
    return {"recalls": recalls, "panels": panels, "rows": rows, "caption": caption}


def _generation(evaluation: Evaluation, found: Generation) -> dict[str, Any]:
    """What the models generated, and how well their confidence is calibrated."""
    writers = found.systems
    panels = [
        (writer.name, reliability(f"Confidence of {writer.name}", writer.key, writer.closed_set.calibration))
        for writer in writers
        if writer.closed_set
    ]
    mistakes = [Row(writer.key, writer.name, pair) for writer in writers for pair in writer.confusions]
    tagged = max((writer.hashtag_notes for writer in writers), default=0)
    shown = {"writers": writers, "panels": panels, "mistakes": mistakes}
    return {"notes": found.notes, "tagged": tagged, "left_out": undefined_metrics(evaluation), **shown}


def _training(log_: TrainingLog) -> dict[str, Any]:
    """The losses and the learned scale, step by step."""
    contrastive, generative, scale = (log_.curves[name] for name in ("contrastive", "generative", "scale"))
    # A model that cannot tell the notes apart picks the partner among the 2B - 1 others by chance.
    chance = ("chance", log(max(log_.notes_per_step - 1, 1)))
    panels: Panels = []
    if contrastive[0]:
        panels.append(("Contrastive loss", curve("Contrastive loss", *contrastive, chance)))
    if generative[0]:
        panels.append(("Generative loss", curve("Generative loss", *generative)))
    panels.append(("Learned scale exp(\u03c4)", curve("Learned scale", *scale)))
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
    return {"panels": panels, "caption": caption}


def _notes(run: RunResults) -> dict[str, Any]:
    found = run.evaluation.generation if run.evaluation else None
    names = {writer.key: writer.name for writer in found.systems} if found else {}
    categories = found.known_categories if found else set()
    hashtags = found.known_hashtags if found else set()
    cards = note_cards(run.notes or [], names, categories, hashtags)
    return {"marks": [HIT, NEAR, INVENTION], "cards": cards}


def _data(run: RunResults) -> dict[str, Any]:
    panels: Panels = []
    if run.scores is not None:
        title = "Scores of the pairs found"
        panels.append((title, histogram(title, run.scores.edges, run.scores.counts)))
    return {"groups": list(_facts(run.data or {}, ",")), "panels": panels}


def _origin(run: RunResults) -> dict[str, Any]:
    facts = dict(run.run or {})
    command = facts.pop("command", None)
    shown = shlex.join(map(str, command)) if isinstance(command, list) else command
    groups = list(_facts(facts, ""))
    return {"command": shown, "groups": groups, "config": run.config, "call": _call(run, "train")}


def _facts(
    facts: Mapping[str, Any], separator: str, heading: str = ""
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Names and values under a heading; nested values get their own heading, long lists of numbers are left out.

    Args:
        facts: What to show.
        separator: Separator of thousands: ``","``, or none for numbers that are names, such as a seed.
        heading: The heading.
    """
    flat = {name: value for name, value in facts.items() if not isinstance(value, Mapping | list)}
    yield heading, [(_words(name), _value(value, separator)) for name, value in flat.items()]
    for name, value in facts.items():
        if isinstance(value, Mapping) and value:
            yield from _facts(value, separator, _words(name))


def _words(name: str) -> str:
    return name.replace("_", " ").replace(" gib", " GiB")


def _value(value: object, separator: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:{separator}}"
    if isinstance(value, float):
        return f"{value:{separator}.4g}"
    return "\u2013" if value is None else str(value)
