"""Embeds any notes with a trained model.

An output that ends in a slash, or is a folder already, becomes a folder of shards, for pools that are
too large for one file: an interrupted call goes on after its last complete shard, several processes
(under torchrun) or actors of Ray share the work, and `notellm neighbours` reads the shards in place.

reads:   a table of notes (.parquet, .csv, .jsonl) and model/ in the run folder, or --model
writes:  --output: .safetensors (with the ids inside) or .npy (with the ids in *.ids.txt); or, in a
         folder, manifest.json and embeddings-*.arrow (columns id and vector; of int8 also scale)

for example:
  notellm embed --run runs/demo --notes notes.parquet --output vectors.safetensors
  notellm embed --run runs/demo --notes notes.parquet --output vectors/
  notellm embed --run runs/demo --notes notes.parquet --output vectors/ embed.dim=64 embed.storage=int8
  torchrun --nproc-per-node 8 -m -- notellm embed --run runs/demo --notes notes.parquet --output vectors/
  notellm embed --run runs/demo --notes notes.parquet --output vectors/ --engine ray --actor-gpus 0.5
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from notellm.app.commands.configured import add_run_arguments, read_config, show_config
from notellm.app.commands.pooled import Output, add_pool_arguments, check_is_alone, fill_folder, output_of

if TYPE_CHECKING:
    from notellm.app.config import Config

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("--notes", required=True, metavar="FILE", help="the notes to embed")
    parser.add_argument(
        "--output",
        type=_vectors_file,
        required=True,
        metavar="FILE",
        help="where they go: .safetensors, .npy, or FOLDER/",
    )
    parser.add_argument("--model", type=Path, metavar="DIR", help="a model folder other than the run's")
    add_pool_arguments(parser)
    add_run_arguments(parser, "embed")


def _vectors_file(text: str) -> Output:
    output = output_of(text)
    if not output.is_folder and output.path.suffix not in (".safetensors", ".npy"):
        raise argparse.ArgumentTypeError(
            f"must end in .safetensors or .npy, but is {text}; or in / for a folder of shards"
        )
    return output


def run(arguments: argparse.Namespace) -> None:
    """Embeds and says what it saved."""
    from notellm.app.pipeline import EmbedWorkshop, check_trained, is_projected
    from notellm.data import Notes
    from notellm.io.outputs import check_apart

    config = read_config(arguments)
    if show_config(arguments, config, joins=False):
        return
    if not arguments.output.is_folder:
        _embed_into_file(arguments, config)
        return
    folder = arguments.model or Path(config.run_dir) / "model"
    check_apart(arguments.output.path, [folder])  # its shards would be files of another model
    notes = Notes.read(arguments.notes)
    check_trained(folder)
    projected = is_projected(folder, otherwise=config.loss.contrastive)
    workshop = EmbedWorkshop(config, folder.resolve(), projected)
    fill_folder(arguments, config, notes, "embeddings", workshop, made_by=workshop.made_by, title="embedding")


def _embed_into_file(arguments: argparse.Namespace, config: "Config") -> None:
    from notellm.app.pipeline import is_projected, load_trained
    from notellm.data import Notes
    from notellm.data.named_notes import naming_notes
    from notellm.embedding import embed
    from notellm.io.outputs import check_outputs
    from notellm.progress import console_progress
    from notellm.vector_files import check_ids, check_storage, files_of, save_embeddings

    check_is_alone(arguments, "embed")
    path, folder = arguments.output.path, arguments.model or Path(config.run_dir) / "model"
    check_outputs(files_of(path), [arguments.notes, folder])  # before doing work that could not be saved
    notes = Notes.read(arguments.notes)
    check_ids(path, notes.ids)
    check_storage(path, config.embed.storage)
    model = load_trained(config, folder)
    with console_progress("embedding", "notes", part="batch") as progress, naming_notes(notes.ids):
        result = embed(
            model,
            model.prompt.tokenize(notes),
            dtype=config.dtype,
            options=config.embed,
            projected=is_projected(folder, otherwise=config.loss.contrastive),
            progress=progress,
        )
    save_embeddings(path, notes.ids, result.vectors, storage=config.embed.storage)
    print(
        f"{len(notes):,} notes, {result.vectors.shape[1]} dimensions, in {path}; "
        f"sharing saved {result.saved_fraction:.0%} of {result.sequence_tokens:,} tokens; "
        f"matrices in {result.weight_bytes / 2**20:,.1f} MiB"
    )
