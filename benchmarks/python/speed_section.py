"""Speed and memory from records: all of it for benchmarks/README.md, the main rows for the README."""

from collections.abc import Callable, Iterator
from typing import Any

from cells import Record, Records, duration, listed, machine, memory, rate, table, wrapped

Cell = Callable[[Record], str]
Row = tuple[str, str, Cell]
GCL_PAIRS = (16, 64, 512, 4096)

INTRODUCTION = """
SmolLM2-135M-Instruct, dequantised from Q4_1, on Debian notes; each figure is beside the strongest baseline in the
same record that computed the same numbers (int8, which does not, has rows of its own), and a ratio goes from its
smallest to its largest round and links the record. An empty cell has no record made beside no other work.
"""

ALL = """
[benchmarks/README.md](benchmarks/README.md) has all rows, says what the baselines are, and how to make the
records again.
"""

MAIN = (
    "embedding, fp32, notes/s",
    "embedding, fp32, notes/s, against int8 matrices",
    "embedding, bf16, notes/s",
    "joint training step, notes/s",
    "its peak memory above weights and optimizer, MiB",
    f"contrastive loss, {GCL_PAIRS[-1]:,} pairs, forward and backward",
    "greedy hashtags, fp32, notes/s",
)
"""Titles of the README's rows."""


def speed_section(records: Records) -> list[str]:
    """All rows, without the heading."""
    return _section(records, INTRODUCTION, list(rows()))


def main_speed_section(records: Records) -> list[str]:
    """The main rows, without the heading."""
    return _section(records, INTRODUCTION + ALL, [row for row in rows() if row[0] in MAIN])


def _section(records: Records, introduction: str, chosen: list[Row]) -> list[str]:
    sets = records.sets(sorted({name for _, name, _ in chosen}))
    return [*wrapped(introduction), "", *(speed_table(records, sets, chosen) if sets else [])]


def speed_table(records: Records, sets: list[str], chosen: list[Row] | None = None) -> list[str]:
    """A column by instruction set; rows without any record are left out, and all are taken unless some are chosen."""
    heads = [f"{one} ({_machine_of(records, one)})" for one in sets]
    lines = []
    for title, name, cell in chosen or rows():
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
    before, _, ratio = text.partition("**")  # the ratio is the link
    ratio, _, after = ratio.partition("**")
    link = f"{records.link}{name}.{instruction_set}.json"
    return f"{before}[**{ratio}**]({link}){after}" if text else ""


def rows() -> Iterator[Row]:
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
