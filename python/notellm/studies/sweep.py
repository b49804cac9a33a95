"""Runs the cells of a study that have not been run, one after the other."""

from __future__ import annotations

import fcntl
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from notellm.machine import versions
from notellm.metrics import hits_at
from notellm.metrics.arrays import FloatArray
from notellm.pipeline import evaluate, load_data, prepare, select_queries, train, training_pairs
from notellm.pipeline.evaluating import RANKS
from notellm.retrieval import Ranks
from notellm.run import RunFolder, read_json
from notellm.studies.ledger import Entry, Ledger
from notellm.studies.study import Cell, Study

Say = Callable[[str], None]


def ledger_of(study: Study) -> Ledger:
    """The ledger beside a study's runs; other studies of its scale share it."""
    return Ledger(study.cells[0].folder.parent / "ledger.jsonl")


def sweep(study: Study, *, say: Say = print) -> list[Entry]:
    """Runs what is missing of a study; a cell that fails is recorded, and the others go on.

    Several sweeps may work on one folder: each leaves alone what another is at.

    Args:
        study: From `load_study`, which has checked every configuration.
        say: Told what happens, line by line.

    Returns:
        The new entries of the ledger.
    """
    ledger, new = ledger_of(study), []
    for number, cell in enumerate(study.cells, 1):
        where = f"[{number}/{len(study.cells)}] {cell.row.name}, seed {cell.seed}"
        with _claimed(cell.folder) as is_ours:
            if not is_ours:
                say(f"{where}: another sweep is at it")
            elif cell.key in ledger.finished():
                say(f"{where}: done before")
            else:
                say(where)
                new.append(_run_recorded(study, cell, ledger))
                say(f"{where}: {new[-1]['status']} in {new[-1]['seconds']:.0f} s {new[-1]['error']}".rstrip())
    return new


def plan(study: Study) -> list[tuple[Cell, Entry | None, float | None]]:
    """Each cell, its entry if it is finished, and otherwise how long it may take.

    Returns:
        The estimate is the mean time of the finished runs, in seconds; None where there is none.
    """
    finished = ledger_of(study).finished()
    times = [entry["seconds"] for entry in finished.values()]
    mean = sum(times) / len(times) if times else None
    return [(cell, finished.get(cell.key), None if cell.key in finished else mean) for cell in study.cells]


@contextmanager
def _claimed(folder: Path) -> Iterator[bool]:
    """Whether the folder is ours while the block lasts: the lock goes with the process that holds it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _run_recorded(study: Study, cell: Cell, ledger: Ledger) -> Entry:
    begin, error, data = time.perf_counter(), "", ""
    metrics: dict[str, float] = {}
    try:
        metrics, data = run_cell(cell)
    except Exception as failure:  # whatever it is: the other cells go on
        error = f"{type(failure).__name__}: {failure}".splitlines()[0]
        cell.folder.mkdir(parents=True, exist_ok=True)
        (cell.folder / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
    entry: Entry = {
        "study": study.name,
        "row": cell.row.key,
        "seed": cell.seed,
        "scale": study.scale,
        "key": cell.key,
        "status": "failed" if error else "done",
        "error": error,
        "metrics": metrics,
        "data": data,
        "commit": versions().get("commit", ""),
        "seconds": round(time.perf_counter() - begin, 1),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "folder": str(cell.folder),
        "config": cell.config.to_dict(),
    }
    ledger.append(entry)
    return entry


def run_cell(cell: Cell) -> tuple[dict[str, float], str]:
    """Runs one cell in its folder, going on where a former call was interrupted.

    Returns:
        Its metrics, shares in 0..1 by name, and the fingerprint of its data.
    """
    run = RunFolder.open(cell.config, command=["notellm", "sweep"])
    dataset = load_data(cell.config)
    pairs = prepare(run, dataset)
    if cell.row.system == "trained":
        train(run, dataset, *training_pairs(dataset, *pairs))
    document = evaluate(run, dataset, select_queries(cell.config, dataset, *pairs))
    return metrics_of(document, cell.row.system), read_json(run.file("data.json"))["fingerprint"]


def metrics_of(document: dict[str, Any], system: str) -> dict[str, float]:
    """The numbers of one system in an ``evaluation.json``, by the names that tables use."""
    own = next(row for row in document["systems"] if row["key"] == system)
    metrics = {f"recall@{k}": found["value"] for k, found in own["recall"].items()}
    metrics["mrr"] = own["mrr"]["value"]
    for side, part in own["exposure"].items():
        metrics |= {f"{side}.recall@{k}": found["value"] for k, found in part["recall"].items()}
    for writer in document.get("generation", {}).get("systems", []):
        if writer["key"] == system:
            metrics |= _generation_metrics(writer)
    return metrics


def _generation_metrics(writer: dict[str, Any]) -> dict[str, float]:
    found = {
        "accuracy": writer["category_accuracy"],
        "illusory": writer["illusory"],
        "closed_set": (writer["closed_set"] or {}).get("accuracy"),
        "bleu4": writer["bleu4"],
        "rouge1": writer["rouge1"],
        "rouge2": writer["rouge2"],
        "rougeL": writer["rougeL"],
        "hashtag_f1": (writer["hashtags"] or {}).get("f1"),
    }
    return {name: interval["value"] for name, interval in found.items() if interval is not None}


def ranks_of(folder: str | Path, system: str) -> Ranks:
    """The ranks that a finished run has kept, query by query."""
    tensors = load_file(Path(folder) / RANKS)
    return Ranks(tensors[f"{system}.greater"], tensors[f"{system}.equal"])


def hits_of(folder: str | Path, system: str, k: int) -> FloatArray:
    """Shape ``(Q,)``: what each query of a finished run contributes to Recall@k."""
    return hits_at(ranks_of(folder, system), [k])[:, 0]
