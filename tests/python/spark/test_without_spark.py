"""What happens where pyspark is not installed: nothing, until somebody asks for it; then one line."""

import subprocess
import sys

HIDDEN = """
import importlib.util, sys
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "pyspark" else real(name, *more)
sys.modules["pyspark"] = None
"""


def run(code):
    return subprocess.run([sys.executable, "-c", HIDDEN + code], capture_output=True, text=True)


def test_the_engine_is_refused_in_one_line(tmp_path):
    data = ["data=files", "data.notes=n.parquet", "data.interactions=l.parquet"]
    arguments = ["mine", "--engine", "spark", "--output", str(tmp_path / "out"), *data]
    result = run(f"from notellm.app import cli; sys.exit(cli.main({arguments}))")
    assert result.returncode == 2
    assert result.stderr == (
        "notellm: notellm.spark: pyspark must be installed, but is not; try `pip install 'notellm[spark]'`, and Java "
        "17 or later\n"
    )


def test_nothing_else_needs_it():
    result = run("import notellm.mining, notellm.app.pipeline, notellm.app.commands.mine; notellm.mine_pairs")
    assert (result.returncode, result.stderr) == (0, "")
