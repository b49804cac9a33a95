"""Whole pools as JSON lines, interrupted and resumed."""

import json

import pytest

from notellm.errors import DataError
from notellm.io.locks import locked
from notellm.pools.lines import write_pool
from samples import make_notes


class Describer:
    """Says how long each title is; stops when told to."""

    def __init__(self, stop_at=None):
        self.seen, self.stop_at = [], stop_at

    def __call__(self, notes, progress):
        if self.stop_at is not None and len(self.seen) >= self.stop_at:
            raise KeyboardInterrupt
        self.seen += notes.ids
        progress(len(notes), len(notes))
        return [
            {"id": note, "length": len(title)} for note, title in zip(notes.ids, notes.titles, strict=True)
        ]


def expected_lines(notes):
    return [{"id": note, "length": len(title)} for note, title in zip(notes.ids, notes.titles, strict=True)]


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_writes_every_note_in_order(tmp_path):
    notes, told = make_notes(10), []
    path = tmp_path / "deep" / "out.jsonl"
    kept = write_pool(
        path, notes, Describer(), made_by={}, notes_per_chunk=4, progress=lambda *at: told.append(at)
    )
    assert kept == 0
    assert read(path) == expected_lines(notes)
    assert told == [(4, 10), (8, 10), (10, 10)]
    assert [file.name for file in path.parent.iterdir()] == ["out.jsonl"]


@pytest.mark.parametrize("torn", [b"", b'{"id": "note8", "le'])
def test_goes_on_where_it_was_interrupted(tmp_path, torn):
    notes, path = make_notes(10), tmp_path / "out.jsonl"
    made_by = {"model": "a", "stop": ("x",)}
    with pytest.raises(KeyboardInterrupt):
        write_pool(path, notes, Describer(stop_at=8), made_by=made_by, notes_per_chunk=4)
    assert not path.exists()
    with (tmp_path / "out.jsonl.part").open("ab") as part:
        part.write(torn)
    again = Describer()
    assert write_pool(path, notes, again, made_by=made_by, notes_per_chunk=4) == 8
    assert again.seen == notes.ids[8:]
    assert read(path) == expected_lines(notes)


@pytest.mark.parametrize("change", ["model", "notes", "topics"])
def test_begins_anew_when_something_else_is_wanted(tmp_path, change):
    notes, path = make_notes(10), tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        write_pool(path, notes, Describer(stop_at=4), made_by={"model": "a"}, notes_per_chunk=4)
    other = make_notes(10, seed=1) if change == "notes" else make_notes(10)
    if change == "topics":  # which the category prompt shows
        other.topics[9] = ["corrected"]
    model = "b" if change == "model" else "a"
    assert write_pool(path, other, Describer(), made_by={"model": model}, notes_per_chunk=4) == 0
    assert read(path) == expected_lines(other)


def test_an_older_file_stays_until_the_new_one_is_complete(tmp_path):
    notes, path = make_notes(6), tmp_path / "out.jsonl"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_pool(path, notes, Describer(stop_at=2), made_by={}, notes_per_chunk=2)
    assert path.read_text() == "old"
    with pytest.raises(ValueError, match="an object for each of 2 notes, but gave 0"):
        write_pool(path, notes, lambda notes, progress: [], made_by={}, notes_per_chunk=2)


def test_two_calls_never_write_one_file(tmp_path):
    pool, path = make_notes(40), tmp_path / "out.jsonl"
    with (
        locked(path),
        pytest.raises(DataError, match=r"out\.jsonl: one call at a time must write it, but `.*process"),
    ):
        write_pool(path, pool, Describer(), made_by={})
    assert list(tmp_path.iterdir()) == []
    assert write_pool(path, pool, Describer(), made_by={}) == 0


def test_of_a_link_what_it_leads_to_is_written(tmp_path):
    notes, path = make_notes(6), tmp_path / "link.jsonl"
    (tmp_path / "far").mkdir()
    path.symlink_to("far/out.jsonl")
    with pytest.raises(KeyboardInterrupt):
        write_pool(path, notes, Describer(stop_at=2), made_by={}, notes_per_chunk=2)
    assert write_pool(tmp_path / "far" / "out.jsonl", notes, Describer(), made_by={}, notes_per_chunk=2) == 2
    assert write_pool(path, notes, Describer(), made_by={}) == 0
    assert path.is_symlink()
    assert read(tmp_path / "far" / "out.jsonl") == expected_lines(notes)
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["far", "link.jsonl", "out.jsonl"]


def test_a_full_disk_keeps_the_chunks_before(tmp_path, file_size_limit):
    pool, path = make_notes(40), tmp_path / "out.jsonl"
    write_pool(tmp_path / "whole.jsonl", pool, Describer(), made_by={}, notes_per_chunk=2)
    room = (tmp_path / "whole.jsonl").stat().st_size // 2
    with (
        file_size_limit(room),
        pytest.raises(OSError, match=r"out\.jsonl\.part: must be written, but: File too"),
    ):
        write_pool(path, pool, Describer(), made_by={}, notes_per_chunk=2)
    assert not path.exists()
    assert write_pool(path, pool, Describer(), made_by={}, notes_per_chunk=2) > 0
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
