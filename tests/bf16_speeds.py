"""Times every product that a model makes, in fp32 and in bf16, in turns: `python tests/bf16_speeds.py FOLDER`.

A process of its own, since libraries learn only when they are loaded which instructions they may use. FOLDER holds a
backbone of SmolLM2's shapes. One thread, whose processor time is counted: other work on the machine changes little.
Prints one JSON line: the seconds of each, by what it is.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

import notellm
from notellm import NoteLLM, _core, csft_head_loss, gcl_loss
from notellm.models.adapter import LoraOptions
from samples import make_notes

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
WIDTH, INNER, PACKED, VOCABULARY, RANK = 576, 1536, 960, 49_152, 16  # SmolLM2-135M's; of an adapter
MATRICES = {
    "query, key and value": (PACKED, WIDTH),
    "attention's output": (WIDTH, WIDTH),
    "gate and up": (2 * INNER, WIDTH),
    "down": (WIDTH, INNER),
    "LoRA down": (RANK, WIDTH),
    "LoRA up": (PACKED, RANK),
}
"""(out, in) of a layer's products."""
TRAINED, LABELS, DECODED = 256, 128, (1, 8, 64)
"""Rows of a pass that trains, its labels, and rows of a pass that decodes."""

GOAL, MOST_ROUNDS, SHORT = 0.8, 6, 0.02
"""Both are timed again until bf16 has this share of fp32's speed, so many times at most: what a busy machine adds to
one of them must not decide. Calls are repeated for some hundredths of a second, or the clock would."""

Call = Callable[[], object]
Product = Callable[[torch.dtype], Call]


def products() -> Iterator[tuple[str, Product]]:
    """x W^T of every matrix and number of rows; for training also what goes back to x, and to W."""
    head = {"LM head": (VOCABULARY, WIDTH)}
    for name, (outs, ins) in (MATRICES | head).items():
        weight = torch.randn(outs, ins) / ins**0.5
        for rows in (*DECODED, *(() if name in head else (TRAINED,))):
            x = torch.randn(rows, ins)
            yield f"{name}, {rows} rows", multiplying(x, weight)
        if name not in head:
            gradient, x = torch.randn(TRAINED, outs), torch.randn(TRAINED, ins)
            yield f"{name}, backward to its input", multiplying(gradient, weight.t())
            yield f"{name}, backward to itself", going_back(gradient, x)


def multiplying(x: Tensor, weight: Tensor) -> Product:
    """One product of the core's."""

    def of(dtype: torch.dtype) -> Call:
        left, right = x.to(dtype), _core.ops.for_products(weight, dtype)
        return lambda: _core.ops.matmul_transposed(left, right)

    return of


def going_back(gradient: Tensor, x: Tensor) -> Product:
    """The gradient of a weight, which is fp32 whatever multiplies."""

    def of(dtype: torch.dtype) -> Call:
        left, right = gradient.to(dtype), x.to(dtype)
        return lambda: _core.ops.weight_gradient(left, right, torch.float32)

    return of


def there_and_back(values: Callable[[torch.dtype], Tensor], *inputs: Tensor) -> Product:
    """A function and its gradients in `inputs`."""
    return lambda dtype: lambda: torch.autograd.grad(values(dtype).sum(), inputs)


def training_parts(model: NoteLLM) -> Iterator[tuple[str, Product]]:
    """A layer, whole or with adapters, and the losses, each with its backward pass."""
    layer = model.model.layers[0]
    segments = _core.models.Segments([0, 56, 156, 256], [-1, 0, 0])
    x = torch.randn(TRAINED, WIDTH, requires_grad=True)

    def layer_of(dtype: torch.dtype) -> Tensor:
        return layer(x, model.model.plan(segments, dtype))

    def dropping(dtype: torch.dtype) -> Tensor:
        plan = model.model.plan(segments, dtype)
        return layer(x, _core.models.with_dropout(plan, segments, range(TRAINED), 0))

    yield "a layer", there_and_back(layer_of, x, *layer.parameters())
    model.add_lora(LoraOptions(r=RANK, dropout=0.1))  # from here on only they learn
    learning = [x, *(p for p in layer.parameters() if p.requires_grad)]
    yield "a layer with adapters", there_and_back(layer_of, *learning)
    yield "a layer with adapters apart, for dropout", there_and_back(dropping, *learning)
    states = torch.randn(LABELS, WIDTH, requires_grad=True)
    head = (torch.randn(VOCABULARY, WIDTH) / WIDTH**0.5).requires_grad_()
    labels, offsets = torch.randint(0, VOCABULARY, (LABELS,)), torch.arange(0, LABELS + 1, 8)
    yield (
        "the generative loss",
        there_and_back(
            lambda dtype: csft_head_loss(states, head, labels, offsets, dtype=dtype), states, head
        ),
    )
    yield (
        "all logits",
        there_and_back(lambda dtype: _core.models.head_logits(states, head, dtype), states, head),
    )
    vectors, tau = torch.randn(128, WIDTH, requires_grad=True), torch.tensor(3.0)
    yield "the contrastive loss", there_and_back(lambda dtype: gcl_loss(vectors.to(dtype), tau), vectors)


def whole_passes(model: NoteLLM) -> Iterator[tuple[str, Product]]:
    """Embedding and generation, which prepare the weights once."""
    notes = make_notes(8)
    names = {dtype: name for name, dtype in DTYPES.items()}
    yield "embedding", lambda dtype: lambda: model.embed(notes, dtype=names[dtype])
    yield (
        "generation",
        lambda dtype: lambda: model.generate_category(notes, dtype=names[dtype], max_new_tokens=8),
    )


def fastest(product: Product) -> dict[str, float]:
    """The least seconds of a product in each dtype, in turns."""
    calls = {name: product(dtype) for name, dtype in DTYPES.items()}
    for call in calls.values():
        call()  # compiles, and fills caches
    repeats = {name: 1 + int(SHORT / max(seconds_of(call, 1), 1e-6)) for name, call in calls.items()}
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(MOST_ROUNDS):
        for name, call in calls.items():
            least[name] = min(least[name], seconds_of(call, repeats[name]))
        if least["fp32"] >= GOAL * least["bf16"]:
            break
    return least


def seconds_of(call: Call, repeats: int) -> float:
    """Processor time of a call, the mean of some."""
    begin = time.process_time()
    for _ in range(repeats):
        call()
    return (time.process_time() - begin) / repeats


def main() -> None:
    """Times all of them."""
    torch.manual_seed(0)
    notellm.set_num_threads(1)
    model = NoteLLM.from_pretrained(sys.argv[1])
    times = {}
    for family in (products(), whole_passes(model), training_parts(model)):
        for name, product in family:
            times[name] = fastest(product)
    print(json.dumps({"loops": notellm.instruction_set(), "seconds": times}))


if __name__ == "__main__":
    main()
