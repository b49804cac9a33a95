"""The ledger: several writers, and what a crash leaves."""

import multiprocessing

import pytest

from notellm.app.studies import Ledger
from notellm.errors import DataError


def append(path, who):
    for number in range(50):
        Ledger(path).append({"who": who, "number": number, "key": "k", "status": "done"})


def test_several_processes_append_to_one_ledger(tmp_path):
    path = tmp_path / "deep" / "ledger.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=append, args=(path, who)) for who in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    entries = Ledger(path).entries()
    assert sorted((e["who"], e["number"]) for e in entries) == [(w, n) for w in range(3) for n in range(50)]


def test_a_torn_line_is_left_out_and_cut(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    assert ledger.entries() == []
    ledger.append({"key": "a", "status": "done"})
    with ledger.path.open("a") as file:
        file.write('{"key": "b", "sta')
    assert [entry["key"] for entry in ledger.entries()] == ["a"]
    ledger.append({"key": "c", "status": "failed"})
    assert [entry["key"] for entry in ledger.entries()] == ["a", "c"]
    assert {key: entry["status"] for key, entry in ledger.newest().items()} == {"a": "done", "c": "failed"}
    with pytest.raises(ValueError, match="Out of range"):
        ledger.append({"key": "d", "loss": float("nan")})
    ledger.path.write_text("{}\nnonsense\n")
    with pytest.raises(DataError, match=r"ledger\.jsonl:2: must be JSON, but is damaged"):
        ledger.entries()


def test_an_entry_that_has_no_room_is_an_error_and_leaves_the_others(tmp_path, file_size_limit):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append({"key": "a", "status": "done"})
    before = ledger.path.read_bytes()
    with (
        file_size_limit(len(before) + 10),
        pytest.raises(OSError, match=r"ledger\.jsonl: must be written, but:"),
    ):
        ledger.append({"key": "b", "status": "done"})
    assert ledger.path.read_bytes() == before
    ledger.append({"key": "b", "status": "done"})
    assert [entry["key"] for entry in ledger.entries()] == ["a", "b"]
