"""The README's section on speed and memory, from records."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from cells import Record, Records, compare, duration, listed, machine, memory, number, rate, table, wrapped

Cell = Callable[[Record], str]
GCL_PAIRS = (16, 64, 512, 4096)

INTRODUCTION = """
SmolLM2-135M-Instruct, dequantised from Q4_1, on Debian notes. Each figure is beside the strongest of the baselines in
the same record, all of which computed the same numbers; int8, which does not, has rows of its own. Rounds alternate,
and a ratio is given from its smallest to its largest round. A record has every round, machine, versions, commit and
command, and was made beside no other work; an empty cell has no such record.
`python benchmarks/python/run_all.py` makes them again, `tables.py` beside it writes this section.
"""

BASELINES = """
Baselines, in batches sorted by length and of the size that was fastest. Embedding: transformers, padded; with the
instruction's keys and values kept; that under torch.compile with frozen weights; sentence-transformers; OpenVINO,
converted with the instruction kept, and with int8 matrices by nncf. Training: transformers (with peft for LoRA),
padded, autocast for bf16, fused AdamW; logits where there are labels, or torch's chunked linear_cross_entropy. Each
measurement is a process of its own; memory is a step's resident peak above what stays between steps, gradients
included. Contrastive loss: normalised rows, one matrix of similarities, cross-entropy. Hashtags: `generate` with the
instruction kept or not, CTranslate2 with it as static prompt; categories: a note's cache shared by all candidates in
one batch. While it was timed, everyone's allocator kept freed memory, as our own passes have it; without that the
contrastive loss's baseline is slower (record). The rows on GradCache and processes compare us with ourselves.
"""


def speed_section(records: Records) -> list[str]:
    """Its lines, without the heading."""
    names = {name for _, name, _ in rows()}
    sets = records.sets(sorted(names))
    lines = [*wrapped(INTRODUCTION), ""]
    if sets:
        lines += [*speed_table(records, sets), ""]
    lines += [*wrapped(BASELINES), ""]
    for paragraph in (
        products(records),
        sharing(records),
        lengths(records),
        pools(records),
        skipped(records),
    ):
        lines += [*wrapped(paragraph), ""] if paragraph else []
    return lines + precision(records)


def speed_table(records: Records, sets: list[str]) -> list[str]:
    """A column by instruction set; rows without any record are left out."""
    heads = [f"{one} ({_machine_of(records, one)})" for one in sets]
    lines = []
    for title, name, cell in rows():
        found = [_cell(records, name, one, cell) for one in sets]
        if any(found):
            lines.append([title, *found])
    return table(["", *heads], lines)


def _machine_of(records: Records, instruction_set: str) -> str:
    names = dict.fromkeys(name for _, name, _ in rows())
    found = (records.get(name, instruction_set) for name in names)
    return listed(dict.fromkeys(machine(record) for record in found if record))


def _cell(records: Records, name: str, instruction_set: str, cell: Cell) -> str:
    record = records.get(name, instruction_set)
    text = cell(record) if record else ""
    return f"{text} ({records.linked(name, instruction_set)})" if text else ""


def rows() -> Iterator[tuple[str, str, Cell]]:
    """Title, record and cell of each row."""
    for dtype in ("fp32", "bf16"):
        name = f"embedding_{dtype}"
        yield f"embedding, {dtype}, notes/s", name, lambda r: rate(r["rounds"], r["notes"])
        yield f"embedding, {dtype}, notes/s, against int8 matrices", name, _against_int8
    for name, title in (("training", "joint training step"), ("training_lora", "the same with LoRA, r = 16")):
        yield f"{title}, notes/s", name, _training
        yield (
            "its peak memory above weights and optimizer, MiB",
            name,
            lambda r: memory(r["memory_above_mib"]),
        )
    for pairs in GCL_PAIRS:
        title = f"contrastive loss, {pairs:,} pairs, forward and backward"
        yield title, "gcl", lambda r, pairs=pairs: _gcl(r, pairs, lambda size: duration(size["rounds"]))
    title = f"its peak memory, {GCL_PAIRS[-1]:,} pairs, MiB"
    yield title, "gcl", lambda r: _gcl(r, GCL_PAIRS[-1], lambda size: memory(size["peak_mib"]))
    yield "activation memory of a step, GradCache, MiB", "gradcache", _gradcache
    for dtype in ("fp32", "bf16"):
        name = f"generation_{dtype}"
        yield f"greedy hashtags, {dtype}, notes/s", name, _hashtags
        yield f"greedy hashtags, {dtype}, notes/s, against int8", name, _hashtags_int8
        yield f"log p of a closed set of categories, {dtype}, notes/s", name, _categories
    yield "two processes with a thread each, notes/s", "processes", _processes


def _against_int8(record: Record) -> str:
    found = rate(record["rounds"], record["notes"], ["openvino_prefix_int8"])
    if not found:
        return ""
    kept = record["agreement_with_fp32"]
    ours, theirs = (100 * kept[who]["ten_nearest_kept"] for who in ("notellm", "openvino_prefix_int8"))
    return f"{found}; of fp32's ten nearest notes {ours:.0f} % and {theirs:.0f} % are kept"


def _training(record: Record) -> str:
    return f"{record['pairs']} pairs, {record['dtype']}: {rate(record['rounds'], 2 * record['pairs'])}"


def _gcl(record: Record, pairs: int, cell: Callable[[Any], str]) -> str:
    size = next((size for size in record["sizes"] if size["pairs"] == pairs), None)
    return cell(size) if size else ""


def _gradcache(record: Record) -> str:
    small, large = record["steps"]["small"], record["steps"]["gradcache"]
    ratio = large["peak_mib"] / small["peak_mib"]
    return (
        f"{record['dtype']}, {large['pairs_per_step']} pairs in parts of {large['micro_pairs']}: "
        f"{large['peak_mib']:,.0f} against {small['peak_mib']:,.0f} of a part alone: **{ratio:.2f} x**"
    )


def _hashtags(record: Record) -> str:
    return rate(record["hashtags"]["rounds"], record["hashtags"]["notes"])


def _hashtags_int8(record: Record) -> str:
    found = record["hashtags"]
    text = rate(found["rounds"], found["notes"], ["ctranslate2_int8"])
    return (
        f"{text}; {found['equal_outputs']['ctranslate2_int8']} of {found['notes']} outputs equal"
        if text
        else ""
    )


def _categories(record: Record) -> str:
    found = record["categories"]
    return f"{found['categories']} names: {rate(found['rounds'], found['notes'])}"


def _processes(record: Record) -> str:
    one, two = record["rounds"]["1_process"], record["rounds"]["2_processes"]
    return f"{record['dtype']}: {rate({'notellm': two, '1_process': one}, 2 * record['pairs'])}"


def products(records: Records) -> str:
    """The share of the linear layers' products."""
    parts = []
    for name, title in (
        ("embedding_fp32", "embedding in fp32"),
        ("embedding_bf16", "embedding in bf16"),
        ("training", "a training step"),
        ("training_lora", "one with LoRA, without its adapters' products"),
    ):
        shares = [
            f"{100 * record['share_of_bare_products']:.0f} % ({one})"
            for one, record in records.of_all_sets(name).items()
        ]
        parts += [f"{listed(shares)} of {title}"] if shares else []
    return f"The linear layers' products of the same tokens, alone, take {listed(parts)}." if parts else ""


def sharing(records: Records) -> str:
    """Tokens saved by shared prefixes: not a matter of the machine, so its record has no instruction set."""
    counted = json.loads((records.folder / "sharing.json").read_text())["table"]
    best = counted["prefixes of 4 or more, by tokens, 4096"]["saved"]
    parts = []
    for name in ("embedding_fp32", "embedding_bf16"):
        for record in list(records.of_all_sets(name).values())[:1]:
            parts.append(
                f"{100 * record['tokens_saved_by_sharing']:.0f} % of {record['notes']} notes' tokens"
            )
    here = f"{listed(dict.fromkeys(parts))} in the embedding rows, and " if parts else ""
    return (
        f"Shared prefixes and equal notes save {here}{100 * best:.0f} % over the whole catalogue, in batches of 4,096 "
        f"tokens ([record]({records.link}sharing.json))."
    )


def _point(point: Record) -> str:
    found = compare(point["rounds"])
    assert found is not None
    ours, theirs = (number(point["notes"] / seconds) for seconds in (found.ours, found.theirs))
    return f"{ours} against {theirs}"


def lengths(records: Records) -> str:
    """Speed by tokens of a note."""
    parts = []
    for one, record in records.of_all_sets("growth").items():
        points = [f"{point['tokens_per_note']}: {_point(point)}" for point in record["by_length"]]
        parts.append(f"{one}, {record['dtype']} ({records.linked('growth', one)}): {', '.join(points)}")
    against = "Notes a second by tokens of a note, against transformers with the instruction kept"
    return f"{against}. {'; '.join(parts)}." if parts else ""


def pools(records: Records) -> str:
    """Speed by notes of the pool."""
    parts = []
    for one, record in records.of_all_sets("pools").items():
        points = [f"{point['notes']:,}: {_point(point)}" for point in record["by_pool"]]
        parts.append(
            f"{one}, {record['dtype']}, {record['layers']} layers ({records.linked('pools', one)}): {', '.join(points)}"
        )
    return f"The same by notes of the pool. {'; '.join(parts)}." if parts else ""


def skipped(records: Records) -> str:
    """Baselines that a record lacks."""
    parts = []
    for name, place in (("embedding_fp32", None), ("embedding_bf16", None), ("generation_fp32", "hashtags")):
        for one, record in records.of_all_sets(name).items():
            absent = (record[place] if place else record)["skipped"]
            parts += [f"{baseline} in {name}, {one} ({why})" for baseline, why in absent.items()]
    return f"Not measured: {listed(parts)}." if parts else ""


def precision(records: Records) -> list[str]:
    """What fast paths do to vectors, from the record of the widest set."""
    found = records.of_all_sets("precision")
    if not found:
        return []
    one, record = next(iter(found.items()))
    paths = record["against_transformers_fp32"]
    shown = [name for name in paths if "fp32" not in name or "int8" in name]
    lines = [
        [
            name,
            f"{paths[name]['centred']['smallest_cosine']:.4f}",
            f"{100 * paths[name]['centred']['top10_overlap']:.0f} %",
            f"{paths[name]['recall_change_points']:+.2f}",
        ]
        for name in shown
    ]
    head = ["", "smallest centred cosine", "ten nearest notes kept (centred)"]
    about = (
        "What the fast paths do to vectors (raw states of the untrained model), against transformers in fp32 on "
        f"{record['notes']:,} notes ({one}, {records.linked('precision', one)}):"
    )
    return [
        *wrapped(about),
        "",
        *table([*head, f"Recall@100 of {record['queries']} queries, points"], lines),
        "",
    ]
