"""Pools on a cluster: Ray's actors make the shards that the driver hands out.

An actor loads the model once and then makes one shard after the other, straight into the folder, which all machines
must see. A shard is complete or absent, and depends on nothing but the model, the options and its notes: so where an
actor is lost, its shard is handed out again, and the folder is the one that a single process makes.
"""

import heapq
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from notellm.data.notes import Notes
from notellm.errors import DataError
from notellm.optional import importing
from notellm.pools.making import MakeShard, Workshop
from notellm.pools.shards import Plan, Shards
from notellm.progress import ProgressFn

__all__ = ["Actors", "make_on_ray"]

LOSSES = 3
"""How often a shard may lose its actor before it is the shard that is to blame."""


@dataclass(frozen=True)
class Actors:
    """What actors there are.

    Attributes:
        count: How many; 0: as many as the cluster has room for.
        cpus: CPUs of each; a fraction lets several share one.
        gpus: GPUs of each, likewise.
    """

    count: int = 0
    cpus: float = 1.0
    gpus: float = 0.0


def make_on_ray(
    shards: Shards,
    notes: Notes,
    workshop: Workshop,
    *,
    actors: Actors | None = None,
    threads: int = 0,
    progress: ProgressFn | None = None,
) -> int:
    """Makes the shards that are not there yet on Ray: on the cluster that ``RAY_ADDRESS`` names, or on this machine.

    Shards with much text are handed out first, and a free actor gets the next one, so that none works long after the
    others; within a shard, passes through the model are cut by tokens.

    Args:
        shards: From `notellm.pools.making.begin`; the folder must be seen by all machines under the same name.
        notes: The pool; each actor is sent those of its shards.
        workshop: Called once in each actor.
        actors: How many, and what each has.
        threads: Of each actor; 0: as many as it has CPUs, and at least one. With other numbers of threads the last
            bits of vectors may differ.
        progress: Called with (notes done, notes); a shard's notes are done when it is complete.

    Returns:
        How many shards were made.

    Raises:
        NotSupportedError: If Ray is not installed.
        ConnectionError: If Ray cannot be reached, or does not start.
        ValueError: If the cluster has no room for a single actor.
        DataError: If a shard has lost its actor `LOSSES` times; or as the work itself.
    """
    ray, actors = _ray(), actors or Actors()
    missing = shards.missing()
    if missing:
        with _joined(ray):
            driver = _Driver(ray, shards, notes, workshop, actors, threads or max(1, int(actors.cpus)))
            driver.run(missing, progress)
    shards.finish()
    return len(missing)


class _Actor:
    """Runs elsewhere; the model is loaded by the first shard, so that an error of loading is one of a call."""

    def __init__(self, workshop: Workshop, threads: int) -> None:
        self.workshop, self.threads = workshop, threads
        self.make: MakeShard | None = None

    def ready(self) -> None:
        """Returns once the actor has its place."""

    def make_shard(self, path: Path, plan: Plan, index: int, notes: Notes) -> None:
        """Makes one shard."""
        if self.make is None:
            from notellm._core.util import set_num_threads

            set_num_threads(self.threads)
            self.make = self.workshop()
        self.make(Shards(path, plan), index, notes, None)


class _Driver:
    """Hands out shards.

    Attributes:
        starting: Actors that have no place yet, by what is waited for.
        working: Actors and their shards, by what is waited for.
    """

    def __init__(
        self, ray: Any, shards: Shards, notes: Notes, workshop: Workshop, actors: Actors, threads: int
    ) -> None:
        self.ray, self.shards, self.notes, self.actors = ray, shards, notes, actors
        self.actor = ray.remote(_Actor).options(num_cpus=actors.cpus, num_gpus=actors.gpus)
        self.given = (workshop, threads)
        self.starting: dict[Any, Any] = {}
        self.working: dict[Any, tuple[Any, int]] = {}
        self.idle: list[Any] = []
        self.losses: dict[int, int] = {}

    def run(self, missing: list[int], progress: ProgressFn | None) -> None:
        """Makes these shards."""
        rows = {index: len(self.shards.plan.span(index)) for index in missing}
        done, total = len(self.notes) - sum(rows.values()), len(self.notes)
        waiting = [(-self._letters(index), index) for index in missing]
        heapq.heapify(waiting)
        try:
            room = self._room()  # asked in any case: actors that fit nowhere would be waited for without end
            for _ in range(min(len(missing), self.actors.count or room)):
                self._start()
            while waiting or self.working:
                while waiting and self.idle:
                    self._hand_out(heapq.heappop(waiting)[1])
                for index, is_made in self._next():
                    if is_made:
                        done += rows[index]
                    else:
                        heapq.heappush(waiting, (-self._letters(index), index))
                if progress is not None:
                    progress(done, total)
        finally:
            for actor in [
                *self.starting.values(),
                *self.idle,
                *(actor for actor, _ in self.working.values()),
            ]:
                self.ray.kill(actor)

    def _start(self) -> None:
        actor = self.actor.remote(*self.given)
        self.starting[actor.ready.remote()] = actor

    def _hand_out(self, index: int) -> None:
        actor, plan = self.idle.pop(), self.shards.plan
        some = self.notes.take(plan.span(index))
        self.working[actor.make_shard.remote(self.shards.path.resolve(), plan, index, some)] = actor, index

    def _next(self) -> Iterator[tuple[int, bool]]:
        """Waits for an actor, and says which shard it has made, or has been lost with, if any."""
        [ended], _ = self.ray.wait([*self.starting, *self.working])
        actor, index = self.working.pop(ended, (None, None))
        actor = actor or self.starting.pop(ended)
        try:
            self.ray.get(ended)
        except self.ray.exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, Exception) else error) from None
        except self.ray.exceptions.RayActorError as error:
            self.ray.kill(actor)  # if it can only not be reached, it must not go on beside its successor
            self._count_loss(index, error)
            self._start()
            if index is not None:
                yield index, False
            return
        self.idle.append(actor)
        if index is not None:
            yield index, True

    def _count_loss(self, index: int | None, error: Exception) -> None:
        shard = -1 if index is None else index
        self.losses[shard] = self.losses.get(shard, 0) + 1
        if self.losses[shard] >= LOSSES:
            what = "an actor" if index is None else self.shards.path / self.shards.plan.name(index)
            raise DataError(
                f"{what}: must be made by an actor that stays, but {LOSSES} were lost with it: {_told(error)}; "
                "try more memory for each"
            )

    def _room(self) -> int:
        """How many actors the cluster has room for."""
        there = self.ray.cluster_resources()
        asked = {"CPU": self.actors.cpus, "GPU": self.actors.gpus}
        room = [int(there.get(kind, 0) / each + 1e-9) for kind, each in asked.items() if each > 0]
        if min(room, default=1) < 1:
            has = ", ".join(f"{there.get(kind, 0):g} of {kind}" for kind in asked)
            raise ValueError(
                f"ray: the cluster must have {self.actors.cpus:g} of CPU and {self.actors.gpus:g} of GPU for an actor, "
                f"but has {has}; try fewer for each"
            )
        return min(room, default=len(self.shards.plan))

    def _letters(self, index: int) -> int:
        """How much text a shard has."""
        span = self.shards.plan.span(index)
        titles, contents = (
            column[span.start : span.stop] for column in (self.notes.titles, self.notes.contents)
        )
        return sum(map(len, titles)) + sum(map(len, contents))


def _told(error: Exception) -> str:
    """What Ray says of an error in one line: the first of its text, and the last, which has the cause in it."""
    plain = re.sub(r"\x1b\[\d+m", "", str(error))
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    return " ... ".join(dict.fromkeys([*lines[:1], *lines[-1:]]))[:400]


def _ray() -> Any:
    with importing("the engine ray", "ray", install="'notellm[ray]'"):
        import ray
        import ray.exceptions
    return ray


@contextmanager
def _joined(ray: Any) -> Iterator[None]:
    """Ray as the caller has initialised it, or for the time of the call."""
    if ray.is_initialized():
        yield
        return
    try:
        ray.init(log_to_driver=False, logging_level="warning")
    except Exception as error:  # Ray raises a bare one where its own processes are too slow
        raise ConnectionError(
            f"ray: must be there, or start on this machine, but: {_told(error)}; try `ray start --head` and "
            "RAY_ADDRESS=auto"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()
