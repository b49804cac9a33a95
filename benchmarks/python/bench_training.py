"""A joint training step against transformers with plain-torch losses: same weights, same notes, same batches.

The baselines are the step as people write it: padded sequences, autocast where products are in bf16, NT-Xent in plain
torch, fused AdamW; with ``--lora`` through peft. They differ in the language model's loss: logits and cross-entropy
where there are labels; there, too, but by torch's linear_cross_entropy in chunks, which never holds all logits; and,
only if asked for, logits of all positions, or the first with every layer through torch.compile. Every measurement is a
process of its own, since two models with their optimizers may not fit beside each other; the processes alternate, and
losses of the first step must be equal. Our steps lay out their batches, the baselines' are padded beforehand. Memory is
the peak of a step above what stays between steps, weights and optimizer state: on the CPU what is resident, on a GPU
what torch has allocated.

    python benchmarks/python/bench_training.py --output benchmarks/results
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from ceiling import Product, backbone_products, bare_products, share_of_peak
from devices import peaks_mib, seconds_of
from harness import DTYPES, add_dtype
from records import Run
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import cross_entropy, normalize, pad
from transformers import AutoModelForCausalLM
from workloads import add_workload, backbone, model_name, related_notes

from notellm import LoraOptions, NoteLLM, Trainer, TrainOptions, _core, resolve_dtype

ALPHA, DIM, RANK = 0.1, 128, 16
WHO = ["notellm", "labels_only", "linear_cross_entropy", "all_positions", "compiled"]
USUAL = ["labels_only"] + ["linear_cross_entropy"] * hasattr(
    functional, "linear_cross_entropy"
)  # torch 2.12 has it


def our_trainer(options: argparse.Namespace) -> Trainer:
    """Our trainer on the benchmark's pairs."""
    model = NoteLLM.from_pretrained(backbone(options.backbone, options.tokenizer), dim=DIM)
    if options.lora:
        model.add_lora(LoraOptions(r=RANK, alpha=2 * RANK))
    notes, source, target = related_notes(options.table)
    settings = TrainOptions(
        pairs_per_step=options.pairs, max_steps=1000, alpha=ALPHA, dtype=options.dtype, mask_same_note=False
    )
    return Trainer(model.to(options.device), notes, source, target, settings)


class Baseline:
    """transformers and plain torch."""

    def __init__(self, trainer: Trainer, folder: Path, options: argparse.Namespace) -> None:
        self.trainer, self.device = trainer, options.device
        self.who, self.dtype = options.alone, DTYPES[options.dtype]
        trainer.model.save_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
        self.backbone = self.model.model  # peft puts its adapters into this very module
        if self.who == "compiled":
            for layer in self.backbone.layers:  # one by one: all are the same code, which is compiled once
                layer.compile(dynamic=True)
        if options.lora:
            self.model = self._with_adapters(trainer.model)
        self.projection = nn.Linear(trainer.model.projection.in_features, DIM, bias=False)
        self.projection.load_state_dict(trainer.model.projection.state_dict())
        self.tau = nn.Parameter(trainer.model.tau.detach().clone())
        trained = nn.ModuleList([self.model, self.projection]).to(self.device)
        self.parameters = [p for p in (*trained.parameters(), self.tau) if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=3e-6, weight_decay=0.001, fused=True)

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

    def prepare(self, steps: Iterable[int]) -> None:
        """Makes the inputs of steps beforehand, as a loader does beside the steps: in Python they take long."""
        self.ready = {step: self.inputs(step) for step in steps}

    def tokens(self, step: int) -> int:
        """That the step computes, padding included."""
        return self.ready[step][0].numel()

    def loss(self, step: int) -> Tensor:
        """Equation 4."""
        ids, mask, labels, positions = self.ready[step]
        labelled = labels != -100
        with self._autocast():
            states = self.backbone(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            embeddings = self.projection(states[torch.arange(len(ids), device=ids.device), positions])
            losses = self._label_losses(states, labels, labelled)
        contrastive = self._contrastive(embeddings)
        rows, counts = labelled.nonzero()[:, 0], labelled.sum(1)
        by_note = torch.zeros(len(ids), device=losses.device).index_add(0, rows, losses.float())
        by_note = by_note[counts > 0] / counts[counts > 0]
        return (contrastive + ALPHA * by_note.mean()) / (1 + ALPHA)

    def _autocast(self) -> Any:
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device, self.dtype)

    def _label_losses(self, states: Tensor, labels: Tensor, labelled: Tensor) -> Tensor:
        """(labels,) the cross-entropy at each label."""
        head = self.model.get_output_embeddings()
        if self.who == "linear_cross_entropy":
            # Autocast does not know it: states and weight are cast by hand.
            chosen, weight = states[labelled].to(self.dtype), head.weight.to(self.dtype)
            chunks = nn.LinearCrossEntropyOptions()
            return functional.linear_cross_entropy(
                chosen, weight, labels[labelled], reduction="none", options=chunks
            )
        if self.who in ("labels_only", "compiled"):
            return cross_entropy(head(states[labelled]).float(), labels[labelled], reduction="none")
        losses = cross_entropy(head(states).float().flatten(0, 1), labels.flatten(), reduction="none")
        return losses[labelled.flatten()]

    def _contrastive(self, embeddings: Tensor) -> Tensor:
        unit = normalize(embeddings.float(), dim=1)
        rows = torch.arange(len(unit), device=unit.device)
        itself = torch.eye(len(unit), device=unit.device).bool()
        cosines = (unit @ unit.T * self.tau.exp()).masked_fill(itself, -torch.inf)
        return cross_entropy(cosines, rows ^ 1)

    def train_step(self, step: int) -> float:
        """One optimizer step."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(step)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        return loss.item()


def measure(options: argparse.Namespace, who: str) -> dict[str, Any]:
    """What ``run_alone`` finds in a process of its own."""
    command = [sys.executable, __file__, "--alone", who, "--pairs", str(options.pairs)]
    command += ["--steps", str(options.steps), "--device", options.device, "--dtype", options.dtype]
    command += ["--backbone", options.backbone]
    command += ["--tokenizer", str(options.tokenizer)] if options.tokenizer else []
    command += ["--lora"] * options.lora
    command += ["--table", str(options.table)] if options.table else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"measure: {who} must end with status 0, but ended with:\n{done.stderr[-2000:]}")
    numbers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return numbers


class Ours:
    """Our trainer, as a `Baseline` looks."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.parameters = list(trainer.model.parameters())

    def prepare(self, steps: Iterable[int]) -> None:
        """Nothing: a step's inputs are made within it."""

    def tokens(self, step: int) -> int:
        """That the step computes."""
        return self.trainer.joint_step.backward(self.trainer.sampler.plan(step)).tokens

    def train_step(self, step: int) -> float:
        """One optimizer step."""
        (record,) = self.trainer.train(until=step + 1)
        return record["loss"]


def run_alone(options: argparse.Namespace) -> None:
    """In that process: the first step's loss, another one's peak above what stays, and the time of others."""
    trainer = our_trainer(options)
    if options.alone == "notellm":
        who: Ours | Baseline = Ours(trainer)
    else:
        with tempfile.TemporaryDirectory() as folder:
            who = Baseline(trainer, Path(folder) / "model", options)
    steps = range(2, 2 + options.steps)
    who.prepare([0, 1, *steps])
    tokens, loss = who.tokens(0), who.train_step(0)
    for parameter in who.parameters:  # the optimizer's state is there from now on, and stays
        parameter.grad = None  # gradients come and go within a step: they count
    memory = peaks_mib({"step": lambda: who.train_step(1)}, options.device)["step"]
    _for_everyone = _core.util.KeepsFreedMemory()  # our trainer has it so anyway
    seconds = [
        round(seconds_of(lambda step=step: who.train_step(step), 1, options.device), 5) for step in steps
    ]
    numbers = {"loss": loss, "tokens": tokens, "above_mib": memory["above"], "peak_mib": memory["peak"]}
    print(json.dumps(numbers | {"seconds": seconds}))


def ceiling(trainer: Trainer, options: argparse.Namespace) -> tuple[Callable[[], None], float]:
    """The bare products of a step of the mean size of those that are timed, forward and backward; their operations.

    Frozen matrices need no gradient of their own; the adapters' products are left out.
    """
    plans = [trainer.sampler.plan(step) for step in range(2, 2 + options.steps)]
    model = trainer.model
    packed = [model.prompt.pack_rows(trainer.tokenized, plan.prompts, mode="train") for plan in plans]
    tokens, labels = (
        round(fmean(map(len, of))) for of in zip(*((b.tokens, b.labels) for b in packed), strict=True)
    )
    products = backbone_products(model.model.config, tokens, labels + 2 * options.pairs)
    products.append(Product(labels, *model.head_weight.shape[::-1]))
    gradients = "x" if options.lora else "xw"
    operations = sum(one.operations for one in products) * (1 + len(gradients))
    return bare_products(products, DTYPES[options.dtype], model.device, gradients), operations


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """All processes, in turns; then what they found."""
    found: dict[str, list[dict[str, Any]]] = {who: [] for who in options.who}
    products, operations = ceiling(our_trainer(options), options)
    products()
    bare = []
    for _ in range(options.rounds):
        for who, runs in found.items():
            runs.append(measure(options, who))
        bare.append(seconds_of(products, options.steps, options.device))
    losses = {who: runs[0]["loss"] for who, runs in found.items()}
    if max(losses.values()) - min(losses.values()) > 0.02 * losses["notellm"]:
        raise RuntimeError(f"bench_training: losses of the first step must be equal, but are {losses}")
    rounds = {who: [round(fmean(run["seconds"]), 4) for run in runs] for who, runs in found.items()}
    ours = median(rounds["notellm"])
    of_peak = {}
    if options.peak is not None:
        dtype = DTYPES[options.dtype]
        of_peak["of_peak"] = share_of_peak(operations, ours, options.peak, dtype, options.device)
    return {
        "loss_of_the_first_step": losses,
        "tokens_of_the_first_step": {who: runs[0]["tokens"] for who, runs in found.items()},
        "rounds": rounds | {"bare_products": [round(one, 4) for one in bare]},
        "seconds_of_steps": {who: [run["seconds"] for run in runs] for who, runs in found.items()},
        "share_of_bare_products": round(median(bare) / ours, 3),
        "memory_above_mib": {who: [run["above_mib"] for run in runs] for who, runs in found.items()},
        "memory_peak_mib": {who: max(run["peak_mib"] for run in runs) for who, runs in found.items()},
        **of_peak,
    }


def main() -> None:
    """Checks, measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_workload(parser)
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--lora", action="store_true", help=f"adapters of rank {RANK} on a frozen backbone")
    add_dtype(parser)
    parser.add_argument("--steps", type=int, default=2, help="that are timed in each process")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each kind")
    parser.add_argument("--who", choices=WHO, nargs="+", default=USUAL, help="besides us")
    parser.add_argument("--peak", type=int, help="compare our rate with a product's of so many rows")
    parser.add_argument("--alone", choices=WHO, help=argparse.SUPPRESS)
    run = Run(parser)
    options = run.options
    options.dtype = resolve_dtype(options.dtype, options.device)
    if options.alone:
        return run_alone(options)
    options.who = ["notellm", *(who for who in options.who if who != "notellm")]
    numbers = {
        "model": model_name(options.backbone),
        "method": f"lora, r = {RANK}" if options.lora else "full fine-tuning",
        "dtype": options.dtype,
        "device": options.device,
        "pairs": options.pairs,
        **compare(options),
    }
    return run.report("training_lora" if options.lora else "training", numbers)


if __name__ == "__main__":
    main()
