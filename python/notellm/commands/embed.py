"""Embeds any notes with a trained model.

reads:   a table of notes (.parquet, .csv, .jsonl) and model/ in the run folder, or --model
writes:  --output: .safetensors (with the ids inside) or .npy (with the ids in *.ids.txt)

for example:
  notellm embed --run runs/demo --notes notes.parquet --output vectors.safetensors
"""

import argparse
from pathlib import Path

from notellm.commands.configured import add_run_arguments, open_run

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("--notes", type=Path, required=True, metavar="FILE", help="the notes to embed")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="where the vectors go")
    parser.add_argument("--model", type=Path, metavar="DIR", help="a model folder other than the run's")
    add_run_arguments(parser, "embed")


def run(arguments: argparse.Namespace) -> None:
    """Embeds and says what it saved."""
    from notellm.data import Notes
    from notellm.embedding import embed, save_embeddings
    from notellm.pipeline import load_trained
    from notellm.progress import console_progress

    folder = open_run(arguments)
    if folder is None:
        return
    notes = Notes.read(arguments.notes)
    model = load_trained(folder, arguments.model)
    with console_progress("embedding", "notes") as progress:
        result = embed(
            model,
            model.prompt.tokenize(notes),
            dtype=folder.config.dtype,
            batch_tokens=folder.config.embed.batch_tokens,
            progress=progress,
        )
    save_embeddings(arguments.output, notes.ids, result.vectors)
    print(
        f"{len(notes):,} notes, {result.vectors.shape[1]} dimensions, in {arguments.output}; "
        f"the shared instruction saved {result.saved_share:.0%} of {result.sequence_tokens:,} tokens"
    )
