"""Writes the category and the hashtags of any notes with a trained model.

With --categories the category is the best of those, by the probability of every one of them, which
is its "confidence". An interrupted call with --output goes on where it stopped.

An output that ends in a slash, or is a folder already, becomes a folder of shards, which several
processes (under torchrun) or actors of Ray make together; behind one another, its files are the one
file.

reads:   a table of notes (.parquet, .csv, .jsonl) and model/ in the run folder, or --model
writes:  --output: one JSON object a note, {"id", "title", "category", "hashtags"}; standard output
         without it; in a folder, manifest.json and generations-*.jsonl

for example:
  notellm generate --run runs/demo --notes notes.jsonl generation.hashtag_count=3
  notellm generate --run runs/demo --notes notes.parquet --output labels.jsonl --categories known.txt
  notellm generate --run runs/demo --notes notes.parquet --hashtags known.txt --ban-in-text
  torchrun --nproc-per-node 8 -m -- notellm generate --run runs/demo --notes notes.parquet --output labels/
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from notellm.app.commands.configured import add_run_arguments, read_config, show_config
from notellm.app.commands.pooled import add_pool_arguments, check_is_alone, fill_folder, output_of

if TYPE_CHECKING:
    from notellm.app.pipeline import LabelWorkshop
    from notellm.data import Notes

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("--notes", required=True, metavar="FILE", help="the notes to describe")
    parser.add_argument(
        "--output", type=output_of, metavar="FILE", help="where the JSON lines go: a file, or FOLDER/"
    )
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
    add_pool_arguments(parser)
    add_run_arguments(parser, "generation")


def run(arguments: argparse.Namespace) -> None:
    """Generates and writes the lines."""
    from notellm.app.kept import folder_key, made_by
    from notellm.app.pipeline import LabelWorkshop, check_trained
    from notellm.data import Notes
    from notellm.io.outputs import check_apart, check_output

    config = read_config(arguments)
    if show_config(arguments, config, joins=False):
        return
    folder = arguments.model or Path(config.run_dir) / "model"
    if arguments.output is None or not arguments.output.is_folder:
        check_is_alone(arguments, "generate")
    if arguments.output is not None and not arguments.output.is_folder:  # before work that could not be saved
        reads = [arguments.notes, arguments.categories, arguments.hashtags, folder]
        check_output(arguments.output.path, reads)
    elif arguments.output is not None:
        check_apart(arguments.output.path, [folder])  # its shards would be files of another model
    categories, hashtags = _lines(arguments.categories), _lines(arguments.hashtags)
    notes = Notes.read(arguments.notes)
    check_trained(folder)
    workshop = LabelWorkshop(config, folder.resolve(), categories or (), hashtags, arguments.ban_in_text)
    decided = made_by(
        config,
        "labels",
        model=folder_key(folder),
        categories=categories,
        hashtags=hashtags,
        ban_in_text=arguments.ban_in_text,
    )
    title = "categories and hashtags"
    if arguments.output is not None and arguments.output.is_folder:
        fill_folder(arguments, config, notes, "generations", workshop, made_by=decided, title=title)
    else:
        _write_one(arguments.output and arguments.output.path, notes, workshop, decided, title)


def _write_one(
    path: Path | None, notes: "Notes", workshop: "LabelWorkshop", decided: dict[str, Any], title: str
) -> None:
    """Writes the lines into one file, or prints them."""
    from notellm.app.pipeline import label
    from notellm.pools.lines import write_pool
    from notellm.progress import console_progress

    describer = workshop.describer()
    with console_progress(title, "notes", part="batch") as progress:
        if path is None:
            rows = label(describer, notes, progress)
            escapes = sys.stdout.errors == "backslashreplace"  # whose escapes would be none of JSON's
            sys.stdout.writelines(json.dumps(row, ensure_ascii=escapes) + "\n" for row in rows)
            return
        before = write_pool(
            path,
            notes,
            lambda some, report: label(describer, some, report),
            made_by=decided,
            progress=progress,
        )
    kept = f", {before:,} of them by a call before" if before else ""
    print(f"{len(notes):,} notes in {path}{kept}")


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
