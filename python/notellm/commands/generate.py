"""Writes the category and the hashtags of any notes with a trained model.

reads:   a table of notes (.parquet, .csv, .jsonl) and model/ in the run folder, or --model
writes:  --output: one JSON object a note, {"id", "title", "category", "hashtags"}; standard output
         without it

for example:
  notellm generate --run runs/demo --notes notes.jsonl generation.hashtag_count=3
"""

import argparse
import json
import sys
from pathlib import Path

from notellm.commands.configured import add_run_arguments, read_config, show_config

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("--notes", type=Path, required=True, metavar="FILE", help="the notes to describe")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the JSON lines go")
    parser.add_argument("--model", type=Path, metavar="DIR", help="a model folder other than the run's")
    add_run_arguments(parser, "generation")


def run(arguments: argparse.Namespace) -> None:
    """Generates and writes the lines."""
    from notellm.data import Notes
    from notellm.files import atomic_write
    from notellm.pipeline import load_trained, write_labels

    config = read_config(arguments)
    if show_config(arguments, config):
        return
    model = load_trained(config, arguments.model or Path(config.run_dir) / "model")
    notes = Notes.read(arguments.notes)
    labels = write_labels(config, model, notes, "the model")
    lines = [
        json.dumps({"id": note, "title": title} | label, ensure_ascii=False) + "\n"
        for note, title, label in zip(notes.ids, notes.titles, labels, strict=True)
    ]
    if arguments.output is None:
        sys.stdout.writelines(lines)
        return
    with atomic_write(arguments.output) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")
    print(f"{len(lines):,} notes in {arguments.output}")
