"""Texts that are no tables: lists of names, a package catalogue, changes of a configuration, ids beside vectors."""

import contextlib
import io
from pathlib import Path

import torch

from fuzz.target import Target, in_folder, of_file, target
from notellm import _core
from notellm.app.commands.generate import _lines
from notellm.app.config import compose, groups, override
from notellm.app.overrides import parsed_overrides
from notellm.app.studies import load_study
from notellm.data import apt, debian
from notellm.indexes.index import NeighbourIndex
from notellm.vector_files import load_embeddings, save_embeddings


@target
def names(folder):
    return of_file(folder / "names.txt", ["tea\nhot drink\n\nÖl\n".encode()], _lines)


@target
def ids_of_vectors(folder):
    save_embeddings(folder / "v.npy", ["a", "b\r", "ü"], torch.eye(3))
    return in_folder(folder, "v.ids.txt", lambda f: load_embeddings(f / "v.npy"))


PACKAGES = """\
Package: tea
Section: food
Depends: cup (>= 1), milk | oat-milk
Tag: made-of::leaf, use::drinking
Description: hot drink
Description-md5: 1

Package: cup
Section: universe/food
Depends: tea
Description: holds
 tea
 .
  verbatim
Source: cups (2)
"""


@target
def catalogue(folder):
    translations = [{"Description-md5": "1", "Description-en": "hot drink\n long"}]

    def read(content: bytes) -> None:
        text = io.StringIO(content.decode("utf-8", "replace"))
        debian.from_stanzas(apt.stanzas(iter(text)), translations)

    return Target([PACKAGES.encode()], read)


@target
def overrides(folder):
    config = compose()

    def read(content: bytes) -> None:
        text = content.decode("utf-8", "replace")
        parsed_overrides([text], groups())
        override(config, [text])

    return Target(
        [b"loss.alpha=0.1", b"evaluation.ks=[1,2]", b'name="a b"', b"model.tau=2"],
        read,
    )


@target
def study_file(folder):
    """As Hydra reads it, behind our checks of size and depth."""
    path = folder / "experiments" / "conf" / "experiment" / "mine.yaml"  # the folder is the working directory
    path.parent.mkdir(parents=True)
    seed = b"# @package _global_\nstudy:\n  rows:\n    a: {set: [loss.alpha=0.1]}\n    b: {}\ntrain: {max_steps: 3}\n"
    return of_file(path, [seed], lambda _: load_study("mine", scale="smoke", folder=folder))


if _core.has_faiss:

    @target
    def index_factory(folder: Path) -> Target:
        """FAISS ends the process for some descriptions; ours stands in front of it. Bad ones are arguments."""
        sample = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))

        def read(content: bytes) -> None:
            with contextlib.suppress(ValueError):
                NeighbourIndex.build(8, content.decode("utf-8", "replace"), sample)

        return Target([b"Flat", b"IVF4,SQ8", b"OPQ4,IVF2,PQ4x4", b"HNSW8", b"PCA4,Flat"], read)

    @target
    def index_parameters(folder: Path) -> Target:
        index = NeighbourIndex.build(8, "IVF4,Flat", torch.randn(64, 8))

        def read(content: bytes) -> None:
            with contextlib.suppress(ValueError):
                index.set_parameters(content.decode("utf-8", "replace"))

        return Target([b"nprobe=8", b"nprobe=2,max_codes=99"], read)
