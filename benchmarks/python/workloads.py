"""What benchmarks work on: real notes, in pairs, and the model's name."""

import argparse
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import random_backbones
from safetensors.torch import load_file, save_file

from notellm import NoteLLM
from notellm.data import Notes, debian
from notellm.embedding import Embedded, embed
from notellm.io.cache import cache_folder
from notellm.models import smollm2
from notellm.prompts import load_prompt

NOTES, PAIRS = 4096, 2048
MODEL = smollm2.NAME
SMOLLM2 = "smollm2-135m"


def add_workload(parser: argparse.ArgumentParser) -> None:
    """Adds what is worked on: ``--table``, ``--backbone``, ``--tokenizer`` and ``--device``."""
    parser.add_argument("--table", type=Path, help="a table of notes; default: the Debian catalogue")
    parser.add_argument("--backbone", choices=[SMOLLM2, *random_backbones.SHAPES], default=SMOLLM2)
    parser.add_argument("--tokenizer", type=Path, help="folder of a random backbone's; default: SmolLM2's")
    parser.add_argument("--device", default="cpu")


def model_name(backbone: str) -> str:
    """What records call a backbone."""
    return MODEL if backbone == SMOLLM2 else backbone


def backbone(name: str = SMOLLM2, tokenizer: Path | None = None) -> Path:
    """The folder of a backbone, made or fetched once."""
    if name == SMOLLM2:
        return smollm2.prepare(cache_folder(SMOLLM2))
    return random_backbones.make(name, cache_folder(name), tokenizer or backbone())


def related_notes(table: Path | None = None, notes: int = NOTES) -> tuple[Notes, np.ndarray, np.ndarray]:
    """Notes of a table, or of the Debian catalogue, and pairs drawn at random: speed and memory do not ask how related.

    Returns:
        Up to ``notes`` notes; source and target of ``PAIRS`` pairs of them.
    """
    every = Notes.read(table) if table else debian.fetch(cache_folder("debian")).notes
    draw = np.random.default_rng(0)
    some = every.take(np.sort(draw.permutation(len(every))[:notes]))
    source = draw.integers(0, len(some), PAIRS)
    target = (source + draw.integers(1, len(some), PAIRS)) % len(some)
    return some, source, target


class EmbeddingWork:
    """Some notes as token ids, and us as one who embeds them.

    Args:
        folder: The backbone's.
        notes: Which.
        dtype: Of our products.
        device: Where.
        content_tokens: What is kept of a note's content; default: as the paper's prompt has it.
        batch_tokens: Of one pass of ours.
    """

    def __init__(
        self,
        folder: Path,
        notes: Notes,
        *,
        dtype: str,
        device: str = "cpu",
        content_tokens: int | None = None,
        batch_tokens: int = 2048,
    ) -> None:
        prompt = load_prompt("paper")
        if content_tokens is not None:
            prompt = replace(prompt, content_tokens=content_tokens)
        self.model = NoteLLM.from_pretrained(folder, prompt=prompt).to(device)
        self.tokenized = self.model.prompt.tokenize(notes)
        self.dtype, self.batch_tokens = dtype, batch_tokens

    def token_ids(self) -> list[list[int]]:
        """What others are given: each note's prompt up to the compressed token."""
        rows = range(len(self.tokenized))
        batches = (self.model.prompt.pack(self.tokenized, [row], mode="embed") for row in rows)
        return [batch.tokens.tolist() for batch in batches]

    def embed(self, batch_tokens: int | None = None) -> Embedded:
        """Our vectors, and what they cost."""
        budget = batch_tokens or self.batch_tokens
        return embed(self.model, self.tokenized, projected=False, dtype=self.dtype, batch_tokens=budget)


@contextmanager
def first_layers(folder: Path, layers: int | None) -> Iterator[Path]:
    """A backbone's folder that keeps the first layers of another; None: the other itself."""
    if layers is None:
        yield folder
        return
    with TemporaryDirectory() as name:
        cut = Path(name)
        shutil.copytree(folder, cut, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True)
        config = json.loads((cut / "config.json").read_text()) | {"num_hidden_layers": layers}
        (cut / "config.json").write_text(json.dumps(config))
        weights = load_file(folder / "model.safetensors")
        kept = {name: w for name, w in weights.items() if _layer_of(name) < layers}
        save_file(kept, cut / "model.safetensors", metadata={"format": "pt"})
        yield cut


def _layer_of(name: str) -> int:
    parts = name.split(".")
    return int(parts[2]) if parts[:2] == ["model", "layers"] else 0
