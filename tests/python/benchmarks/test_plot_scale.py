"""The picture of docs/scale.md is what the records give."""

import json
import re
import sys
from pathlib import Path

import matplotlib
import plot_scale
import pytest

NUMBER = r"-?\d+\.\d+"
PICTURE = Path(plot_scale.__file__).parents[2] / "docs" / "scale.svg"


def test_the_picture_is_drawn_from_the_records(tmp_path, monkeypatch):
    drawn = PICTURE.read_text()
    if f"Matplotlib v{matplotlib.__version__}" not in drawn:
        pytest.skip("drawn by another matplotlib, which may place things otherwise")
    monkeypatch.setattr(sys, "argv", ["plot_scale", "--output", str(tmp_path / "scale.svg")])
    plot_scale.main()
    again = (tmp_path / "scale.svg").read_text()
    assert re.sub(NUMBER, "", again) == re.sub(NUMBER, "", drawn)
    # processors differ in the last digit
    numbers = [[float(number) for number in re.findall(NUMBER, text)] for text in (again, drawn)]
    assert numbers[0] == pytest.approx(numbers[1], abs=1e-4)
    for text in ("notellm", "implicit", "torch, in chunks", "200M", "4M"):
        assert text in drawn


def test_no_line_of_the_picture_ends_in_blanks(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["plot_scale", "--output", str(tmp_path / "scale.svg")])
    plot_scale.main()
    for picture in (PICTURE, tmp_path / "scale.svg"):
        assert [line for line in picture.read_text().split("\n") if line != line.rstrip()] == []


def test_records_made_beside_other_work_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(plot_scale, "RESULTS", tmp_path)
    point = {"events": 5, "rounds": {"notellm": [{"mine_seconds": 2}, {"stopped": ""}]}}
    for name, quiet in (("mining_growth", True), ("mining_200m", False)):
        (tmp_path / f"{name}.avx2.json").write_text(json.dumps({"quiet": quiet, "points": [point]}))
    assert plot_scale.points_of_mining("avx2") == [(5, {"notellm": [2]})]
