"""The page: header, sections in reading order, and a line for whatever the run has not made yet."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib.resources import files
from string import Template
from typing import Any

from notellm.evaluation.results import Evaluation
from notellm.report import examples, sections
from notellm.report.figures import histogram
from notellm.report.findings import interval_text, main_cutoff, percent
from notellm.report.markup import Content, Html, el, join
from notellm.report.run_results import RunResults

GLOSSARY = {
    "Recall@K": "Share of queries whose target is among the K notes ranked first, of the whole pool but "
    "the query. Query and target are a pair of related notes that training has not seen.",
    "MRR": "Mean reciprocal rank: the mean of 1 / rank of the target; 1 when every target comes first.",
    "95 % interval": "Percentile bootstrap: queries (or notes) are drawn again with replacement. It holds "
    "the luck of the queries, not that of the training seed.",
    "Paired difference": "Both systems answer the same queries in each bootstrap draw, so what is common "
    "to both cancels out. An interval that leaves out 0 is more than luck.",
    "Exposure": "How often a note was seen in the log; the least and the most exposed notes are looked at "
    "apart.",
    "Zero-shot": "The language model before training: mean of all states without a prompt, or the state "
    "at the compression position of the prompt.",
    "TF-IDF": "Words in common, rare words weighing more; no learning. On the same cut text that the "
    "model sees, or on the full text.",
    "Acc.": "Share of notes whose generated category is exactly the true one.",
    "Ill.": "\u201cIllusory\u201d: share of generated categories that no note has.",
    "Macro F1": "The mean of all categories' F1, each weighing the same however many notes it has.",
    "Closed-set Acc.": "The same where the model may only choose among the known categories: the one that it finds "
    "most probable.",
    "Calibration error": "How far the probability of that category is from the share of such answers that is right, "
    "on the mean.",
    "BLEU-4": "Runs of one to four words that generated and true hashtags have in common, over all notes together.",
    "ROUGE-1, -2, -L": "Overlap of generated and true hashtags: of single words, of pairs, and of the longest common "
    "subsequence of words (F-measure).",
    "Precision, Recall, F1": "Of hashtags as sets: the share of the written ones that is right, the share of the true "
    "ones that was written, and their harmonic mean.",
    "Contrastive loss": "How badly a note picks out its partner among the notes of a batch, in nats (GCL).",
    "Generative loss": "How surprised the model is by the true category or hashtags, in nats a token (CSFT).",
    "Learned scale exp(\u03c4)": "The factor on the cosines before the softmax; starts at exp(3) = 20.1.",
}


def render(run: RunResults, now: datetime) -> str:
    """The whole page.

    Args:
        run: What the run has made so far.
        now: When the report was made.

    Returns:
        One HTML document that needs no other file.
    """
    package = files("notellm.report")
    style = package.joinpath("report.css").read_text(encoding="utf-8")
    page = Template(package.joinpath("report.html").read_text(encoding="utf-8"))
    parts = [(title, content) for title, content in _sections(run) if content]
    links = [el("a", title, href=f"#{_anchor(title)}") for title, _ in parts]
    body = [el("section", el("h2", title), content, id=_anchor(title)) for title, content in parts]
    return page.substitute(
        title=el("title", f"{run.path.name}: NoteLLM report"),
        style=style,
        header=_header(run),
        links=join(links),
        sections=join(body),
        made=join(f"Made {now:%Y-%m-%d %H:%M} by notellm report."),
    )


def _sections(run: RunResults) -> Iterator[tuple[str, Content]]:
    evaluation = run.evaluation
    if evaluation is not None:
        yield "What came out", sections.verdict(evaluation)
        yield "Retrieval", sections.retrieval(evaluation)
        yield "Seldom and often seen notes", sections.exposure(evaluation)
        yield "Generation", sections.generation(evaluation) or missing("generation", "generate")
    else:
        yield "Retrieval", missing("evaluation.json", "evaluate")
    yield "Training", sections.training(run.training) if run.training else missing("train.jsonl", "train")
    yield (
        "Nearest notes, before and after training",
        examples.neighbours(run.queries) if run.queries else missing("neighbours.json", "evaluate"),
    )
    yield "Categories and hashtags, true and generated", _notes(run)
    yield "Data", _data(run) if run.data else missing("data.json", "train")
    yield "How to read it", _how_to_read(evaluation)
    yield "How it was made", _how_it_was_made(run)


def missing(what: str, verb: str) -> Html:
    """The line that stands where a part would be."""
    return el(
        "p", f"Not there yet: {what}. Make it with ", el("code", f"notellm {verb}"), ".", class_="missing"
    )


def _header(run: RunResults) -> Html:
    facts: Mapping[str, Any] = run.run or {}
    machine, versions = facts.get("machine") or {}, facts.get("versions") or {}
    line = [
        f"started {facts['started']}" if facts.get("started") else None,
        f"commit {versions['commit']}" if versions.get("commit") else None,
        f"seed {facts['seed']}" if "seed" in facts else None,
        str(facts["model"]) if facts.get("model") else None,
        str(facts["dtype"]) if facts.get("dtype") else None,
        str(machine["device"]) if machine.get("device") else None,
    ]
    meta = " \u00b7 ".join(part for part in line if part)
    return join(
        el("p", "NoteLLM run", class_="kicker"),
        el("h1", run.path.name),
        el("p", meta, class_="meta") if meta else None,
        el("div", _cards(run.evaluation), class_="figures") if run.evaluation else None,
    )


def _cards(evaluation: Evaluation) -> Iterator[Html]:
    """The few numbers to remember."""
    k = main_cutoff(evaluation)
    trained, untrained = evaluation.system("trained"), evaluation.system("zero_shot_prompt")
    if trained is not None:
        before = f"before training {percent(untrained.recall[k].value)} %" if untrained else None
        interval = f"95 %: {interval_text(trained.recall[k])}"
        yield _card(f"Recall@{k}", percent(trained.recall[k].value), interval, before)
    writers = {writer.key: writer for writer in evaluation.writers}
    writer, novice = writers.get("trained"), writers.get("zero_shot_prompt")
    if writer is not None and writer.category_accuracy is not None:
        old = novice.category_accuracy if novice else None
        before = f"before training {percent(old.value)} %" if old else None
        accuracy = writer.category_accuracy
        yield _card("Category accuracy", percent(accuracy.value), f"95 %: {interval_text(accuracy)}", before)
    yield _card("Pool", f"{evaluation.pool:,}", "held-out notes", f"{evaluation.queries:,} queries", unit="")


def _card(name: str, value: str, *lines: str | None, unit: str = "%") -> Html:
    number = el("span", value, el("small", unit) if unit else None, class_="number")
    return el("div", el("span", name, class_="label"), number, [el("span", line) for line in lines if line])


def _notes(run: RunResults) -> Html:
    if not run.notes:
        return missing("generation.jsonl", "generate")
    found = run.evaluation.generation if run.evaluation else None
    names = {writer.key: writer.name for writer in found.systems} if found else {}
    categories = found.known_categories if found else set()
    hashtags = found.known_hashtags if found else set()
    return examples.notes(run.notes, names, categories, hashtags)


def _data(run: RunResults) -> Html:
    facts = _facts(run.data or {})
    if run.scores is None:
        return facts
    drawn = histogram("Scores of the pairs found", run.scores.edges, run.scores.counts)
    caption = "Co-occurrence score of the pairs found in the log, before the bounds; bins double in width."
    return join(facts, sections.figures([("Scores of the pairs found", drawn)], caption))


def _how_to_read(evaluation: Evaluation | None) -> Html:
    terms = [el("div", el("dt", term), el("dd", meaning)) for term, meaning in GLOSSARY.items()]
    if evaluation is None:
        return el("dl", terms, class_="glossary")
    limits = (
        f"The figures hold for one run with one seed, {evaluation.queries:,} queries and a pool of "
        f"{evaluation.pool:,} notes; the intervals do not hold the luck of training. Recall depends on the "
        "size of the pool, so figures of other pools, the paper's among them, cannot be compared with these."
    )
    return join(el("p", limits), el("dl", terms, class_="glossary"))


def _how_it_was_made(run: RunResults) -> Html:
    facts = dict(run.run or {})
    command = facts.pop("command", None)
    shown = shlex.join(map(str, command)) if isinstance(command, list) else command
    return join(
        el("pre", el("code", str(shown))) if shown else missing("run.json", "train"),
        _facts(facts, "") if facts else None,
        el("details", el("summary", "Resolved configuration"), el("pre", el("code", run.config)))
        if run.config
        else missing("config.yaml", "train"),
    )


def _facts(facts: Mapping[str, Any], separator: str = ",") -> Html:
    """Names and values; what is nested gets a list of its own, long rows of numbers are left out.

    Args:
        facts: What to show.
        separator: Between thousands: ``","``, or none for numbers that are names, such as a seed.

    Returns:
        Definition lists under headings.
    """
    flat = {name: value for name, value in facts.items() if not isinstance(value, Mapping | list)}
    nested = {name: value for name, value in facts.items() if isinstance(value, Mapping) and value}
    terms = [
        el("div", el("dt", _words(name)), el("dd", _value(value, separator))) for name, value in flat.items()
    ]
    groups = [join(el("h3", _words(name)), _facts(value, separator)) for name, value in nested.items()]
    return join(el("dl", terms, class_="facts") if terms else None, groups)


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


def _anchor(title: str) -> str:
    return title.lower().replace(",", "").replace(" ", "-")
