"""Writes the trained model as other programs load it, with a model card.

Each folder has a README.md: what the model was made from, how good it is, how to load it.

reads:   model/ in the run folder; what the run measured, for the model card
writes:  --output, a folder, complete or not at all; one of an earlier export is replaced
           hf                     for transformers: configuration, weights, tokenizer, generation settings
           sentence-transformers  the same with modules.json: pooling, the projection as Dense, unit length
           gguf                   for llama.cpp: model.gguf and projection.npy

for example:
  notellm export --run runs/demo --to hf --output demo-hf
  notellm export --run runs/demo --to sentence-transformers --output demo-st
  notellm export --run runs/demo --to sentence-transformers --takes text --output demo-text
  notellm export --run runs/demo --to gguf --dtype bf16 --output demo-gguf
"""

import argparse
from pathlib import Path

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="the run folder")
    parser.add_argument(
        "--to", choices=("hf", "sentence-transformers", "gguf"), required=True, help="who is to load it"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="the folder to write")
    parser.add_argument(
        "--takes",
        choices=("notes", "text"),
        help="sentence-transformers: notes as dictionaries (default; exact, needs notellm) or strings (needs nothing)",
    )
    parser.add_argument(
        "--dtype", choices=("fp32", "bf16"), default="fp32", help="of the weights (default: fp32)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Writes the folder and says what is in it."""
    from notellm.app.card import Export, model_card
    from notellm.app.config import load_config
    from notellm.app.pipeline import check_trained
    from notellm.app.report.run_results import read_run_results
    from notellm.errors import ConfigError
    from notellm.export import export_gguf, export_sentence_transformers
    from notellm.io.outputs import check_output_folder
    from notellm.models.notellm import NoteLLM
    from notellm.models.notellm_folder import check_new_folder
    from notellm.precision import DTYPES

    if arguments.takes and arguments.to != "sentence-transformers":
        raise ConfigError(f"--takes: must go with --to sentence-transformers, but goes with {arguments.to}")
    folder, output = arguments.run / "model", arguments.output
    check_trained(folder)
    check_output_folder(output, [folder])  # before doing work that could not be saved
    check_new_folder(output)
    config = load_config(arguments.run / "config.yaml")
    model = NoteLLM.from_pretrained(folder).to(DTYPES[arguments.dtype])
    takes, projected = arguments.takes or "notes", config.loss.contrastive
    export = Export(arguments.to, takes, output, projected)
    card = model_card(export, config, read_run_results(arguments.run), model)
    if arguments.to == "hf":
        model.save_pretrained(output, card=card)
    elif arguments.to == "gguf":
        export_gguf(model, output, projected=projected, card=card)
    else:
        export_sentence_transformers(model, output, takes=takes, projected=projected, card=card)
    size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    print(f"{arguments.to} in {output}, {size / 2**20:,.1f} MiB; {output / 'README.md'} says how to load it")
