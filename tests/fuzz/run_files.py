"""Files that a run, a study or an unfinished pool keeps, and that a later call reads."""

import contextlib
import json

import torch
from safetensors.torch import save_file

from fuzz.target import Target, of_file, target
from notellm.app.config import compose
from notellm.app.kept_seconds import SWEEP_TIME, TRAINING_TIME
from notellm.app.pipeline.written_words import _written_before
from notellm.app.run import RunFolder
from notellm.app.studies.cell import Cell, Row
from notellm.app.studies.columns import Column
from notellm.app.studies.ranks import exposure_of, ranked_values
from notellm.app.studies.values import written_values
from notellm.io.json_files import read_json
from notellm.io.json_tree import Node
from notellm.io.locks import holder_of, locked
from notellm.mining import mine_pairs
from notellm.mining_report import MiningReport
from notellm.pools.lines import write_pool
from notellm.pools.shards import Plan, Shards
from samples import make_notes


@target
def run_record(folder):
    config = compose(["dtype=fp32", f"run_dir={folder}/run"])
    RunFolder.open(config, command=["notellm", "train"])
    path = folder / "run" / "run.json"
    return of_file(path, [path.read_bytes()], lambda _: RunFolder.open(config, command=["notellm", "train"]))


@target
def mining_report(folder):
    from notellm.mining import _example_log

    report = mine_pairs(_example_log()).report.to_dict()
    path = folder / "data.json"
    return of_file(
        path,
        [json.dumps(report).encode()],
        lambda _: MiningReport.read(Node(read_json(path), str(path))).describe(),
    )


@target
def kept_outputs(folder):
    rows = [{"id": note, "made_by": "m", "systems": {"trained": {"category": "c"}}} for note in "ab"]
    seed = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    return of_file(folder / "generation.jsonl", [seed], lambda path: _written_before(path, "m", ["a", "b"]))


@target
def ranks(folder):
    config = compose(["dtype=fp32", f"run_dir={folder}", "evaluation.ks=[1,3]"])
    cell = Cell(Row("a", "A", (), "trained", {}, {}), 0, config)
    tensors = {
        "trained.greater": torch.tensor([0, 2, 5]),
        "trained.equal": torch.tensor([0, 1, 0]),
        "exposure.low": torch.tensor([1, 0, 1], dtype=torch.uint8),
        "query.tagged": torch.tensor([1, 1, 0], dtype=torch.uint8),
        "query.target": torch.tensor([4, 4, 8]),
        "exposure.place": torch.tensor([0.1, 0.5, 0.2], dtype=torch.float64),
    }
    path = folder / "ranks.safetensors"
    save_file(tensors, path, metadata={"pool": "9"})

    def read(_):
        for column in ("recall@3", "recall@avg", "low.recall@1", "tagged.mrr", "macro.ndcg@3", "log_score"):
            if found := ranked_values(cell, Column.read(column)):
                found.mean, found.macro_mean  # noqa: B018
        return exposure_of(cell)

    return of_file(path, [path.read_bytes()], read)


@target
def words(folder):
    config = compose(["dtype=fp32", f"run_dir={folder}"])
    cell = Cell(Row("a", "A", (), "trained", {}, {}), 0, config)
    values = torch.tensor([0, 1, float("nan")], dtype=torch.float64)
    path = folder / "words.safetensors"
    save_file({"trained.accuracy": values, "note": torch.tensor([4, 6, 8])}, path)
    return of_file(path, [path.read_bytes()], lambda _: written_values(cell, "accuracy"))


@target
def training_time(folder):
    path = folder / "training_time.json"
    return of_file(path, [b'{"seconds": 1.5}'], lambda _: TRAINING_TIME.of(folder))


@target
def sweep_time(folder):
    path = folder / "sweep_time.json"
    return of_file(path, [b'{"seconds": 1.5}'], lambda _: SWEEP_TIME.of(folder))


@target
def unfinished_pool(folder):
    """What an interrupted call left: the lines, and who made them."""
    notes = make_notes(3)
    path, made_by = folder / "o.jsonl", {"model": "m"}
    part, origin = folder / "o.jsonl.part", folder / "o.jsonl.part.json"

    def interrupted(some, report):
        if part.exists():
            raise KeyboardInterrupt
        return [{"id": note} for note in some.ids]

    with contextlib.suppress(KeyboardInterrupt):
        write_pool(path, notes, interrupted, made_by=made_by, notes_per_chunk=1)
    right = origin.read_bytes()

    def read(content: bytes) -> None:
        for lines, known in ((content, right), (b'{"id": 0}\n', content)):
            part.write_bytes(lines)
            origin.write_bytes(known)
            write_pool(path, notes, lambda some, _: [{"id": note} for note in some.ids], made_by=made_by)

    return Target([b'{"id": 0}\n{"id"', right], read)


@target
def lock(folder):
    path = folder / "x"
    with locked(path):
        seed = (folder / "x.lock").read_bytes()

    def read(content: bytes) -> None:
        (folder / "x.lock").write_bytes(content)
        holder_of(path)
        with locked(path):
            pass

    return Target([seed], read)


@target
def record_of_a_shard(folder):
    shards = Shards.begin(folder / "out", Plan("generations", {"model": "m"}, "", 4, 2))
    for index in range(2):
        shards.make(index, lambda path: path.write_bytes(b"x") and {})
    path = folder / "out" / f"{shards.plan.name(0)}.json"
    manifest = folder / "out" / "manifest.json"
    record, whole = path.read_bytes(), manifest.read_bytes()

    def read(content: bytes) -> None:
        path.write_bytes(content)
        manifest.write_bytes(whole)
        again = Shards.begin(folder / "out", shards.plan)
        again.missing()
        again.finish()

    return Target([record], read)
