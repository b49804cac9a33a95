"""A pool as JSON lines, one for each note, written step by step; a call goes on where an interrupted one stopped."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from notellm.data.fingerprint import notes_fingerprint
from notellm.data.notes import Notes
from notellm.errors import DataError
from notellm.io.home import expanded
from notellm.io.json_files import write_text
from notellm.io.locks import holder_of, locked
from notellm.io.outputs import check_output
from notellm.io.targets import behind_links
from notellm.io.write_errors import append_whole
from notellm.progress import ProgressFn, part_of

Describe = Callable[[Notes, ProgressFn], Sequence[Mapping[str, Any]]]
"""Makes one JSON object per note, and reports (notes done, notes) for the notes it was given."""

NOTES_PER_CHUNK = 64
"""Notes between two writes: at most this many must be done again after an interruption."""


def write_pool(
    path: str | Path,
    notes: Notes,
    describe: Describe,
    *,
    made_by: Mapping[str, Any],
    progress: ProgressFn | None = None,
    notes_per_chunk: int = 0,
) -> int:
    """Writes what a model generates for each note of a pool, one JSON object per line, in the order of the notes.

    Lines go to ``<path>.part``, which is renamed to ``path`` when it is complete. If there is such a file from an
    interrupted call with the same notes and the same ``made_by``, the call goes on after its lines; otherwise it
    starts anew.

    Args:
        path: The file to write; of a link, what it leads to is written.
        notes: The pool.
        describe: Makes the objects for some notes. The object of a note must not depend on other notes.
        made_by: Everything that decides the output, as JSON: model, options.
        progress: Called with (notes done, notes).
        notes_per_chunk: Notes per call of ``describe``; 0: ``NOTES_PER_CHUNK``.

    Returns:
        How many notes were taken from an earlier call.

    Raises:
        ValueError: If ``describe`` does not return one object per note, or ``path`` is a folder.
        DataError: If another process writes the same file; says which.
        OSError: If there is no room for the lines; those of earlier chunks are kept.
    """
    path = behind_links(expanded(path))
    check_output(path)
    with locked(path, wait=False) as is_ours:
        if not is_ours:
            who = holder_of(path) or "another"
            raise DataError(
                f"{path}: one call at a time must write it, but {who} does; wait for its end, or try another file"
            )
        return _write(path, notes, describe, made_by, progress, notes_per_chunk or NOTES_PER_CHUNK)


def _write(
    path: Path,
    notes: Notes,
    describe: Describe,
    made_by: Mapping[str, Any],
    progress: ProgressFn | None,
    chunk: int,
) -> int:
    part, origin = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.json")
    wanted = json.loads(json.dumps({"made_by": dict(made_by), "notes": notes_fingerprint(notes)}))
    before = done = _lines_kept(part, origin, wanted)
    while done < len(notes):
        some = notes.take(range(done, min(done + chunk, len(notes))))
        rows = describe(some, part_of(progress, done, len(notes)))
        if len(rows) != len(some):
            raise ValueError(
                f"write_pool: describe must give an object for each of {len(some)} notes, but gave {len(rows)}"
            )
        if not done:  # not before: a call that is refused leaves nothing
            part.unlink(missing_ok=True)
            write_text(origin, json.dumps(wanted))
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        with part.open("ab", buffering=0) as file:
            append_whole(file.fileno(), lines.encode(), part)
            os.fsync(file.fileno())
        done += len(some)
    if not len(notes):
        part.write_bytes(b"")
    part.replace(path)
    origin.unlink(missing_ok=True)
    return before


def _lines_kept(part: Path, origin: Path, wanted: Mapping[str, Any]) -> int:
    """How many complete lines an earlier call left; an incomplete last line is removed."""
    try:
        same = json.loads(origin.read_text(encoding="utf-8")) == wanted
    except (OSError, ValueError, RecursionError):
        return 0
    if not same or not part.exists():
        return 0
    with part.open("r+b") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        file.truncate(whole)
    return content.count(b"\n")
