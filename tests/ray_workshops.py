"""Work for Ray's actors: a model that embeds, one of whose actors is killed midway."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from notellm.models.notellm import NoteLLM
from notellm.pools import making


@dataclass(frozen=True)
class KilledOnce:
    """Embeds; the first actor that is given a certain shard is killed after it has written half of it.

    Attributes:
        model: The model's folder.
        mark: A file that says that it has happened.
        shard: Which shard.
        block: Notes that go through the model together.
    """

    model: Path
    mark: Path
    shard: int
    block: int

    def __call__(self):
        making.BLOCKS["embeddings"] = self.block
        make = making.embedder(NoteLLM.from_pretrained(self.model), dtype="fp32")

        def make_or_die(shards, index, notes, progress):
            if index == self.shard and not self.mark.exists():
                self.mark.touch()
                path = shards.path / shards.plan.name(index)
                path.write_bytes(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
            make(shards, index, notes, progress)

        return make_or_die
