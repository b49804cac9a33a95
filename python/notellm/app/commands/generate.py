"""Writes the category and the hashtags of any notes with a trained model.

With --categories the category is the best of those, by the probability of every one of them, which
is its "confidence". An interrupted call with --output goes on where it stopped.

reads:   a table of notes (.parquet, .csv, .jsonl) and model/ in the run folder, or --model
writes:  --output: one JSON object a note, {"id", "title", "category", "hashtags"}; standard output
         without it

for example:
  notellm generate --run runs/demo --notes notes.jsonl generation.hashtag_count=3
  notellm generate --run runs/demo --notes notes.parquet --output labels.jsonl --categories known.txt
  notellm generate --run runs/demo --notes notes.parquet --hashtags known.txt --ban-in-text
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from notellm.app.commands.configured import add_run_arguments, read_config, show_config

if TYPE_CHECKING:
    from notellm.app.pipeline import Describer
    from notellm.data import Notes
    from notellm.progress import ProgressFn

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("--notes", type=Path, required=True, metavar="FILE", help="the notes to describe")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the JSON lines go")
    parser.add_argument("--model", type=Path, metavar="DIR", help="a model folder other than the run's")
    parser.add_argument(
        "--categories", type=Path, metavar="FILE", help="the only categories there are, one a line"
    )
    parser.add_argument(
        "--hashtags", type=Path, metavar="FILE", help="the only hashtags that may be written, one a line"
    )
    parser.add_argument(
        "--ban-in-text", action="store_true", help="no hashtags that stand in the title or the content"
    )
    add_run_arguments(parser, "generation")


def run(arguments: argparse.Namespace) -> None:
    """Generates and writes the lines."""
    from notellm.app.kept import folder_key, made_by
    from notellm.app.pipeline import Describer, load_trained
    from notellm.data import Notes
    from notellm.generation import write_pool
    from notellm.io.outputs import check_output
    from notellm.progress import console_progress

    config = read_config(arguments)
    if show_config(arguments, config):
        return
    folder = arguments.model or Path(config.run_dir) / "model"
    if arguments.output is not None:  # before doing work that could not be saved
        reads = [arguments.notes, arguments.categories, arguments.hashtags, folder]
        check_output(arguments.output, reads)
    categories, hashtags = _lines(arguments.categories), _lines(arguments.hashtags)
    notes = Notes.read(arguments.notes)
    describer = Describer(
        config,
        load_trained(config, folder),
        known_categories=categories or (),
        closed=True,
        vocabulary=hashtags,
        ban_in_text=arguments.ban_in_text,
    )
    with console_progress("categories and hashtags", "notes", part="batch") as progress:
        if arguments.output is None:
            rows = _describe(describer, notes, progress)
            sys.stdout.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            return
        before = write_pool(
            arguments.output,
            notes,
            lambda some, report: _describe(describer, some, report),
            made_by=made_by(
                config,
                "labels",
                model=folder_key(folder),
                categories=categories,
                hashtags=hashtags,
                ban_in_text=arguments.ban_in_text,
            ),
            progress=progress,
        )
    kept = f", {before:,} of them by a call before" if before else ""
    print(f"{len(notes):,} notes in {arguments.output}{kept}")


def _lines(path: Path | None) -> list[str] | None:
    if path is None:
        return None
    from notellm.errors import DataError
    from notellm.io.json_files import read_text
    from notellm.text.normal import all_normalized

    if not path.is_file():
        raise DataError(f"{path}: must be a file, but {'is a folder' if path.is_dir() else 'does not exist'}")
    text = read_text(path)
    if "\0" in text:
        raise DataError(f"{path}: must be UTF-8, but holds NUL bytes, as in UTF-16; try to save it as UTF-8")
    # one way to end a line is enough; files that were joined have byte order marks inside
    lines = text.replace("\r", "\n").replace("\ufeff", "").split("\n")
    names = [name for name in map(str.strip, all_normalized(lines)) if name]
    if not names:
        raise DataError(f"{path}: must hold one name a line, but holds none")
    return names


def _describe(describer: "Describer", notes: "Notes", progress: "ProgressFn") -> list[dict[str, Any]]:
    rows = describer(notes, lambda done, total: progress(done * len(notes) // max(total, 1), len(notes)))
    named = zip(notes.ids, notes.titles, rows, strict=True)
    return [{"id": note, "title": title} | row for note, title, row in named]
