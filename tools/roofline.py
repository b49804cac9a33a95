"""What a GPU could reach at best: the work and the memory traffic of each step, as the table in docs/gpu.md.

A step takes at least its floating-point operations divided by the processor's peak, and at least its bytes divided by
the memory's; the larger of the two is its time on the "roofline" (Williams, Waterman and Patterson, CACM 2009). The
share of peak is the work that counts, of matrix products and attention, over that time. Nothing here is measured.

    python tools/roofline.py            prints the tables
    python tools/roofline.py --write    writes them into docs/gpu.md
"""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).parents[1] / "docs" / "gpu.md"
BEGIN, END = "<!-- made by tools/roofline.py -->\n", "<!-- end -->"


@dataclass(frozen=True)
class Gpu:
    """Peaks of the data sheet: dense bf16 operations and bytes, both a second."""

    name: str
    operations: float
    bytes: float


GPUS = (Gpu("H100 SXM", 989e12, 3.35e12), Gpu("H200", 989e12, 4.8e12))


@dataclass(frozen=True)
class Shape:
    """A decoder of the Llama family."""

    name: str
    layers: int
    width: int
    heads: int
    key_heads: int
    head_dim: int
    hidden: int
    vocabulary: int
    is_tied: bool

    @property
    def matrices(self) -> dict[str, tuple[int, int]]:
        """(in, out) of each product of a layer."""
        packed = (self.heads + 2 * self.key_heads) * self.head_dim
        return {
            "query, key, value": (self.width, packed),
            "output": (self.heads * self.head_dim, self.width),
            "gate, up": (self.width, 2 * self.hidden),
            "down": (self.hidden, self.width),
        }


SHAPES = (
    Shape("SmolLM2-135M", 30, 576, 9, 3, 64, 1536, 49_152, True),
    Shape("Llama-3.2-1B", 16, 2048, 32, 8, 64, 8192, 128_256, True),
    Shape("Llama-2-7B", 32, 4096, 32, 32, 128, 11_008, 32_000, False),
)

TOKENS = 16_384
"""Packed tokens of a pass."""

CONTEXT = 160
"""Tokens that a token's attention sees on average: a shared instruction and half a note."""

EXPANDED = 1.5
"""Rows of keys and values that are gathered for each token, since notes share prefixes."""

LABELS = 0.15
"""Labels of the generative loss for each packed token of a training step."""


@dataclass(frozen=True)
class Step:
    """One step of a pass: operations that count, and bytes read and written."""

    operations: float
    bytes: float

    def seconds(self, gpu: Gpu) -> float:
        """The least time of the step."""
        return max(self.operations / gpu.operations, self.bytes / gpu.bytes)


def product(rows: float, into: int, out: int) -> Step:
    """bf16 factors and result."""
    return Step(2 * rows * into * out, 2 * (rows * into + into * out + rows * out))


def rows(count: float, bytes_of_each: float) -> Step:
    """A pass over memory."""
    return Step(0, count * bytes_of_each)


def layer(shape: Shape, tokens: float) -> list[Step]:
    """The forward pass of a layer: bf16 products, the residual stream in fp32."""
    queries, keys = shape.heads * shape.head_dim, shape.key_heads * shape.head_dim
    attention = Step(
        4 * tokens * CONTEXT * queries,
        2 * tokens * (2 * queries + 2 * keys * EXPANDED),
    )
    return [
        rows(tokens * shape.width, 4 + 2),  # norm: fp32 in, bf16 out
        rows(tokens * (queries + keys), 2 + 2),  # rotary positions
        rows(tokens * 2 * keys * EXPANDED, 2 + 2),  # keys and values of each context
        attention,
        rows(tokens * shape.width, 4 + 2 + 4),  # residual sum
        rows(tokens * shape.width, 4 + 2),
        rows(tokens * shape.hidden, 4 + 2),  # SwiGLU
        rows(tokens * shape.width, 4 + 2 + 4),
        *(product(tokens, *sizes) for sizes in shape.matrices.values()),
    ]


def embedding(shape: Shape) -> list[Step]:
    """A pass that embeds notes."""
    return layer(shape, TOKENS) * shape.layers


def training(shape: Shape) -> list[Step]:
    """A joint training step: forward, twice as much backward, the LM head on the labels, and AdamW."""
    forward = embedding(shape)
    backward = [Step(2 * step.operations, 2 * step.bytes) for step in forward]
    labels = LABELS * TOKENS
    head = product(labels, shape.width, shape.vocabulary)
    # logits of a tile are read twice, and the backward pass computes them again, then both gradients
    losses = [head, rows(labels * shape.vocabulary, 4), head, rows(labels * shape.vocabulary, 4), head, head]
    weights = shape.layers * sum(a * b for a, b in shape.matrices.values())
    weights += (1 if shape.is_tied else 2) * shape.vocabulary * shape.width
    optimizer = rows(weights, 4 * (4 + 3) + 2)  # reads weight, gradient, two moments; writes three, and bf16
    return [*forward, *backward, *losses, optimizer]


def ranks() -> list[Step]:
    """2,000 queries in a pool of a million notes, 128 numbers each: the fp32 product, and the tile read once."""
    scores = 2e9
    return [Step(2 * scores * 128 * FP32_COST, 4 * scores), rows(scores, 4)]


FP32_COST = 989 / 67
"""An fp32 operation outside the tensor cores costs so many of theirs (67e12 a second in both data sheets)."""


def share(steps: list[Step], gpu: Gpu) -> float:
    """Of the peak: the operations that count over the least time."""
    return sum(step.operations for step in steps) / gpu.operations / sum(step.seconds(gpu) for step in steps)


def tables() -> str:
    """Both tables, as Markdown."""
    lines = [
        f"One pass of {TOKENS:,} packed tokens, {CONTEXT} of which a token sees on average:",
        "",
        "| model | step | operations (10¹²) | bytes (10⁹) | "
        + " | ".join(f"{gpu.name}: ms, share of peak" for gpu in GPUS)
        + " |",
        "|---|---|---|---|" + "---|" * len(GPUS),
    ]
    for shape in SHAPES:
        for name, steps in (("embedding", embedding(shape)), ("training", training(shape))):
            lines.append(_row(shape.name, name, steps))
    lines.append(_row("any", "ranks, 2,000 x 1 M x 128 in fp32", ranks()))
    return "\n".join(lines) + "\n"


def _row(model: str, name: str, steps: list[Step]) -> str:
    # of ranks only fp32 operations are counted, not what they cost in those of bf16
    cost = FP32_COST if name.startswith("ranks") else 1
    cells = [
        model,
        name,
        f"{sum(step.operations for step in steps) / cost / 1e12:.1f}",
        f"{sum(step.bytes for step in steps) / 1e9:.1f}",
        *(
            f"{1000 * sum(step.seconds(gpu) for step in steps):.1f}, {100 * share(steps, gpu):.0f} %"
            for gpu in GPUS
        ),
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Prints the tables or writes them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write them into docs/gpu.md")
    if not parser.parse_args().write:
        print(tables())
        return
    text = DOCUMENT.read_text(encoding="utf-8")
    between = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    DOCUMENT.write_text(between.sub(BEGIN + "\n" + tables() + "\n" + END, text), encoding="utf-8")


if __name__ == "__main__":
    main()
