"""Files of vectors and folders of shards."""

import torch

from fuzz.target import in_folder, of_file, target
from notellm.pools.columns import write_shard
from notellm.pools.embeddings import Embeddings, EmbeddingShard
from notellm.pools.shards import Plan, ShardFile, Shards
from notellm.vector_files import load_embeddings, save_embeddings


@target
def vectors_npy(folder):
    save_embeddings(folder / "v.npy", ["a", "b"], torch.eye(2))
    return in_folder(folder, "v.npy", lambda f: load_embeddings(f / "v.npy"))


@target
def vectors_safetensors(folder):
    save_embeddings(folder / "v.safetensors", ["a", "b"], torch.eye(2))
    return in_folder(folder, "v.safetensors", lambda f: load_embeddings(f / "v.safetensors"))


@target
def vectors_int8(folder):
    save_embeddings(folder / "v.safetensors", ["a", "b"], torch.eye(2), storage="int8")
    return in_folder(folder, "v.safetensors", lambda f: load_embeddings(f / "v.safetensors"))


@target
def manifest_of_shards(folder):
    _shards(folder)
    return in_folder(folder, "manifest.json", lambda f: Embeddings.open(f).find(["a"]))


@target
def shard_of_embeddings(folder):
    return _shard(folder, "fp32", torch.float32)


@target
def shard_of_int8(folder):
    return _shard(folder, "int8", torch.int8)


def _shard(folder, storage, dtype):
    """Without the checksum, which would refuse every change."""

    def read(path):
        file = ShardFile(path, 0, 2, path.stat().st_size, "")
        shard = EmbeddingShard(file, 3, dtype, verify=False)
        return shard.vectors.sum(), shard.ids.to_pylist()

    _shards(folder, storage)
    path = folder / "embeddings-00000-of-00001.arrow"
    return of_file(path, [path.read_bytes()], read)


def _shards(folder, storage="fp32"):
    shards = Shards.begin(folder, Plan("embeddings", {"model": "m"}, "", 2, 2))
    shards.make(0, lambda path: write_shard(path, ["a", "b"], torch.eye(3)[:2], storage=storage))
    assert shards.finish()
