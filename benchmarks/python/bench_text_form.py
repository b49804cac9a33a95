"""How near the export for strings (`--takes text`) comes to the prompt: shares of equal tokens, and cosines.

A note is one of three kinds: the text has the very tokens of the prompt ("same"); no field is longer than its limit,
but characters merge where a field meets the prompt ("merged"); a field is longer, and stays whole in the text ("cut").
The cosines are between what sentence-transformers computes of texts and `NoteLLM.embed` of the notes, in fp32; no time
is measured.

    python benchmarks/python/bench_text_form.py --output benchmarks/results/text_form.json
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from records import Run

from notellm.data import debian
from notellm.data.notes import Notes
from notellm.export import export_sentence_transformers, note_texts
from notellm.io.cache import cache_folder
from notellm.models.notellm import NoteLLM
from notellm.prompts import Prompt

KINDS = ("same", "merged", "cut")
NO_LIMIT = 1_000_000


def prompt_tokens(prompt: Prompt, notes: Notes) -> list[list[int]]:
    """The tokens of each note's embedding prompt."""
    packed = prompt.pack(prompt.tokenize(notes), range(len(notes)), mode="embed")
    return [packed.tokens[packed.path(row)].tolist() for row in range(len(notes))]


def without_limits(model: NoteLLM) -> Prompt:
    """The model's prompt, in which no field is cut."""
    config = replace(model.prompt.config, title_tokens=NO_LIMIT, content_tokens=NO_LIMIT)
    return Prompt(config, model.tokenizer, emb_token_id=model.emb_token_id, eos_token_id=model.eos_token_id)


def kinds_of(model: NoteLLM, notes: Notes, texts: Sequence[Sequence[int]]) -> list[str]:
    """The kind of each note, by the tokens that its text has for other programs."""
    tokens, whole = prompt_tokens(model.prompt, notes), prompt_tokens(without_limits(model), notes)
    rows = zip(texts, tokens, whole, strict=True)
    return ["same" if list(text) == cut else "merged" if cut == uncut else "cut" for text, cut, uncut in rows]


def compare(model: NoteLLM, notes: Notes, of_each: int, folder: Path) -> dict[str, Any]:
    """Exports a model for strings, and compares it with the model.

    Args:
        model: The model.
        notes: Of whom the tokens are compared.
        of_each: Of how many notes of each kind the vectors are: the first ones.
        folder: Where the export goes.
    """
    from sentence_transformers import SentenceTransformer

    export_sentence_transformers(model, folder, takes="text")
    theirs = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    texts, prompt = note_texts(model, notes), theirs.prompts["note"]
    tokens = [theirs.preprocess([text], prompt=prompt)["input_ids"][0].tolist() for text in texts]
    kinds = kinds_of(model, notes, tokens)
    counts = Counter(kinds)
    found: dict[str, Any] = {
        "notes": len(notes),
        "counts": {kind: counts[kind] for kind in KINDS},
        "same": round(counts["same"] / len(notes), 4),
        "same_where_nothing_is_cut": round(counts["same"] / max(1, len(notes) - counts["cut"]), 4),
        "cosines": {},
    }
    for kind in KINDS:
        rows = [row for row, own in enumerate(kinds) if own == kind][:of_each]
        if rows:
            vectors = torch.from_numpy(theirs.encode([texts[row] for row in rows], prompt_name="note"))
            cosines = (vectors * model.embed(notes.take(rows), dtype="fp32")).sum(1)
            found["cosines"][kind] = {
                "notes": len(rows),
                "least": round(float(cosines.min()), 6),
                "median": round(float(cosines.median()), 6),
            }
    return found


def main() -> None:
    """Draws notes, compares and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--notes", type=int, default=3000, help="drawn from the catalogue (%(default)s)")
    parser.add_argument("--of-each", type=int, default=20, help="vectors of each kind (%(default)s)")
    run = Run(parser)

    notes = debian.fetch(cache_folder("debian"), None).notes
    drawn = np.random.default_rng(0).choice(len(notes), min(run.options.notes, len(notes)), replace=False)
    model = NoteLLM.from_pretrained("smollm2-135m")
    with tempfile.TemporaryDirectory() as folder:
        numbers = compare(model, notes.take(drawn), run.options.of_each, Path(folder) / "exported")
    limits = {name: getattr(model.prompt.config, name) for name in ("title_tokens", "content_tokens")}
    prompt = {"name": model.prompt.config.name, **limits}
    run.report("text_form", {"model": "smollm2-135m", "prompt": prompt, **numbers})


if __name__ == "__main__":
    main()
