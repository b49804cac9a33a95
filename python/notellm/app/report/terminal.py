"""The evaluation as tables on a terminal, and as plain text elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from notellm.app.numbers import interval_text, percent
from notellm.app.report.findings import (
    TRAINED,
    cutoffs_left_out,
    cutting,
    list_length,
    main_cutoff,
    tfidf_verdicts,
    training_verdict,
    undefined_metrics,
)
from notellm.evaluation.results import Evaluation
from notellm.metrics import Interval

PLAIN_WIDTH = 100
"""Columns of sentences if the output is not a terminal, such as a log file."""

ANY_WIDTH = 10_000
"""Columns of tables there: they take what they need."""


def print_evaluation(evaluation: Evaluation, stream: TextIO | None = None) -> None:
    """Prints the tables of an evaluation and the findings in words.

    Args:
        evaluation: What to show.
        stream: Where to print; standard output by default. In colour only on a terminal.
    """
    console, width = Console(file=stream, highlight=False), None
    if not console.is_terminal:
        console = Console(file=stream, highlight=False, width=ANY_WIDTH, color_system=None)
        width = PLAIN_WIDTH
    for table in _tables(evaluation, box.SIMPLE_HEAD if console.is_terminal else box.ASCII2):
        console.print(table)
        console.print()
    for text in _sentences(evaluation):
        console.print(text, width=width)


def _sentences(evaluation: Evaluation) -> Iterator[Text]:
    """What the numbers are, and the findings."""
    yield Text("Percent (MRR: 0 to 1), with 95 % bootstrap intervals over targets or notes.\n", "dim")
    if evaluation.language_model:
        yield Text(f"Language model: {evaluation.language_model}.\n", "dim")
    for note in (cutoffs_left_out(evaluation), cutting(evaluation), undefined_metrics(evaluation)):
        if note is not None:
            yield Text(f"{note}\n", "dim")
    for sentence in (training_verdict(evaluation), *tfidf_verdicts(evaluation)):
        if sentence is not None:
            yield Text(f"{sentence}")


def _tables(evaluation: Evaluation, edges: box.Box) -> list[Table]:
    ks, k = evaluation.ks, main_cutoff(evaluation)
    title = f"Retrieval: {evaluation.queries:,} queries, {evaluation.pool:,} notes"
    retrieval = _table(title, [*(f"R@{k}" for k in ks), "MRR"], edges)
    exposure = _table(f"Recall@{k} by the target's exposure", ["low", "high"], edges)
    for system in evaluation.systems:
        shares = [_share(system.recall[k]) for k in ks]
        _row(retrieval, system.key, system.name, [*shares, _mrr(system.mrr)])
        if system.exposure:
            parts = [system.exposure.get(side) for side in ("low", "high")]
            _row(
                exposure,
                system.key,
                system.name,
                [_share(part.recall[k] if part else None) for part in parts],
            )
    tables = [retrieval, exposure, *_further(evaluation, edges), *_generation(evaluation, edges)]
    if evaluation.next_notes is not None:
        tables[2:2] = [_next_notes(evaluation.next_notes, edges)]
    return [table for table in tables if table.row_count]


def _next_notes(found: Evaluation, edges: box.Box) -> Table:
    title = f"User to item, what came next: {found.queries:,} users, {found.pool:,} notes"
    table = _table(title, [*(f"R@{k}" for k in found.ks), "MRR"], edges)
    for system in found.systems:
        _row(
            table, system.key, system.name, [*(_share(system.recall[k]) for k in found.ks), _mrr(system.mrr)]
        )
    return table


def _further(evaluation: Evaluation, edges: box.Box) -> tuple[Table, Table]:
    """Metrics of the order, averages by target, and what is recommended; older evaluations have none of these."""
    k, main = list_length(evaluation), main_cutoff(evaluation)
    order = [f"NDCG@{k}", f"MAP@{k}", "Log-rank", f"R@{k}", f"R@{main}", "MRR", "Log-rank"]
    title = f"Order, and averages over {evaluation.targets:,} targets (the last four)"
    by_order = _table(title, order, edges)
    shown = _table(f"The first {k} notes of each list", ["Coverage", "Novelty, bits", "Popularity"], edges)
    for system in evaluation.systems:
        macro, lists = system.by_target, system.lists.get(k)
        if macro:
            of_queries = [_share(system.ndcg.get(k)), _share(system.map.get(k)), _share(system.log_score)]
            of_targets = [_share(macro.recall[k]), _share(macro.recall[main]), _mrr(macro.mrr)]
            _row(by_order, system.key, system.name, [*of_queries, *of_targets, _share(macro.log_score)])
        if lists:
            cells = [_number(lists.coverage), Text(f"{lists.novelty.value:.1f}"), _share(lists.popularity)]
            _row(shown, system.key, system.name, cells)
    return by_order, shown


def _generation(evaluation: Evaluation, edges: box.Box) -> tuple[Table, Table]:
    tagged = max((writer.hashtag_notes for writer in evaluation.writers), default=0)
    notes = evaluation.generation.notes if evaluation.generation else 0
    closed = ["Closed-set Acc.", "Calib. error"]
    categories = _table(f"Categories: {notes:,} notes", ["Acc.", "Ill.", "Macro F1", *closed], edges)
    columns = ["BLEU-4", "ROUGE-1", "ROUGE-2", "ROUGE-L", "F1"]
    hashtags = _table(f"Hashtags: {tagged:,} notes", columns, edges)
    for writer in evaluation.writers:
        best = writer.closed_set
        cells = [_share(writer.category_accuracy), _share(writer.illusory), _number(writer.macro_f1)]
        cells += [_share(best.accuracy if best else None)]
        cells.append(_number(best.calibration_error if best else None))
        if writer.category_accuracy is not None:  # otherwise no note has a category
            _row(categories, writer.key, writer.name, cells)
        scores = (
            writer.bleu4,
            writer.rouge1,
            writer.rouge2,
            writer.rouge_l,
            writer.hashtags.f1 if writer.hashtags else None,
        )
        if writer.hashtag_notes:
            _row(hashtags, writer.key, writer.name, [_share(score) for score in scores])
    return categories, hashtags


def _table(title: str, columns: Sequence[str], edges: box.Box) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=edges)
    table.add_column("System", overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    return table


def _row(table: Table, key: str, name: str, cells: Sequence[Text]) -> None:
    table.add_row(Text(name), *cells, style="bold" if key == TRAINED else "")


def _share(interval: Interval | None) -> Text:
    if interval is None:
        return Text("-")
    return Text(percent(interval.value)) + Text(f"\n{interval_text(interval)}", "dim")


def _number(share: float | None) -> Text:
    return Text("-" if share is None else percent(share))


def _mrr(interval: Interval) -> Text:
    return Text(f"{interval.value:.3f}") + Text(f"\n{interval.low:.3f}\u2013{interval.high:.3f}", "dim")
