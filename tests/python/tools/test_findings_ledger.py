"""What a ledger says of its runs, for the findings."""

import json

import pytest


def write_ledger(folder, *lines):
    config = {"evaluation": {"systems": ["trained"]}}
    with (folder / "ledger.jsonl").open("a") as file:
        for line in lines:
            file.write(json.dumps({"status": "done", "config": config} | line) + "\n")


def test_a_ledger_names_the_machines_that_trained(findings, tmp_path):
    assert findings.Records().ledger(str(tmp_path)).machines == []
    lexical = {"evaluation": {"systems": ["tfidf_full"]}}
    write_ledger(
        tmp_path,
        {"key": "a", "machine": "Laptop"},
        {"key": "b"},
        {"key": "c", "machine": "Other", "config": lexical},
    )
    assert findings.Records().ledger(str(tmp_path)).machines == ["Laptop"]


@pytest.mark.parametrize(
    ("changed", "exactly", "by_same_code"),
    [
        ({}, 1, 1),
        ({"metrics": {"mrr": 0.5000000000000001}}, 0, 1),
        ({"embeddings": {"trained": "2"}}, 0, 1),
        ({"commit": "later"}, 1, 0),
        ({"machine": "Other"}, 0, 1),
    ],
    ids=["equal", "metrics", "vectors", "code", "machine"],
)
def test_a_ledger_knows_runs_that_were_repeated_bit_for_bit(
    changed, exactly, by_same_code, findings, tmp_path
):
    run = {"key": "a", "commit": "now", "metrics": {"mrr": 0.5}, "embeddings": {"trained": "1"}}
    write_ledger(tmp_path, run, {"key": "b", "commit": "now"}, run | changed)
    found = findings.Records().ledger(str(tmp_path))
    assert (found.repeated, found.repeated_exactly, found.repeated_by_same_code) == (1, exactly, by_same_code)
