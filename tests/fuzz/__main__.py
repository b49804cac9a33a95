"""Fuzzes one reader with Atheris: ``PYTHONPATH=tests python -m fuzz TARGET --seconds 3600 --folder DIR``.

A content that is neither read nor refused is left in the folder as ``crash-...``; what was tried, as figures, is the
last line. Without a target it lists them.
"""

import argparse
import contextlib
import inspect
import os
import random
import sys
import warnings
from pathlib import Path

import atheris

from fuzz.mutation import changed
from fuzz.targets import REFUSALS, TARGETS


def instrument() -> None:
    """Lets Atheris see which branches of our functions are taken; its import hook does not see editable installs."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] != "notellm":
            continue
        holders = [module, *(value for value in vars(module).values() if inspect.isclass(value))]
        for value in [value for holder in holders for value in vars(holder).values()]:
            function = inspect.unwrap(getattr(value, "__func__", value)) if callable(value) else None
            if inspect.isfunction(function) and function.__module__ == name:
                atheris.instrument_func(function)


def main() -> None:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    work, corpus = arguments.folder / "work", arguments.folder / "corpus"
    for folder in (work, corpus):
        folder.mkdir(parents=True, exist_ok=True)
    os.chdir(work)
    target = TARGETS[arguments.target](work)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)

    def once(content: bytes) -> None:
        with contextlib.suppress(*REFUSALS), warnings.catch_warnings(action="ignore"):
            target.read(content)

    def mutated(content: bytes, largest: int, seed: int) -> bytes:
        random_ = random.Random(seed)
        if random_.random() < 0.7:
            return changed(content, random_)[:largest]
        return bytes(atheris.Mutate(content, largest))

    largest = max(map(len, target.seeds)) + 10_000
    flags = [
        f"-max_total_time={arguments.seconds}",
        f"-max_len={largest}",
        "-timeout=20",
        "-rss_limit_mb=3000",
    ]
    flags += [f"-artifact_prefix={arguments.folder}/", "-print_final_stats=1", "-verbosity=1"]
    instrument()
    atheris.Setup([sys.argv[0], str(corpus), *flags], once, custom_mutator=mutated)
    atheris.Fuzz()


main()
