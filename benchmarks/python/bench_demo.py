"""The demo, timed: `notellm demo` into a new folder, with what it found.

Data and model are fetched before, as `make setup` and the first demo of a machine do. What set-up took is not measured
here; give it if it is known.

    python benchmarks/python/bench_demo.py --output benchmarks/results
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from records import Run
from workloads import MODEL, backbone, related_notes


def found(folder: Path) -> dict[str, Any]:
    """What a finished run folder holds."""
    run, data, evaluation = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("run", "data", "evaluation")
    )
    steps = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    training = {
        "steps": len(steps),
        "tokens": sum(step["tokens"] for step in steps),
        "seconds": round(sum(step["seconds"] for step in steps), 1),
    }
    return {"dtype": run["dtype"], "run": run, "data": data, "training": training, "evaluation": evaluation}


def main() -> None:
    """Runs the demo and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--setup-seconds", type=float, help="what `make setup` took on this machine")
    parser.add_argument("--overrides", nargs="*", default=[], help="of its configuration: a smaller demo")
    run = Run(parser)
    backbone(), related_notes(notes=2)
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "notellm", "demo", "--run", f"{folder}/demo", *run.options.overrides]
        begin = time.monotonic()
        subprocess.run(command, check=True, stdout=sys.stderr)
        seconds = {"demo": round(time.monotonic() - begin)}
        if run.options.setup_seconds:
            seconds["setup"] = round(run.options.setup_seconds)
        run.report("demo", {"model": MODEL, "wall_seconds": seconds, **found(Path(folder, "demo"))})


if __name__ == "__main__":
    main()
