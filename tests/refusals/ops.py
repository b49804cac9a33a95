"""Products, norms, quantisation and the decoder's passes."""

import torch

from notellm import _core
from refusals import case, floats, wrong_indices, wrong_tensors
from refusals.parts import bad_configs, config_of, decoder_weights, layer_of, plan_of

models, ops, losses, retrieval = _core.models, _core.ops, _core.losses, _core.retrieval
prompts, metrics = _core.prompts, _core.metrics

x, w = floats(5, 12), floats(12)


@case
def rms_norm():
    return (
        ops.rms_norm,
        {"x": x, "weight": w, "epsilon": 1e-5},
        {
            "x": [x.half(), x.bfloat16(), x.long(), x[:, :11], x.to("meta"), x.to_sparse(), x.sum(), None],
            "weight": list(wrong_tensors(w, any_float=True)),
        },
    )


@case
def quantise():
    return (
        ops.quantise,
        {"matrix": x},
        {"matrix": [*wrong_tensors(x, any_float=True, any_width=True), x[:0], x * torch.nan]},
    )


values, scales = ops.quantise(x)


@case
def dequantise():
    return (
        ops.dequantise,
        {"values": values, "scales": scales, "dtype": torch.float32},
        {
            "values": [values.float(), values.int(), values[:4], values[0], values.to("meta"), None],
            "scales": list(wrong_tensors(scales)),
            "dtype": [torch.float16, torch.int64, torch.complex64],
        },
    )


@case
def for_products():
    return (
        ops.for_products,
        {"factor": x, "compute": torch.bfloat16},
        {"factor": [x.long(), x.to("meta"), None], "compute": [torch.float16, torch.int8]},
    )


@case
def matmul_transposed():
    return (
        ops.matmul_transposed,
        {"x": x, "weight": floats(7, 12)},
        {
            "x": [one for one in wrong_tensors(x) if not is_taken(one)],
            "weight": list(wrong_tensors(floats(7, 12))),
        },
    )


def is_taken(one):
    """Without native bf16, a bf16 factor goes with one that `for_products` keeps in fp32."""
    return isinstance(one, torch.Tensor) and one.dtype == torch.bfloat16 and not ops.multiplies_bf16()


@case
def wide_product():
    return (
        ops.wide_product,
        {"x": x, "weight": floats(7, 12), "compute": torch.float32},
        {"x": list(wrong_tensors(x)), "weight": list(wrong_tensors(floats(7, 12)))},
    )


@case
def weight_gradient():
    return (
        ops.weight_gradient,
        {"a": x, "b": floats(5, 3), "dtype": torch.float32},
        {
            "a": [x.long(), x[:4], x[0], x.double(), x.to("meta"), None],
            "b": [x.long(), x[:4], x[0], x.double(), x.to("meta"), None],
        },
    )


@case
def head_logits():
    return (
        models.head_logits,
        {"states": x, "head": floats(17, 12), "compute": torch.float32},
        {
            "states": list(wrong_tensors(x, any_float=True)),
            "head": list(wrong_tensors(floats(17, 12), any_float=True)),
            "compute": [torch.float16, torch.int64],
        },
    )


@case
def decoder_layer():
    return (
        models.decoder_layer,
        {"x": x, "weights": models.LayerWeights(**layer_of()), "config": config_of(), "plan": plan_of()},
        {
            "x": [*wrong_tensors(x), x[:4], torch.cat([x, x])],
            "weights": [
                models.LayerWeights(**layer_of(**{name: wrong}))
                for name, right in layer_of().items()
                for wrong in wrong_tensors(right, any_float=True)
                if wrong is not None  # which the class itself refuses
            ]
            + [
                models.LayerWeights(**{k: v for k, v in layer_of().items() if k != gone})
                for gone in layer_of()
            ],
            "config": bad_configs(),
            "plan": [None, plan_of(compute=torch.float64), plan_of(config=config_of(rope={"head_dim": 6}))],
        },
    )


tokens = torch.arange(5)


@case
def decoder_states():
    return (
        models.decoder_states,
        {"tokens": tokens, "weights": decoder_weights(), "config": config_of(), "plan": plan_of()},
        {
            "tokens": list(wrong_indices(tokens, 17)),
            "weights": [
                decoder_weights(embedding=floats(17, 11)),
                decoder_weights(embedding=floats(17, 12).long()),
                decoder_weights(embedding=floats(17, 12).to("meta")),
                decoder_weights(norm=floats(11)),
                decoder_weights(layers=[]),
            ],
            "config": bad_configs(),
        },
    )


@case
def prepare_weights():
    return (
        models.prepare_weights,
        {"weights": decoder_weights(), "compute": torch.float32},
        {
            "weights": [
                decoder_weights(layers=[models.LayerWeights(**layer_of(**{name: wrong}))])
                for name in ("query", "key", "gate", "output", "down")
                for wrong in (floats(3, 11), floats(8), floats(8, 12).long(), floats(8, 12).to("meta"))
            ]
            + [decoder_weights(layers=[models.LayerWeights()])],
            "compute": [torch.float16, torch.int64],
        },
    )
