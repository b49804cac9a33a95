"""Examples of single notes on the page: what was found for them, and what was generated."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from notellm.app.report.findings import TRAINED, UNTRAINED
from notellm.app.report.run_results import Generated, NoteExample, QueryExample
from notellm.text import normalized

SHOWN_NOTES = 10


@dataclass(frozen=True)
class Mark:
    """The verdict on a generated category or hashtag: its CSS class, its symbol, and in words."""

    key: str
    symbol: str
    meaning: str


HIT = Mark("hit", "\u2713", "the note has it")
NEAR = Mark("near", "\u2248", "the note does not have it, others do")
INVENTION = Mark("invention", "\u2717", "no note has it")


@dataclass(frozen=True)
class Word:
    """A category or hashtag; true ones have no mark."""

    text: str
    mark: Mark | None = None


@dataclass(frozen=True)
class Writing:
    """The category and the hashtags of a note: the true ones, or those of one system."""

    name: str
    category: Word | None
    hashtags: list[Word]


@dataclass(frozen=True)
class NoteCard:
    """A note's title, its true category and hashtags, and those of each system."""

    title: str
    rows: list[Writing]


def judge(written: str, truth: Collection[str], known: Collection[str]) -> Mark:
    """The verdict on a generated category or hashtag.

    Args:
        written: What the model generated.
        truth: The true ones of the note.
        known: Those of all notes.

    Returns:
        ``HIT``: the note has it; ``NEAR``: other notes have it; ``INVENTION``: none has it.

    Example:
        >>> [judge(word, {"games"}, {"games", "net"}).key for word in ("games", "net", "gaming")]
        ['hit', 'near', 'invention']
    """
    if written in truth:
        return HIT
    return NEAR if written in known else INVENTION


def in_order(queries: Sequence[QueryExample]) -> list[QueryExample]:
    """The queries, each with its systems in this order: untrained, then trained."""
    order = {UNTRAINED: 0, TRAINED: 1}
    return [
        replace(query, systems=sorted(query.systems, key=lambda found: order.get(found.key, -1)))
        for query in queries
    ]


def note_cards(
    examples: Sequence[NoteExample],
    names: Mapping[str, str],
    categories: Collection[str],
    hashtags: Collection[str],
) -> list[NoteCard]:
    """True and generated category and hashtags of the first notes, those with hashtags before those without.

    Args:
        examples: The notes, in file order.
        names: System key to name; systems without a name are shown by key.
        categories: The categories that notes have.
        hashtags: The hashtags that notes have; those of the examples are added.

    Returns:
        One card per note.
    """
    known_categories = {*categories, *(note.category for note in examples)} - {""}
    known_hashtags = {*hashtags, *(tag for note in examples for tag in note.hashtags)}

    def judged(system: str, written: Generated, note: NoteExample) -> Writing:
        verdict = judge(normalized(written.category), {note.category}, known_categories)
        category = Word(written.category, verdict)
        tags = [Word(tag, judge(tag, note.hashtags, known_hashtags)) for tag in written.hashtags]
        return Writing(names.get(system, system), category if written.category else None, tags)

    # Chosen by the notes themselves, never by what was generated: notes with hashtags first, in file order.
    shown = sorted(examples, key=lambda note: not note.hashtags)[:SHOWN_NOTES]
    return [
        NoteCard(
            note.title,
            [_truth(note), *(judged(system, written, note) for system, written in note.systems.items())],
        )
        for note in shown
    ]


def _truth(note: NoteExample) -> Writing:
    return Writing("Truth", Word(note.category or "no category"), [Word(tag) for tag in note.hashtags])
