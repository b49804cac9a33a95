"""A folder of shards: files of consecutive rows, each complete or absent, and a manifest of what made them.

The manifest is written first, without shards, so that a folder which another model, other options or other notes have
begun is refused. A shard is written under a temporary name; once it has its own, a record beside it says that it is
complete, with its checksum. Who finds that all shards have records copies these into the manifest and removes them. So
processes that share a folder need not talk to each other, and it does not matter which of them is the last.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from notellm.errors import DataError
from notellm.io.home import expanded
from notellm.io.json_files import maybe_json_object, read_json_object, write_json
from notellm.io.json_tree import Node, shortened
from notellm.io.locks import holder_of, locked

__all__ = ["MANIFEST", "Plan", "ShardFile", "Shards", "read_manifest"]

MANIFEST = "manifest.json"

SUFFIXES = {"embeddings": ".arrow", "generations": ".jsonl"}
"""By what a folder holds."""

_VERSION = 1

_FOUND = ("about", "shards")
"""What a manifest gains when all shards are there."""


@dataclass(frozen=True)
class Plan:
    """What a folder of shards will hold, and what decides it.

    Attributes:
        kind: ``"embeddings"`` or ``"generations"``.
        made_by: Everything that decides the contents beside the notes, as JSON: model, options.
        notes: A fingerprint of the notes.
        rows: Their number.
        rows_per_shard: Rows of each shard but the last, which may have fewer.
    """

    kind: str
    made_by: Mapping[str, Any]
    notes: str
    rows: int
    rows_per_shard: int

    def __len__(self) -> int:
        """Number of shards; a pool without rows has an empty one."""
        return max(1, -(-self.rows // self.rows_per_shard))

    def span(self, index: int) -> range:
        """The rows of a shard."""
        first = index * self.rows_per_shard
        return range(first, min(first + self.rows_per_shard, self.rows))

    def name(self, index: int) -> str:
        """The file's name of a shard."""
        return f"{self.kind}-{index:05}-of-{len(self):05}{SUFFIXES[self.kind]}"

    def to_json(self) -> dict[str, Any]:
        """The manifest before there are shards."""
        plain: dict[str, Any] = json.loads(json.dumps({"version": _VERSION} | asdict(self)))
        return plain


@dataclass(frozen=True)
class ShardFile:
    """A complete shard.

    Attributes:
        path: The file.
        first: Its first row.
        rows: How many it has.
        bytes: Size of the file.
        sha256: Checksum of the file, as ``sha256sum`` prints it.
    """

    path: Path
    first: int
    rows: int
    bytes: int
    sha256: str

    def check_size(self) -> None:
        """Checks, without reading it, that the file is there and as long as it was.

        Raises:
            DataError: If it is not.
        """
        found = _size(self.path)
        if found != self.bytes:
            raise DataError(
                f"{self.path}: must have {self.bytes:,} bytes, but "
                f"{'is not there' if found is None else f'has {found:,}'}; try the call that made it once more"
            )

    def check(self) -> None:
        """Reads the file and compares its checksum.

        Raises:
            DataError: If the file is missing, or has changed since it was written.
        """
        self.check_size()
        found = _sha256(self.path)
        if found != self.sha256:
            raise DataError(
                f"{self.path}: must have the checksum {self.sha256}, but has {found}: it is damaged; try to remove "
                "it, and the call that made it once more"
            )


class Shards:
    """The folder of a plan while it is made, by any number of processes.

    Args:
        path: The folder.
        plan: What it will hold.
        is_new: Whether it was begun just now.
    """

    def __init__(self, path: Path, plan: Plan, is_new: bool = False) -> None:
        self.path, self.plan, self._is_new = path, plan, is_new

    @classmethod
    def begin(cls, path: str | Path, plan: Plan) -> Self:
        """Writes the manifest, or finds that a call before has begun the same.

        Args:
            path: The folder; created if it is not there.
            plan: What it will hold.

        Raises:
            DataError: If the folder holds something else, or shards of another model, other options or other notes.
        """
        path = expanded(path)
        if path.exists() and not path.is_dir():
            raise DataError(f"{path}: must be a folder, but is a file; try another name")
        with locked(path / MANIFEST):
            is_new = not (path / MANIFEST).exists()
            if is_new:
                _refuse_strangers(path)
                write_json(path / MANIFEST, plan.to_json())
            else:
                _refuse_another(path, plan)
        return cls(path, plan, is_new)

    def abandon(self) -> None:
        """Removes the folder if it was begun just now and holds nothing yet: what was asked for cannot be made."""
        if self._is_new and [entry.name for entry in self.path.iterdir()] == [MANIFEST]:
            (self.path / MANIFEST).unlink()
            self.path.rmdir()

    def missing(self) -> list[int]:
        """The shards that are not there yet, or no longer."""
        records = self._records()
        return [index for index in range(len(self.plan)) if not self._is_there(index, records.get(index))]

    def make(self, index: int, write: Callable[[Path], Mapping[str, Any]]) -> None:
        """Makes one shard, unless it is there.

        Args:
            index: Which.
            write: Writes the file at a path, complete or not at all, and returns what is the same for all shards
                (dtype, width), which goes into the manifest.

        Raises:
            DataError: If another process makes the same shard; says which.
        """
        record = self._record_of(index)
        with locked(record, wait=False) as is_ours:
            if not is_ours:
                raise DataError(
                    f"{self.path / self.plan.name(index)}: one process at a time must make it, but "
                    f"{holder_of(record) or 'another'} does; wait for its end, or try another folder"
                )
            if self._is_there(index, self._records([index]).get(index)):
                return
            file = self.path / self.plan.name(index)
            about = dict(write(file))
            write_json(record, {"about": about, "shard": _described(file, self.plan.span(index))})

    def finish(self) -> bool:
        """Completes the manifest if all shards are there.

        Returns:
            Whether they are.

        Raises:
            DataError: If the shards differ in what must be the same for all.
        """
        records = self._records()
        if not all(self._is_there(index, records.get(index)) for index in range(len(self.plan))):
            return False
        ordered = [records[index] for index in range(len(self.plan))]
        for index, record in enumerate(ordered):
            if record.get("about") != ordered[0].get("about"):
                raise DataError(
                    f"{self.path / self.plan.name(index)}: must be as the first shard, {ordered[0].get('about')}, but "
                    f"is {record.get('about')}; try to remove it, and the call that made it once more"
                )
        whole = self.plan.to_json() | {
            "about": ordered[0].get("about"),
            "shards": [record["shard"] for record in ordered],
        }
        if read_json_object(self.path / MANIFEST) != whole:
            write_json(self.path / MANIFEST, whole)
        self._tidy()
        return True

    def _records(self, indices: list[int] | None = None) -> dict[int, dict[str, Any]]:
        """What is known of each shard: its own record, or else what the manifest says.

        Records are read first: whoever removes them has completed the manifest before.
        """
        own = {}
        for index in range(len(self.plan)) if indices is None else indices:
            record = maybe_json_object(self._record_of(index), finite=True)
            if record is not None:
                own[index] = record
        whole = read_json_object(self.path / MANIFEST, finite=True)
        listed = Node(whole, str(self.path / MANIFEST)).list("shards")
        copied = {
            index: {"about": whole.get("about"), "shard": shard.value} for index, shard in enumerate(listed)
        }
        return copied | own

    def _is_there(self, index: int, record: dict[str, Any] | None) -> bool:
        if record is None:
            return False
        file = self.path / self.plan.name(index)
        size = Node(record, str(self._record_of(index))).at("shard").count("bytes")
        return _size(file) == size

    def _record_of(self, index: int) -> Path:
        return self.path / f"{self.plan.name(index)}.json"

    def _tidy(self) -> None:
        """Removes the records, and what processes that were killed right after their work have left."""
        for index in range(len(self.plan)):
            self._record_of(index).unlink(missing_ok=True)
        for begun in (
            f".{self.plan.kind}-*.part",
            f"{self.plan.kind}-*.part",
            f"{self.plan.kind}-*.part.json",
        ):
            for file in self.path.glob(begun):
                file.unlink(missing_ok=True)
        for lock in self.path.glob("*.lock"):
            with locked(lock.with_suffix(""), wait=False):
                pass  # who holds it removes it at the end


def read_manifest(path: str | Path, kind: str) -> tuple[Plan, Node, list[ShardFile]]:
    """Reads the manifest of a complete folder.

    Args:
        path: The folder.
        kind: What it must hold.

    Returns:
        The plan, what is the same for all shards, and the shards in the order of their rows.

    Raises:
        DataError: If the manifest is missing, damaged or not complete, or a file is missing or has another size.
    """
    path = expanded(path)
    manifest = path / MANIFEST
    node = Node(read_json_object(manifest), str(manifest))
    if node.count("version") != _VERSION:
        raise DataError(
            f"{manifest}: version must be {_VERSION}, but is {node.count('version')}; try another version of notellm"
        )
    if node.text("kind") != kind:
        raise DataError(f"{manifest}: must be of {kind}, but is of {shortened(node.text('kind'))}")
    plan = _plan_of(node)
    if node.maybe("shards") is None:
        raise DataError(
            f"{manifest}: must list the shards, but they are not all there yet; try the call that began it once more"
        )
    return plan, node.at("about"), _files_of(path, plan, node)


def _plan_of(node: Node) -> Plan:
    made_by = node.at("made_by").value
    plan = Plan(
        node.text("kind"),
        made_by if isinstance(made_by, dict) else {},
        node.text("notes"),
        node.count("rows"),
        node.count("rows_per_shard"),
    )
    if plan.rows < 0 or plan.rows_per_shard < 1:
        raise DataError(
            f"{node.where}: rows and rows_per_shard must be at least 0 and 1, but are {plan.rows} and "
            f"{plan.rows_per_shard}"
        )
    return plan


def _files_of(path: Path, plan: Plan, node: Node) -> list[ShardFile]:
    shards = node.list("shards")
    if len(shards) != len(plan):
        raise DataError(f"{node.where}: must list {len(plan):,} shards, but lists {len(shards):,}")
    found = []
    for index, shard in enumerate(shards):
        span = plan.span(index)
        said = (shard.text("name"), shard.count("first_row"), shard.count("rows"))
        wanted = (plan.name(index), span.start, len(span))
        if said != wanted:
            raise DataError(
                f"{shard.where}: must be {wanted[0]} with {wanted[2]} rows from {wanted[1]}, but is "
                f"{shortened(said[0])} with {said[2]} from {said[1]}"
            )
        file = ShardFile(path / said[0], said[1], said[2], shard.count("bytes"), shard.text("sha256"))
        file.check_size()
        found.append(file)
    return found


def _refuse_another(path: Path, plan: Plan) -> None:
    known = read_json_object(path / MANIFEST)
    difference = _difference({key: known[key] for key in known if key not in _FOUND}, plan.to_json())
    if difference:
        where, there, now = difference
        raise DataError(
            f"{path}: must be of the same model, options and notes as this call, but {where} was {there} and is {now}; "
            "try another folder, or remove this one"
        )


def _difference(there: Any, now: Any, where: str = "") -> tuple[str, str, str] | None:
    """The first key by which two trees differ, and its values."""
    if not (isinstance(there, dict) and isinstance(now, dict)):
        return None if there == now else (where, shortened(there), shortened(now))
    for key in sorted(there.keys() | now.keys()):
        found = _difference(there.get(key), now.get(key), f"{where}.{key}" if where else key)
        if found:
            return found
    return None


def _refuse_strangers(path: Path) -> None:
    """A folder without a manifest must be empty, but for what a killed call has left."""
    for entry in sorted(path.iterdir()):
        is_left = entry.name.startswith(f".{MANIFEST}.") or entry.name == f"{MANIFEST}.lock"
        if not is_left:
            raise DataError(
                f"{path}: must be empty, absent or have a {MANIFEST}, but holds {entry.name}; try another folder"
            )


def _described(file: Path, span: range) -> dict[str, Any]:
    return {
        "name": file.name,
        "rows": len(span),
        "first_row": span.start,
        "last_row": span.stop - 1,
        "bytes": file.stat().st_size,
        "sha256": _sha256(file),
    }


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
