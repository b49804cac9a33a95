"""The sections of the page that show single notes: what was found for them and what was written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from notellm.report.findings import TRAINED, UNTRAINED
from notellm.report.markup import Html, el, join
from notellm.report.run_results import Found, Generated, Neighbour, NoteExample, QueryExample

SHOWN_NOTES = 10
MARKS = {"hit": "\u2713", "near": "\u2248", "invention": "\u2717"}
MEANINGS = {
    "hit": "the note has it",
    "near": "the note does not have it, others do",
    "invention": "no note has it",
}


def judge(written: str, truth: Collection[str], known: Collection[str]) -> str:
    """What to think of a generated category or hashtag.

    Args:
        written: What the model wrote.
        truth: What the note has.
        known: What any note has.

    Returns:
        ``"hit"``: the note has it; ``"near"``: other notes have it; ``"invention"``: none has it.

    Example:
        >>> [judge(word, {"games"}, {"games", "net"}) for word in ("games", "net", "gaming")]
        ['hit', 'near', 'invention']
    """
    if written in truth:
        return "hit"
    return "near" if written in known else "invention"


def neighbours(queries: Sequence[QueryExample]) -> Html:
    """For each query what was found before and after training, side by side."""
    return join([_query(query) for query in queries])


def _query(query: QueryExample) -> Html:
    order = {UNTRAINED: 0, TRAINED: 1}
    systems = sorted(query.systems, key=lambda found: order.get(found.key, -1))
    return el(
        "article",
        el("h3", query.title, _chip(query.category)),
        el("p", el("span", "Target", class_="label"), " ", query.target_title, class_="target"),
        el("div", [_found(found, query) for found in systems], class_="pair"),
        class_="card",
    )


def _found(found: Found, query: QueryExample) -> Html:
    entries = [_neighbour(note, query) for note in found.neighbours]
    outcome = f"target at rank {found.target_rank:,}"
    heading = el("h4", found.name, el("span", outcome, class_="outcome"))
    return el("div", heading, el("ol", entries), class_=f"found {_class(found.key)}")


def _neighbour(note: Neighbour, query: QueryExample) -> Html:
    is_target = note.id == query.target_id
    badge = el("span", "target", class_="badge") if is_target else None
    return el(
        "li",
        el("span", note.title, badge, class_="what"),
        _chip(note.category, "same" if note.category == query.category else None),
        el("span", f"{note.score:.3f}", class_="score"),
        class_="is-target" if is_target else None,
    )


def notes(
    examples: Sequence[NoteExample],
    names: Mapping[str, str],
    categories: Collection[str],
    hashtags: Collection[str],
) -> Html:
    """True and generated category and hashtags of the first notes, with and without hashtags.

    Args:
        examples: The notes, in file order.
        names: System key to name; systems without a name are shown by key.
        categories: The categories that notes have.
        hashtags: The hashtags that notes have; those of the examples are added.

    Returns:
        A key to the marks and one card a note.
    """
    known_categories = {*categories, *(note.category for note in examples)} - {""}
    known_hashtags = {*hashtags, *(tag for note in examples for tag in note.hashtags)}
    # Chosen by what they have, never by what was written: tagged notes first, in file order.
    shown = sorted(examples, key=lambda note: not note.hashtags)[:SHOWN_NOTES]
    key = [el("span", _mark(mark), f" {meaning}", class_="key") for mark, meaning in MEANINGS.items()]
    cards = []
    for note in shown:
        rows = [_truth(note)]
        for system, written in note.systems.items():
            rows.append(_written(names.get(system, system), written, note, known_categories, known_hashtags))
        cards.append(el("article", el("h3", note.title), el("dl", rows), class_="card note"))
    return join(el("p", key, class_="keys"), el("div", cards, class_="cards"))


def _truth(note: NoteExample) -> Html:
    tags = [el("span", tag, class_="tag") for tag in note.hashtags] or "no hashtags"
    return _row("Truth", el("span", note.category or "no category", class_="tag"), tags)


def _written(
    name: str, written: Generated, note: NoteExample, categories: Collection[str], hashtags: Collection[str]
) -> Html:
    category = _judged(written.category, {note.category}, categories) if written.category else "no category"
    tags = [_judged(tag, note.hashtags, hashtags) for tag in written.hashtags]
    return _row(name, category, tags or "no hashtags")


def _row(name: str, category: Html | str | None, tags: Sequence[Html] | str) -> Html:
    shown = tags if isinstance(tags, str) else [part for tag in tags for part in (" ", tag)]
    return el("div", el("dt", name), el("dd", el("span", category, class_="category"), shown))


def _judged(written: str, truth: Collection[str], known: Collection[str]) -> Html:
    mark = judge(written, truth, known)
    return el("span", _mark(mark), f" {written}", class_=f"tag {mark}", title=MEANINGS[mark])


def _mark(mark: str) -> Html:
    return el("span", MARKS[mark], class_=f"mark {mark}", aria_label=f"{mark}:", role="img")


def _chip(text: str, kind: str | None = None) -> Html | None:
    if not text:
        return None
    return el("span", text, class_="chip" if kind is None else f"chip {kind}")


def _class(key: str) -> str:
    return "after" if key == TRAINED else "before"
