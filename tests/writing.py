"""Writing studies for tests."""

from pathlib import Path


def write_study(text, name="small"):
    path = Path("experiments/conf/experiment") / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
