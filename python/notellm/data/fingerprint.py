"""A name for the content of notes: what was made of the same notes need not be made again."""

from notellm.data.notes import Notes
from notellm.io.fingerprints import Fingerprint


def notes_fingerprint(notes: Notes) -> str:
    """A fingerprint of what a model sees of the notes, and of their ids."""
    found = Fingerprint()
    for fields in zip(notes.ids, notes.titles, notes.contents, notes.topics, strict=True):
        found.add_json(fields)
    return found.name()
