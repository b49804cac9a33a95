"""A joint training step against transformers with plain-torch losses: same weights, same notes, same batch.

The baseline is the step as people write it: padded sequences, autocast, logits of all positions, NT-Xent and
cross-entropy in plain torch, fused AdamW; with ``--lora`` through peft. Losses are first checked to be equal. Then the
two alternate, with the modelled ceiling of the same step; each also runs alone in a process of its own, for the peak of
what it has resident above weights and optimizer state.

    python benchmarks/python/bench_training.py --output benchmarks/results/training.json
"""

import argparse
import ctypes
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import torch
from ceiling import Product, backbone_products, bare_products
from harness import median_seconds, report
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize, pad
from transformers import AutoModelForCausalLM
from workloads import related_notes

from notellm import LoraOptions, NoteLLM, Trainer, TrainOptions

ALPHA, DIM, RANK = 0.1, 128, 16


def our_trainer(options: argparse.Namespace) -> Trainer:
    """Our trainer on the benchmark's pairs."""
    model = NoteLLM.from_pretrained("smollm2-135m", dim=DIM)
    if options.lora:
        model.add_lora(LoraOptions(r=RANK, alpha=2 * RANK))
    notes, source, target = related_notes(options.table)
    settings = TrainOptions(
        pairs_per_step=options.pairs, max_steps=1000, alpha=ALPHA, dtype="bf16", mask_same_note=False
    )
    return Trainer(model.to(options.device), notes, source, target, settings)


class Baseline:
    """transformers and plain torch."""

    def __init__(self, trainer: Trainer, folder: Path, options: argparse.Namespace) -> None:
        self.trainer, self.device = trainer, options.device
        trainer.model.save_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
        trained = [self.model]
        if options.lora:
            self.model = self._with_adapters(trainer.model)
        self.projection = nn.Linear(trainer.model.projection.in_features, DIM, bias=False)
        self.projection.load_state_dict(trainer.model.projection.state_dict())
        self.tau = nn.Parameter(trainer.model.tau.detach().clone())
        trained = nn.ModuleList([self.model, self.projection]).to(self.device)
        parameters = [p for p in (*trained.parameters(), self.tau) if p.requires_grad]
        self.optimizer = torch.optim.AdamW(parameters, lr=3e-6, weight_decay=0.001, fused=True)

    def _with_adapters(self, ours: NoteLLM) -> nn.Module:
        from peft import LoraConfig, get_peft_model

        return get_peft_model(
            self.model,
            LoraConfig(
                r=RANK,
                lora_alpha=2 * RANK,
                target_modules="all-linear",
                trainable_token_indices=[ours.emb_token_id],
            ),
        )

    def inputs(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The step's padded ids, mask, labels (-100 where there is none) and compressed positions."""
        prompt, tokenized = self.trainer.model.prompt, self.trainer.tokenized
        ids, labels, positions = [], [], []
        for row in self.trainer.sampler.plan(step).prompts:
            batch = prompt.pack_rows(tokenized, [row], mode="train")
            sequence = torch.tensor(batch.tokens)
            target = torch.full_like(sequence, -100)
            target[batch.label_positions] = torch.tensor(batch.labels)
            ids.append(sequence), labels.append(target)
            positions.append(int(batch.compression[0]))
        length = max(map(len, ids))
        mask = torch.stack([(torch.arange(length) < len(one)).long() for one in ids])
        padded = torch.stack([pad(one, (0, length - len(one))) for one in ids])
        targets = torch.stack([pad(one, (0, length - len(one)), value=-100) for one in labels])
        return tuple(x.to(self.device) for x in (padded, mask, targets, torch.tensor(positions)))

    def loss(self, step: int) -> Tensor:
        """Equation 4."""
        ids, mask, labels, positions = self.inputs(step)
        with torch.autocast(self.device, torch.bfloat16):
            out = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False)
            embeddings = self.projection(out.hidden_states[-1][torch.arange(len(ids)), positions])
        unit = normalize(embeddings.float(), dim=1)
        rows = torch.arange(len(unit), device=unit.device)
        cosines = (unit @ unit.T * self.tau.exp()).masked_fill(
            torch.eye(len(unit), device=unit.device).bool(), -torch.inf
        )
        contrastive = cross_entropy(cosines, rows ^ 1)
        tokens = cross_entropy(out.logits.float().flatten(0, 1), labels.flatten(), reduction="none")
        counts = (labels != -100).sum(1)
        by_note = tokens.view_as(labels).sum(1)[counts > 0] / counts[counts > 0]
        return (contrastive + ALPHA * by_note.mean()) / (1 + ALPHA)

    def train_step(self, step: int) -> float:
        """One optimizer step."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(step)
        loss.backward()
        nn.utils.clip_grad_norm_([p for group in self.optimizer.param_groups for p in group["params"]], 1.0)
        self.optimizer.step()
        return loss.item()


def peak_memory(options: argparse.Namespace, who: str) -> dict[str, float]:
    """MiB resident at most during a step above what stays, measured in a process of its own."""
    command = [sys.executable, __file__, "--alone", who, "--pairs", str(options.pairs)]
    command += ["--lora"] * options.lora
    command += ["--table", str(options.table)] if options.table else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(
            f"peak_memory: {who} must end with status 0, but ended with:\n{done.stderr[-2000:]}"
        )
    return json.loads(done.stdout.splitlines()[-1])


def run_alone(options: argparse.Namespace) -> None:
    """In that process: a first step, then the peak of another above weights and optimizer state."""
    trainer = our_trainer(options)
    if options.alone == "notellm":
        parameters = list(trainer.model.parameters())
        step = trainer._train_step
    else:
        with tempfile.TemporaryDirectory() as folder:
            baseline = Baseline(trainer, Path(folder) / "model", options)
        parameters = [*baseline.model.parameters(), *baseline.projection.parameters()]
        numbers = iter(range(10))

        def step() -> float:
            return baseline.train_step(next(numbers))

    step()  # the optimizer's state is there from now on
    for parameter in parameters:
        parameter.grad = None  # gradients come and go within a step: they count
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = _memory_mib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far was that of loading
    step()
    peak = _memory_mib("VmHWM")
    print(json.dumps({"above_mib": round(peak - before), "peak_mib": round(peak)}))


def _memory_mib(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def ceiling(trainer: Trainer, options: argparse.Namespace) -> Callable[[], None]:
    """The bare products of a step of the mean size of those that are timed, forward and backward.

    Frozen matrices need no gradient of their own; the adapters' products are left out.
    """
    plans = [trainer.sampler.plan(step) for step in range(1, 1 + options.rounds * options.steps)]
    model = trainer.model
    packed = [model.prompt.pack_rows(trainer.tokenized, plan.prompts, mode="train") for plan in plans]
    tokens, labels = (
        round(fmean(map(len, of))) for of in zip(*((b.tokens, b.labels) for b in packed), strict=True)
    )
    products = backbone_products(model.model.config, tokens, labels + 2 * options.pairs)
    products.append(Product(labels, *model.head_weight.shape[::-1]))
    return bare_products(products, torch.bfloat16, model.device, "x" if options.lora else "xw")


def compare(options: argparse.Namespace) -> dict[str, object]:
    """Memory, while this process is small itself; then losses, then speed."""
    memory = {who: peak_memory(options, who) for who in ("notellm", "baseline")}
    share = memory["notellm"]["above_mib"] / memory["baseline"]["above_mib"]
    trainer = our_trainer(options)
    with tempfile.TemporaryDirectory() as folder:
        baseline = Baseline(trainer, Path(folder) / "model", options)
    plan = trainer.sampler.plan(0)
    sums = trainer.joint_step.backward(plan)
    contrastive = float(sums.contrastive.sum) / sums.contrastive.count
    generative = float(sums.generative.sum) / sums.generative.count
    ours = (contrastive + ALPHA * generative) / (1 + ALPHA)
    with torch.no_grad():
        theirs = baseline.loss(0).item()
    assert abs(ours - theirs) < 0.02 * theirs, f"losses must be equal, but are {ours} and {theirs}"
    steps = iter(range(1000))  # the same plans as ours
    products = ceiling(trainer, options)
    calls = {
        "notellm": lambda: [trainer._train_step() for _ in range(options.steps)],
        "baseline": lambda: [baseline.train_step(next(steps)) for _ in range(options.steps)],
        "bare_products": lambda: [products() for _ in range(options.steps)],
    }
    seconds = median_seconds(calls, options.rounds)
    notes = 2 * options.pairs * options.steps
    padded = baseline.inputs(0)[0].numel()
    numbers = {
        "loss": {"notellm": ours, "baseline": theirs},
        "tokens_of_the_first_step": {"notellm": sums.tokens, "baseline_padded": padded},
        "seconds_per_step": {name: round(s / options.steps, 3) for name, s in seconds.items()},
        "notes_per_second": {name: round(notes / seconds[name], 2) for name in ("notellm", "baseline")},
        "ratio": round(seconds["baseline"] / seconds["notellm"], 2),
        "share_of_bare_products": round(seconds["bare_products"] / seconds["notellm"], 3),
    }
    return numbers | {"memory": memory, "memory_share": round(share, 3)}


def main() -> None:
    """Checks, measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, help="a table of notes; default: the Debian catalogue")
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--lora", action="store_true", help=f"adapters of rank {RANK} on a frozen backbone")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=1, help="of one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", choices=["notellm", "baseline"], help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.alone:
        return run_alone(options)
    numbers = {
        "benchmark": "training",
        "model": "smollm2-135m",
        "method": f"lora, r = {RANK}" if options.lora else "full fine-tuning",
        "dtype": "bf16",
        "device": options.device,
        "threads": torch.get_num_threads(),
        "pairs": options.pairs,
        **compare(options),
    }
    return report(numbers, options.output)


if __name__ == "__main__":
    main()
