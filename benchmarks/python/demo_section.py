"""The README's table of what the demo prints, from its record."""

from collections.abc import Mapping
from typing import Any

from cells import Record, Records, listed, machine, table, wrapped

AGAINST = {"zero_shot_prompt": "the same prompt untrained", "tfidf_full": "TF-IDF on the full text"}


def demo_section(records: Records) -> list[str]:
    """Its lines: those of the widest instruction set's record; of the others, what they took."""
    found = records.of_all_sets("demo")
    if not found:
        return []
    one, record = next(iter(found.items()))
    evaluation = record["evaluation"]
    writing = evaluation["generation"]
    about = (
        f"Part of what it prints ({one}: {machine(record)}; {records.linked('demo', one)} with intervals): "
        f"{evaluation['queries']:,} queries, {evaluation['pool']:,} notes to choose from; {writing['notes']:,} notes "
        f"to describe, {writing['systems'][-1]['hashtag_notes']} of them with hashtags."
    )
    return [
        *wrapped(about),
        "",
        *demo_table(evaluation),
        "",
        *wrapped(f"{claims(evaluation)} {took(records, found)}"),
    ]


def demo_table(evaluation: Record) -> list[str]:
    """Percent, a row a system."""
    ks = evaluation["ks"]
    writing = {system["key"]: system for system in evaluation["generation"]["systems"]}
    head = ["percent", *(f"R@{k}" for k in ks), "Acc.", "Ill.", "Closed-set Acc.", "ROUGE-1 / L"]
    rows = []
    for system in evaluation["systems"]:
        name = f"**{system['name']}**" if system["key"] == "trained" else system["name"]
        recalls = [_percent(system["recall"][str(k)]) for k in ks]
        if system["key"] == "trained":
            recalls = [f"**{cell}**" for cell in recalls]
        rows.append([name, *recalls, *_written(writing.get(system["key"]))])
    return table(head, rows)


def _percent(found: Mapping[str, float]) -> str:
    return f"{100 * found['value']:.1f}"


def _written(system: Mapping[str, Any] | None) -> list[str]:
    if system is None:
        return [""] * 4
    return [
        _percent(system["category_accuracy"]),
        _percent(system["illusory"]),
        _percent(system["closed_set"]["accuracy"]),
        f"{_percent(system['rouge1'])} / {_percent(system['rougeL'])}",
    ]


def claims(evaluation: Record) -> str:
    """What training does to Recall@100, and who wins where it matters most: at the top."""
    by = {(one["b"], one["k"]): one for one in evaluation["differences"] if one["a"] == "trained"}
    moved = listed(f"by {_interval(by[key, 100])} points against {name}" for key, name in AGAINST.items())
    verdicts = [_verdict(by["tfidf_full", k], k) for k in (1, 10)]
    return (
        f"Training moves Recall@100 {moved} (paired bootstrap, 95 %). "
        f"Against the latter, {'; '.join(verdicts)}."
    )


def _interval(found: Mapping[str, float]) -> str:
    return f"{100 * found['value']:+.1f} ({100 * found['low']:+.1f} to {100 * found['high']:+.1f})"


def _verdict(found: Mapping[str, float], k: int) -> str:
    if found["low"] <= 0 <= found["high"]:
        return f"neither wins at Recall@{k}"
    verb = "wins" if found["low"] > 0 else "loses"
    low, high = sorted(100 * abs(found[end]) for end in ("low", "high"))
    return f"it {verb} at Recall@{k}, by {100 * abs(found['value']):.1f} points ({low:.1f} to {high:.1f})"


def took(records: Records, found: Mapping[str, Record]) -> str:
    """Minutes on each instruction set."""
    parts = []
    for one, record in found.items():
        seconds = record["wall_seconds"]
        setup = f" after {seconds['setup'] / 60:.1f} of set-up" if "setup" in seconds else ""
        place = f"{one} ({machine(record)}; {records.linked('demo', one)})"
        parts.append(f"{seconds['demo'] / 60:.1f} minutes{setup} on {place}")
    return f"The demo took {listed(parts)}."
