"""Several processes at one task: the rank of this one, and the few operations that they share.

Under ``torchrun`` the command line joins the processes; a library user may have initialised torch.distributed
already. Otherwise there is one process, and everything here does nothing.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

TIMEOUT = timedelta(minutes=30)
"""How long a process waits for the others in an exchange of tensors before it gives up."""

PATIENCE = timedelta(days=7)
"""How long the others wait for the first process while it works alone: on files, or a validation."""

BUCKET_BYTES = 32 << 20
"""Small tensors are sent together in buckets of this size; a larger one is sent alone."""


@dataclass(frozen=True)
class Processes:
    """The processes that train one model together, or share a pool.

    Attributes:
        rank: Rank of this process, from 0. count: Number of processes.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def current(cls) -> "Processes":
        """The processes of torch's default process group, if it is initialised; otherwise this one alone."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def share(self, items: int) -> tuple[int, int]:
        """This process's contiguous share ``[begin, end)`` of some items; sizes differ by one at most.

        Example:
            >>> [Processes(rank, 3).share(7) for rank in range(3)]
            [(0, 2), (2, 4), (4, 7)]
        """
        return items * self.rank // self.count, items * (self.rank + 1) // self.count

    def sum_(self, *tensors: Tensor) -> None:
        """Replaces each tensor by its sum over the processes (all-reduce); the same bits on all of them."""
        if self.count > 1:
            for bucket in _buckets(tensors):
                with _flat(bucket) as flat:
                    dist.all_reduce(flat)

    def copy_from_(self, owner: int, *tensors: Tensor) -> None:
        """Replaces each tensor by the one of process ``owner`` (broadcast)."""
        if self.count > 1:
            for bucket in _buckets(tensors):
                with _flat(bucket) as flat:
                    dist.broadcast(flat, owner)

    def joined(self, tensor: Tensor) -> list[Tensor]:
        """The processes' tensors (all-gather), which are of one shape and dtype, by rank; on all of them."""
        if self.count == 1:
            return [tensor]
        found = [torch.empty_like(tensor) for _ in range(self.count)]
        dist.all_gather(found, tensor.contiguous())
        return found

    def bring_to_first(self, owner: int, tensor: Tensor) -> None:
        """Replaces the first process's tensor by the one of process ``owner``."""
        if owner != 0 and self.rank == owner:
            dist.send(tensor, 0)
        elif owner != 0 and self.is_first:
            dist.recv(tensor, owner)

    def count_differing(self, text: str, device: torch.device) -> int:
        """How many processes pass a different text than the first one.

        Args:
            text: Of any length.
            device: Where the processes' tensors are.
        """
        digest = bytearray(hashlib.blake2b(text.encode(), digest_size=8).digest())
        own = torch.frombuffer(digest, dtype=torch.int64).to(device)
        first = own.clone()
        self.copy_from_(0, first)
        differing = (first != own).long()
        self.sum_(differing)
        return int(differing)

    def any(self, claim: bool, device: torch.device) -> bool:
        """Whether the claim holds in at least one process.

        Args:
            claim: Whether it holds in this one.
            device: Where the processes' tensors are.
        """
        if self.count == 1:  # without waiting for the GPU
            return claim
        holds = torch.tensor(float(claim), device=device)
        self.sum_(holds)
        return bool(holds > 0)

    def wait(self, *, patiently: bool = False) -> None:
        """Returns once all processes have called it.

        Args:
            patiently: Whether one of them may come much later, since it works alone: processes that `join` has joined
                then wait for `PATIENCE`. torchrun ends them if that one fails.
        """
        if self.count > 1:
            dist.barrier(_patient_group if patiently else None)


@contextmanager
def first_process_first() -> Iterator[None]:
    """The first process runs the body while the others wait; then they run it and find the files that it wrote.

    Works as a decorator, too. If the first process fails, the others fail with it.
    """
    processes = Processes.current()
    if not processes.is_first:
        processes.wait(patiently=True)
    yield
    if processes.is_first:
        processes.wait(patiently=True)


def started() -> Processes:
    """Rank and number of processes as set by ``torchrun``; one process if it did not start this one."""
    return Processes(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


def local_count() -> int:
    """How many processes ``torchrun`` started on this machine, this one included."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def take_device(device: str) -> torch.device | None:
    """Makes the GPU numbered ``LOCAL_RANK`` that of this process, so that processes of a machine have one each.

    Args:
        device: ``"cpu"``, for which nothing is done, or ``"cuda"``.

    Returns:
        The GPU, if it is one.
    """
    if device != "cuda":
        return None
    own = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(own)
    return own


# torch.distributed.Store and ProcessGroup; the names exist only if torch was built with them
_store: Any = None
_patient_group: Any = None


def join(device: str) -> None:
    """Joins the processes that ``torchrun`` started; does nothing for one process.

    Args:
        device: ``"cpu"`` (communicates through gloo) or ``"cuda"`` (nccl; takes the GPU numbered ``LOCAL_RANK``).
    """
    global _store, _patient_group
    if started().count == 1 or dist.is_initialized():
        return
    from torch.distributed.rendezvous import rendezvous

    own = take_device(device)
    _store, rank, count = next(rendezvous("env://", timeout=TIMEOUT))
    dist.init_process_group(
        "nccl" if own else "gloo", store=_store, rank=rank, world_size=count, timeout=TIMEOUT, device_id=own
    )
    _patient_group = dist.new_group(backend="gloo", timeout=PATIENCE)


_is_apart = False


def work_apart(is_apart: bool = True) -> None:
    """From here on the processes have different work, which they do not join for: each reports its own errors."""
    global _is_apart
    _is_apart = is_apart and started().count > 1


def leave() -> bool:
    """Leaves the group of processes of `join`, once all have called this.

    Returns:
        Whether this is the process that continues alone.
    """
    global _store, _patient_group
    if _store is None:
        return True
    processes = Processes.current()
    processes.wait()
    dist.destroy_process_group()
    _store = _patient_group = None
    return processes.is_first


def fails_first() -> bool:
    """Whether this process is to report an error: the first that has one, as the others' only follow from its own."""
    if _store is None:
        return _is_apart or started().is_first
    try:
        return bool(_store.add("notellm/failed", 1) == 1)
    except RuntimeError:  # the store is gone, with a process that has reported
        return False


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Consecutive tensors of one dtype, up to `BUCKET_BYTES` together."""
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and (tensor.dtype != bucket[0].dtype or size + tensor.nbytes > BUCKET_BYTES):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.nbytes
    if bucket:
        yield bucket


@contextmanager
def _flat(bucket: Sequence[Tensor]) -> Iterator[Tensor]:
    """The tensors concatenated into one, which is copied back at the end; a single tensor is not copied."""
    if len(bucket) == 1 and bucket[0].is_contiguous():
        yield bucket[0].detach()
        return
    flat = torch.cat([tensor.detach().reshape(-1) for tensor in bucket])
    yield flat
    parts = torch.split(flat, [tensor.numel() for tensor in bucket])
    for tensor, part in zip(bucket, parts, strict=True):
        tensor.detach().copy_(part.view_as(tensor))
