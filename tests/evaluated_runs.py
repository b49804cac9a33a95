"""Run folders as an evaluation leaves them, with chosen vectors: nothing is trained."""

import numpy as np
import torch

from notellm.app.config import compose, to_yaml
from notellm.app.pipeline import write_pairs
from notellm.data import Interactions, Notes
from notellm.mining import mine_pairs
from notellm.vector_files import save_embeddings

TITLES = [
    "a </script><b>bold</b> title",
    "quotes \"double\" and 'single' & <!-- more",
    "emoji \U0001f9ea\U0001f468\u200d\U0001f52c",
    "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd",
    "Cr\u00e8me br\u00fbl\u00e9e",
    "\u8336\u548c\u6ce5",
    "line\u2028separator",
    "\u039f\u03b4\u03bf\u03c3\u03ae\u03bc\u03b1\u03bd\u03c3\u03b7",
]
"""Titles that break pages that do not escape them; the rest are plain."""

WIDTHS = {"zero_shot_prompt": 9, "trained": 6}


def some_notes(count):
    titles = [*TITLES, *(f"plain title {i}" for i in range(len(TITLES), count))][:count]
    contents = [f"content of number {i}, " + "word " * 100 for i in range(count)]
    topics = [[f"tag{i % 4}"] if i % 3 else [] for i in range(count)]
    categories = [["tea", "mud", "</script>", ""][min(i % 5, 3)] for i in range(count)]
    return Notes([f"n/{i}#\u00fc" for i in range(count)], titles, contents, topics, categories)


def unit_rows(count, width, seed):
    rows = torch.tensor(np.random.default_rng(seed).normal(size=(count, width)), dtype=torch.float32)
    return torch.nn.functional.normalize(rows, dim=1)


def make_run(
    base, name="run", count=40, seed=0, *, order=None, systems=("zero_shot_prompt", "trained"), changes=()
):
    """Makes an evaluated run of some notes, with vectors drawn by a seed; returns its folder.

    Of each basket the log has three notes in a row. ``order`` says which notes were evaluated, in their order.
    """
    notes, folder = some_notes(count), base / name
    notes.write(base / f"{name}-notes.parquet")
    users = np.repeat(np.arange(count - 2), 3)
    log = Interactions(
        users=users,
        notes=users + np.tile([0, 1, 2], count - 2),
        user_ids=[f"u{i}" for i in range(count - 2)],
        note_ids=notes.ids,
        ordered=False,
    )
    log.write(base / f"{name}-log.parquet")
    data = [f"data.notes={base / name}-notes.parquet", f"data.interactions={base / name}-log.parquet"]
    config = compose(["data=files", *data, "data.ordered=false", f"run_dir={folder}", *changes])
    (folder / "embeddings").mkdir(parents=True)
    (folder / "config.yaml").write_text(to_yaml(config))
    write_pairs(folder / "pairs.parquet", mine_pairs(log, min_users=1, lower=0.0), notes)
    ids = [notes.ids[row] for row in (range(count) if order is None else order)]
    for system in systems:
        width = WIDTHS[system]
        rows = unit_rows(len(ids), width, seed + width)
        save_embeddings(folder / "embeddings" / f"{system}-abc.safetensors", ids, rows)
    return folder
