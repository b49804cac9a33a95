"""A picture says of which records it was drawn: where these have changed, it is found, and drawn anew."""

import json
import sys
from pathlib import Path

import pytest

LEDGER = Path("experiments/results/laptop/ledger.jsonl")


def test_a_picture_of_other_records_is_found(findings, copied, monkeypatch, capsys):
    Path("page.md.j2").write_text('[alpha]({{ study("table6").picture("table") }})\n')
    picture = Path("experiments/results/laptop/table6.svg")

    def call(*options):
        monkeypatch.setattr(sys, "argv", ["findings.py", "--root", str(copied), *options])
        with pytest.raises(SystemExit) as ended:
            findings.main()
        return ended.value.code, capsys.readouterr().out

    assert call("--write") == (False, "")
    assert "(results/laptop/table6.svg)" in Path("page.md").read_text()
    before = picture.read_text()
    lines = [json.loads(line) for line in LEDGER.read_text().splitlines()]
    for entry in lines:
        if entry["row"] == "alpha_10":
            entry["metrics"]["accuracy"] /= 2
    LEDGER.write_text("".join(json.dumps(entry) + "\n" for entry in lines))
    code, said = call()
    assert code
    assert f"{picture}: must be drawn of what the records are now, but is not; try --write" in said
    assert call("--write") == (False, "")
    assert picture.read_text() != before
    assert call() == (False, "")
    picture.unlink()
    assert call()[0]
    Path("page.md.j2").write_text('[alpha]({{ study("table6").picture("film") }})\n')
    assert "pictures are of table, differences, recall, exposure, time, but film is wanted" in call()[0]
