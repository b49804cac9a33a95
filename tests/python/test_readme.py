"""The README's example runs as it stands, but for a tiny backbone and few steps."""

import re
from pathlib import Path

import numpy as np

from notellm import Interactions
from samples import make_notes

README = Path(__file__).parents[2] / "README.md"


def test_the_example_runs(tiny_folder, tmp_path, monkeypatch, capsys):
    notes = make_notes(20)
    notes.write(tmp_path / "notes.parquet")
    rng = np.random.default_rng(0)
    users, seen = np.repeat(np.arange(40), 3), rng.integers(0, 20, 120)
    Interactions(users, seen, [f"u{i}" for i in range(40)], notes.ids).write(tmp_path / "log.parquet")
    code = re.search(r"## In Python\n```python\n(.+?)```", README.read_text(), re.S)[1]
    for real, small in (("smollm2-135m", str(tiny_folder)), ("max_steps=60", "max_steps=2")):
        assert real in code
        code = code.replace(real, small)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(README), "exec"), {})
    assert (tmp_path / "runs" / "first" / "model" / "notellm.json").exists()
    assert len(capsys.readouterr().out.splitlines()) == 2
