"""What stands behind the README's table of speeds, from records: for benchmarks/README.md."""

from statistics import median

from cells import Record, Records, compare, listed, machine, number, table, wrapped


def details_section(records: Records) -> list[str]:
    """Its paragraphs and a table; what has no record is left out."""
    lines: list[str] = []
    for paragraph in (
        products(records),
        sharing(records),
        lengths(records),
        pools(records),
        skipped(records),
        searching(records),
        building(records),
    ):
        lines += [*wrapped(paragraph), ""] if paragraph else []
    return lines + precision(records)


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
    found = records.alone("sharing")
    if found is None:
        return ""
    counted = found["table"]
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
        f"tokens ({records.linked_alone('sharing')})."
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


def searching(records: Records) -> str:
    """Mining and exact ranks, beside what one would write with scipy and torch."""
    mining, ranks = (records.alone(name) for name in ("mining", "ranks"))
    parts = []
    if mining:
        ours, theirs = (1000 * mining["seconds"][who] for who in ("mine_2_threads", "scipy_product"))
        parts.append(
            f"Mining {mining['pairs']:,} pairs of {mining['events']:,} events takes {number(ours)} ms on two threads, "
            f"scipy's sparse product {number(theirs)} ({records.linked_alone('mining')})."
        )
    if ranks:
        ours, theirs = (1000 * ranks["seconds"][who] for who in ("target_ranks", "argsort"))
        parts.append(
            f"Exact ranks of {ranks['queries']:,} targets among {ranks['notes']:,} notes take {number(ours)} ms, "
            f"sorting {number(theirs)} ({records.linked_alone('ranks')})."
        )
    parts += [
        _large_ranks(records, one, record) for one, record in records.of_all_sets("ranks_large").items()
    ]
    return " ".join(parts)


def _large_ranks(records: Records, instruction_set: str, record: Record) -> str:
    """A pool of a million notes: all baselines in the same run."""
    seconds = {who: number(taken) for who, taken in record["seconds"].items()}
    fewer, half = (
        record[f"queries_of_{name}"]
        for name in ("faiss_flat_100000_and_argsort", "neighbours_and_faiss_flat_top")
    )
    return (
        f"With {instruction_set}, exact ranks of {record['queries']:,} targets among {record['notes']:,} notes of "
        f"width {record['width']} take {seconds['target_ranks']} s, their fp32 product alone "
        f"{seconds['product_fp32']}, counting block by block with torch {seconds['chunked_torch']}, FAISS's flat "
        f"index with its 100,000 best {seconds['faiss_flat_100000']} and argsort {seconds['argsort']} (both of "
        f"{fewer} queries, scaled); the {record['top']} nearest of {half:,} queries take {seconds['neighbours']} s, "
        f"FAISS's flat index {seconds['faiss_flat_top']} ({records.linked('ranks_large', instruction_set)})."
    )


def building(records: Records) -> str:
    """What a cold build takes: its record has no instruction set either."""
    found = records.alone("build")
    if found is None:
        return ""
    ours, before = (median(one["all_cpu_seconds"] for one in found[who]) for who in ("ours", "before"))
    minutes = median(one["wall_seconds"] for one in found["ours"]) / 60
    memory = max(one["peak_mib_of_a_job"] for one in found["ours"])
    return (
        f"Building the extension from nothing, by pip and without a compiler cache, takes {ours:,.0f} CPU seconds, "
        f"{minutes:.1f} minutes on {machine(found)}: {ours / before:.2f} x of what it took at commit "
        f"{found['commits']['before']}; its largest compile job takes {memory:,} MiB "
        f"({records.linked_alone('build')})."
    )


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
