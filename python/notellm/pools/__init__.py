"""Pools of millions: vectors and generations in folders of shards, made by one process or many, read in place.

`shards` (the folder and its manifest), `embeddings` (`notellm.Embeddings`, and how a shard is written), `lines` (a
file of JSON lines, which goes on where it stopped), `making` (fills a folder), `cluster` (does so on Ray), `search`
(exact ranks and neighbours, shard by shard).
"""
