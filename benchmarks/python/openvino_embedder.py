"""OpenVINO as an embedder: transformers' backbone behind its kept prefix, converted, in fp32, bf16 or int8.

int8 is what nncf calls weight compression: matrices in int8 with a scale a row; where the processor has int8 products
OpenVINO rounds activations too. Both packages may be absent (`pip install -r benchmarks/requirements.txt`).
"""

import os
from collections.abc import Sequence
from importlib.util import find_spec

import torch
from embedders import Embedder, PrefixedBackbone, Sequences
from torch import Tensor

PRECISIONS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""What OpenVINO is told to compute in; its own default is bf16 wherever the processor has it."""


def missing(precision: str) -> str | None:
    """Which package is absent; None if all are here."""
    needed = ["openvino"] + (["nncf"] if precision == "int8" else [])
    return next((name for name in needed if find_spec(name) is None), None)


def openvino(model: PrefixedBackbone, sequences: Sequences, precision: str) -> Embedder:
    """A backbone in fp32, converted; ``precision`` is a key of `PRECISIONS`."""
    import openvino as ov

    example = sequences.padded([0, 1], sequences.prefix)
    with torch.no_grad():
        converted = ov.convert_model(
            model, example_input=example, input=[([-1, -1], ov.Type.i64), ([-1], ov.Type.i64)]
        )
    if precision == "int8":
        from nncf import CompressWeightsMode, compress_weights

        converted = compress_weights(converted, mode=CompressWeightsMode.INT8_ASYM)
    settings = {
        "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
        "PERFORMANCE_HINT": "LATENCY",  # one batch at a time, on all threads
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    if os.environ.get("ONEDNN_MAX_CPU_ISA") == "AVX2":
        # It looks for int8 instructions in the processor itself, and then fails where its oneDNN may not use them. On
        # a processor that has none, this is what it does of itself.
        settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = "0"
    compiled = ov.compile_model(converted, "CPU", settings)

    def last_states(rows: list[int]) -> Tensor:
        ids, lengths = sequences.padded(rows, sequences.prefix)
        return torch.from_numpy(compiled([ids.numpy(), lengths.numpy()])[0].copy())

    def embed(rows: Sequence[int], batch_size: int) -> Tensor:
        return sequences.embed(rows, batch_size, last_states)

    return embed
