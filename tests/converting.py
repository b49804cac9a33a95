"""What tests of converters do to a data set's files: convert them by the verb, and read what came out."""

from notellm.app.cli import main
from notellm.data import Interactions, Notes
from notellm.data.converters import CONVERTERS
from notellm.mining import mine_pairs


def events(log):
    """User, note and time, row by row."""
    times = log.times.tolist() if log.times is not None else [None] * len(log)
    names = zip(log.users.tolist(), log.notes.tolist(), times, strict=True)
    return [(log.user_ids[user], log.note_ids[note], time) for user, note, time in names]


def run_verb(name, files, output):
    return main(
        ["convert", name, "--items", str(files[0]), "--interactions", str(files[1]), "--output", output]
    )


def converted(name, files, folder):
    """Notes and log as they are read again, and the pairs that two users support."""
    assert run_verb(name, files, str(folder)) == 0
    notes = Notes.read(folder / "notes.parquet")
    assert notes == CONVERTERS[name].convert(files[0], None)[0]
    log = Interactions.read(folder / "log.parquet", notes=notes)
    pairs = mine_pairs(log, lower=0, upper=100, min_users=2)
    return log, [(notes.ids[a], notes.ids[b]) for a, b in zip(pairs.source, pairs.target, strict=True)]
