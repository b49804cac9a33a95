"""The parts of `gpu_check.sh` after the build: each a process of its own with a time limit, safe to lose.

They run most important first, as long as there is time. Each benchmark leaves its record, PART.json; gpu_check.json has
all records and what became of every part, and is written anew after each, so that it is there whenever this ends.

python tools/gpu_parts.py --list
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SUMMARY = "gpu_check.json"
LEAST_SECONDS = 5
"""With less time left a part is not begun."""

SCRATCH_BYTES = 24 << 30
"""Four times the largest model in fp32."""

LOG_CHARACTERS = 6000
"""Of the end of a part's log, kept in the summary."""


class Part(NamedTuple):
    """One process."""

    seconds: int
    """At most."""
    script: str
    """A benchmark; "" stands for the tests."""
    always: str
    full: str
    """Options for a GPU."""
    small: str
    """To see that it runs; no numbers to be shown."""


EMBEDDING = "--dtype bf16 --baselines transformers_prefix sentence_transformers sentence_transformers_flash"
TRAINING = "--dtype bf16 --who labels_only compiled --rounds 1"
SMALL_EMBEDDING = (
    "--backbone random-tiny --notes 12 --sample 4 --batches 4 --batch-tokens 512 --rounds 2 --peak 256"
)
SMALL_TRAINING = "--backbone random-tiny --pairs 2 --steps 2 --peak 256"
PARTS = {
    "tests": Part(120, "", "", "", ""),
    "ceilings": Part(30, "bench_ceilings.py", "", "", "--size 256 --mib 8 --rounds 2"),
    "embedding_135m": Part(
        70,
        "bench_embedding.py",
        EMBEDDING,
        "--backbone random-135m --notes 4096 --sample 512 --batches 64 256 512 "
        "--batch-tokens 8192 32768 131072 --checked 256 --rounds 5 --peak 8192",
        SMALL_EMBEDDING,
    ),
    "training_135m": Part(
        100,
        "bench_training.py",
        TRAINING,
        "--backbone random-135m --pairs 64 --steps 10 --peak 8192",
        SMALL_TRAINING,
    ),
    "embedding_1b": Part(
        80,
        "bench_embedding.py",
        EMBEDDING,
        "--backbone random-1b --notes 2048 --sample 256 --batches 32 128 "
        "--batch-tokens 16384 65536 --checked 128 --rounds 3 --peak 8192",
        SMALL_EMBEDDING,
    ),
    "ranks": Part(
        60,
        "bench_ranks_large.py",
        "",
        "--queries 2000 --notes 1000000 --width 128 --blocks 8192 32768 131072 --rounds 5",
        "--queries 40 --notes 3000 --width 128 --blocks 512 --fewer 4 --top 10 --rounds 2",
    ),
    "gcl": Part(60, "bench_gcl.py", "", "--pairs 64 1024 8192 --rounds 7", "--pairs 8 64 --rounds 2"),
    "training_1b": Part(
        120,
        "bench_training.py",
        TRAINING,
        "--backbone random-1b --pairs 32 --steps 6 --peak 8192",
        SMALL_TRAINING,
    ),
}
ABOUT_NOTES = ("embedding_135m", "embedding_1b", "training_135m", "training_1b")


def command_of(name: str, options: argparse.Namespace) -> list[str]:
    """The command line of a part.

    Args:
        name: The part.
        options: ``bundle``, ``output``, ``device`` and ``small``.
    """
    part = PARTS[name]
    if not part.script:
        return [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-m",
            "gpu",
            "-o",
            "filterwarnings=default",
            *gpu_tests(),
        ]
    own = [*part.always.split(), *(part.small if options.small else part.full).split()]
    own += ["--device", options.device, "--output", str(options.output / f"{name}.json")]
    if name in ABOUT_NOTES:
        own += [
            "--table",
            str(options.bundle / "notes.parquet"),
            "--tokenizer",
            str(options.bundle / "model"),
        ]
    return [sys.executable, str(ROOT / "benchmarks" / "python" / part.script), *own]


def limit_of(name: str, device: str) -> float:
    """The seconds that a part may take: three times as many where it is rehearsed by a few cores."""
    return PARTS[name].seconds * (3 if device == "cpu" else 1)


def gpu_tests() -> list[str]:
    """The files of tests that have the mark `gpu`: others may need packages that are not there."""
    tests = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(path.relative_to(ROOT)) for path in tests if "mark.gpu" in path.read_text()]


def run_part(
    command: Sequence[str], seconds: float, log: Path, environment: Mapping[str, str]
) -> dict[str, Any]:
    """Runs a command, and ends it with all that it started when its time is over; says what became of it."""
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        try:
            status = process.wait(seconds)
            state = "done" if status == 0 else "failed"
        except subprocess.TimeoutExpired:
            status, state = None, "out of time"
        finally:
            _end_group(process.pid)
            process.wait()
    found = {"state": state, "status": status, "seconds": round(time.monotonic() - began, 1)}
    return found | {"limit": round(seconds, 1), "log": log.read_text(errors="replace")[-LOG_CHARACTERS:]}


def environment_of(work: Path, memory: str = "/dev/shm") -> dict[str, str]:
    """Variables of every part: caches in a folder of our own, nothing from the network, crashes say where they were.

    Models that are written only to be read again stay in memory, where there is enough of it.
    """
    own = {"XDG_CACHE_HOME": str(work / "cache"), "TORCHINDUCTOR_CACHE_DIR": str(work / "inductor")}
    own |= {"HF_HUB_OFFLINE": "1", "PYTHONFAULTHANDLER": "1"}
    room = shutil.disk_usage(memory).free if Path(memory).is_dir() else 0
    return os.environ | own | ({"TMPDIR": memory} if room > SCRATCH_BYTES else {})


def _end_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def run_all(options: argparse.Namespace) -> bool:
    """Runs the parts that are asked for; whether all are done."""
    deadline = time.monotonic() + options.seconds
    work = ROOT / "build" / "gpu_check"
    work.mkdir(parents=True, exist_ok=True)
    environment = environment_of(work)
    parts: dict[str, dict[str, Any]] = {}
    for name in options.only or PARTS:
        left = min(limit_of(name, options.device), deadline - time.monotonic())
        if left < LEAST_SECONDS:
            parts[name] = {"state": "not begun", "log": "no time was left"}
        else:
            parts[name] = run_part(command_of(name, options), left, work / f"{name}.log", environment)
        record = options.output / f"{name}.json"
        if parts[name]["state"] == "done" and record.is_file():
            parts[name]["record"] = json.loads(record.read_text())
            del parts[name]["log"]  # it is the record once more
        print(f"  {name:<16} {parts[name]['state']:<12} {parts[name].get('seconds', 0):6.1f} s", flush=True)
        write_summary(options, parts)
    return all(part["state"] == "done" for part in parts.values())


def write_summary(options: argparse.Namespace, parts: Mapping[str, Any]) -> None:
    """Writes all that is known so far."""
    summary = {
        "device": options.device,
        "sizes": "small" if options.small else "full",
        "bundle_commit": json.loads((options.bundle / "manifest.json").read_text())["commit"],
        "build_seconds": options.build_seconds,
        "cuda_loops": options.cuda_loops,
        "parts": parts,
    }
    if options.small or options.device == "cpu":
        summary = {
            "note": "A rehearsal: it shows that every part runs, and says nothing about a GPU."
        } | summary
    whole = options.output / SUMMARY
    part = whole.with_suffix(".part")
    part.write_text(json.dumps(summary, indent=1) + "\n")
    part.replace(whole)


def list_parts() -> str:
    """A line for each part, in their order."""
    lines = []
    for name, part in PARTS.items():
        what = f"{part.script} {part.always} {part.full}" if part.script else "pytest -m gpu"
        lines.append(f"{name:<16} at most {part.seconds:3d} s  {' '.join(what.split())}")
    return "\n".join(lines)


def main() -> None:
    """Lists or runs; ends with status 1 if a part is not done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="say what the parts are")
    parser.add_argument("--bundle", type=Path, help="what gpu_bundle.sh made")
    parser.add_argument("--output", type=Path, help="folder of the records")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="sizes at which all takes seconds")
    parser.add_argument("--seconds", type=float, default=540, help="of all parts")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help="these parts")
    parser.add_argument("--build-seconds", type=float, help="that the build took, for the summary")
    parser.add_argument("--cuda-loops", help="whether they were built, for the summary")
    options = parser.parse_args()
    if options.list:
        print(list_parts())
        return
    if options.bundle is None or options.output is None:
        parser.error("needs --bundle and --output")
    sys.exit(int(not run_all(options)))


if __name__ == "__main__":
    main()
