"""What a cold build of the extension takes, without a compiler cache, against that of an earlier commit.

Each commit is checked out into a temporary folder and built there as ``pip install .`` builds it: pip, Ninja, Release.
Every compile job is measured: its CPU seconds, user and system, and its peak memory. CPU seconds grow beside other
work, and with two jobs on one core's threads, so only ratios within one run mean something.

    python benchmarks/python/bench_build.py --output benchmarks/results/build.json
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from records import Run

ROOT = Path(__file__).parents[2]
LARGEST = 8


@contextmanager
def checkout(commit: str, folder: Path) -> Iterator[Path]:
    """The files of a commit, in a folder of their own for as long as they are needed."""
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), commit], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def build(sources: Path, jobs: int) -> dict[str, Any]:
    """Builds a wheel of the sources; what that and its compile jobs took."""
    log = sources / "compile-jobs.jsonl"
    launcher = f"{sys.executable};{Path(__file__).with_name('compile_job.py')};{log}"
    options = [
        f"--config-settings=cmake.define.CMAKE_CXX_COMPILER_LAUNCHER={launcher}",
        f"--config-settings=build-dir={sources / 'build/cold'}",
    ]
    pip = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index", *options]
    # CMake and Ninja lie beside this Python
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {
        "PATH": path,
        "CMAKE_BUILD_PARALLEL_LEVEL": str(jobs),
        "CMAKE_GENERATOR": "Ninja",
    }
    begin, before = time.monotonic(), cpu_seconds_of_children()
    done = subprocess.run(
        [*pip, "-w", str(sources / "wheel"), str(sources)], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"bench_build: the build must succeed, but fails:\n{done.stdout}{done.stderr}")
    own = [json.loads(line) for line in log.read_text().splitlines()]
    own.sort(key=lambda job: -job["cpu_seconds"])
    return {
        "compile_cpu_seconds": round(sum(job["cpu_seconds"] for job in own), 1),
        "all_cpu_seconds": round(cpu_seconds_of_children() - before, 1),  # with pip, CMake and the linker
        "wall_seconds": round(time.monotonic() - begin, 1),
        "jobs": len(own),
        "peak_mib_of_a_job": max(job["peak_mib"] for job in own),
        "largest": own[:LARGEST],
    }


def cpu_seconds_of_children() -> float:
    """User and system, of all that this process has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Builds each commit and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commit", default="HEAD")
    parser.add_argument("--against", default="f890ffa", help="an earlier commit; empty for none")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="compile jobs at a time")
    parser.add_argument("--rounds", type=int, default=1)
    run = Run(parser)
    options = run.options

    commits = {"ours": options.commit} | ({"before": options.against} if options.against else {})
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in commits}
    for _ in range(options.rounds):
        for name, commit in commits.items():
            with (
                tempfile.TemporaryDirectory() as folder,
                checkout(commit, Path(folder) / "sources") as sources,
            ):
                rounds[name].append(build(sources, options.jobs))
    numbers = {
        "parallel_jobs": options.jobs,
        "commits": {n: resolve(c) for n, c in commits.items()},
        **rounds,
    }
    if options.against:
        pairs = list(zip(rounds["ours"], rounds["before"], strict=True))
        for what in ("compile_cpu_seconds", "all_cpu_seconds", "wall_seconds", "peak_mib_of_a_job"):
            numbers[f"ratio_{what}"] = [round(ours[what] / before[what], 3) for ours, before in pairs]
    run.report("build", numbers)


def resolve(commit: str) -> str:
    """The commit's own short name."""
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", commit]
    return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
