"""Embeds any notes with a trained model.

reads:   a table of notes (.parquet, .csv, .jsonl) and model/ in the run folder, or --model
writes:  --output: .safetensors (with the ids inside) or .npy (with the ids in *.ids.txt)

for example:
  notellm embed --run runs/demo --notes notes.parquet --output vectors.safetensors
"""

import argparse
from pathlib import Path

from notellm.app.commands.configured import add_run_arguments, read_config, show_config

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("--notes", type=Path, required=True, metavar="FILE", help="the notes to embed")
    parser.add_argument(
        "--output",
        type=_vectors_file,
        required=True,
        metavar="FILE",
        help="where they go: .safetensors or .npy",
    )
    parser.add_argument("--model", type=Path, metavar="DIR", help="a model folder other than the run's")
    add_run_arguments(parser, "embed")


def _vectors_file(text: str) -> Path:
    path = Path(text)
    if path.suffix not in (".safetensors", ".npy"):
        raise argparse.ArgumentTypeError(f"must end in .safetensors or .npy, but is {text}")
    return path


def run(arguments: argparse.Namespace) -> None:
    """Embeds and says what it saved."""
    from notellm.app.pipeline import load_trained
    from notellm.data import Notes
    from notellm.embedding import check_ids, embed, save_embeddings
    from notellm.io.outputs import check_output
    from notellm.progress import console_progress

    config = read_config(arguments)
    if show_config(arguments, config):
        return
    folder = arguments.model or Path(config.run_dir) / "model"
    check_output(arguments.output, [arguments.notes, folder])  # before doing work that could not be saved
    notes = Notes.read(arguments.notes)
    check_ids(arguments.output, notes.ids)
    model = load_trained(config, folder)
    with console_progress("embedding", "notes", part="batch") as progress:
        result = embed(
            model,
            model.prompt.tokenize(notes),
            dtype=config.dtype,
            options=config.embed,
            progress=progress,
        )
    save_embeddings(arguments.output, notes.ids, result.vectors)
    print(
        f"{len(notes):,} notes, {result.vectors.shape[1]} dimensions, in {arguments.output}; "
        f"sharing saved {result.saved_fraction:.0%} of {result.sequence_tokens:,} tokens; "
        f"matrices in {result.weight_bytes / 2**20:,.1f} MiB"
    )
