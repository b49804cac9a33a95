"""The HTML page: gathers the results of the run and shows them with the templates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from jinja2 import Environment

from notellm.app.numbers import interval_text, percent, signed_percent
from notellm.app.page_templates import environment
from notellm.app.report.figures import COLOURS
from notellm.app.report.findings import TRAINED, UNTRAINED, main_cutoff
from notellm.app.report.run_results import RunResults
from notellm.app.report.sections import gather_sections
from notellm.evaluation.results import Evaluation
from notellm.metrics import Interval


def render(run: RunResults, now: datetime) -> str:
    """The whole page.

    Args:
        run: The results of the run so far.
        now: The time of the report.

    Returns:
        One HTML document that needs no other file.
    """
    evaluation = run.evaluation
    return (
        _templates()
        .get_template("page.html")
        .render(
            name=run.path.resolve().name,
            colours=COLOURS,
            meta=_origin(run),
            evaluation=evaluation,
            measured=list(_measured(evaluation)) if evaluation else [],
            sections=list(gather_sections(run)),
            now=now,
        )
    )


def _templates() -> Environment:
    """The report's templates, with its filters."""
    templates = environment("notellm.app.report")
    templates.filters.update(percent=percent, bounds=interval_text, signed=signed_percent, anchor=_anchor)
    return templates


def _anchor(title: str) -> str:
    """The id of an element, from its title."""
    return re.sub(r"\W+", "-", title.lower()).strip("-")


def _origin(run: RunResults) -> list[str]:
    """Where the run comes from, as far as is known."""
    facts = run.run or {}
    machine, versions = facts.get("machine") or {}, facts.get("versions") or {}
    known = [
        ("started ", facts.get("started")),
        ("commit ", versions.get("commit")),
        ("seed ", facts.get("seed")),
        ("", facts.get("model")),
        ("", facts.get("dtype")),
        ("", machine.get("device")),
    ]
    return [f"{word}{value}" for word, value in known if value not in (None, "")]


@dataclass(frozen=True)
class Measured:
    """A headline number, and its value before training, if that was measured."""

    name: str
    share: Interval
    before: Interval | None


def _measured(evaluation: Evaluation) -> Iterator[Measured]:
    k = main_cutoff(evaluation)
    trained, untrained = evaluation.system(TRAINED), evaluation.system(UNTRAINED)
    if trained is not None:
        yield Measured(f"Recall@{k}", trained.recall[k], untrained.recall[k] if untrained else None)
    accuracy = {writer.key: writer.category_accuracy for writer in evaluation.writers}
    if (reached := accuracy.get(TRAINED)) is not None:
        yield Measured("Category accuracy", reached, accuracy.get(UNTRAINED))
