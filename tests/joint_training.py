"""Small training runs that tests do in this process and in several; in fp64, so that what remains is rounding."""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from notellm.hard_negatives import HardNegatives
from notellm.models.adapter import LoraOptions
from notellm.models.notellm import NoteLLM
from notellm.training import Trainer, TrainOptions
from notellm.training.callbacks import Callback, Training
from samples import make_notes

NOTES = 24
BASE: dict[str, Any] = {
    "pairs_per_step": 7,
    "max_steps": 3,
    "lr": 1e-3,
    "lr_head": 1e-2,
    "warmup_ratio": 0.0,
    "alpha": 0.5,
    "dtype": "fp64",
}


@dataclass(frozen=True)
class Run:
    """One training run: what is different from ``BASE``, and how much of it to do."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    labelled: str = "all"
    """Which notes have outputs: all, few (most shares of a step have none) or none."""
    until: int | None = None
    resume: bool = False
    folder: str | None = None
    own_head: bool = False
    """With a head that is not the embedding table."""
    lora: dict[str, Any] | None = None
    """With adapters of these options on a frozen backbone."""
    extra: bool = False
    """With a loss of its own beside the joint one, and every step's pairs chosen by hand."""
    negatives: int = 0
    """How many hard negatives a pair brings; every fourth pair has none."""


def spread(embeddings: torch.Tensor, note_ids: torch.Tensor) -> torch.Tensor:
    """A loss that no part of the package has: notes of even and of odd numbers shall differ on the mean."""
    even = (note_ids % 2 == 0).to(embeddings.dtype).unsqueeze(1)
    unit = torch.nn.functional.normalize(embeddings, dim=1)
    return ((unit * even).mean(0) - (unit * (1 - even)).mean(0)).square().sum().neg()


def every_third(step: int) -> list[int]:
    """Pairs of a step."""
    return [(3 * step + 5 * i) % 40 for i in range(BASE["pairs_per_step"])]


def make_trainer(model_folder: Path, run: Run, **given: Any) -> Trainer:
    """The trainer of a run, on notes that repeat within a batch; with further arguments of its own."""
    notes = make_notes(NOTES, seed=3)
    if run.labelled != "all":
        has_output = [run.labelled == "few" and i in (5, 14) for i in range(NOTES)]
        notes = replace(
            notes,
            topics=[[] for _ in range(NOTES)],
            categories=[c if has else "" for c, has in zip(notes.categories, has_output, strict=True)],
        )
    draw = np.random.default_rng(0)
    source = draw.integers(0, NOTES - 4, 40)
    target = source + draw.integers(1, 4, 40)
    model = NoteLLM.from_pretrained(model_folder, dim=6)
    options = TrainOptions(**BASE | run.options)
    if run.own_head:
        table = model.model.embed_tokens.weight
        model.lm_head = torch.nn.Linear(table.size(1), table.size(0), bias=False)
        model.lm_head.weight.data = 0.5 * table.detach().flip(0)
    if options.dtype == "fp64":
        model.double()
    if run.lora is not None:
        model.add_lora(LoraOptions(**run.lora))
    if run.extra:
        given |= {"extra_losses": {"spread": (0.3, spread)}, "choose_pairs": every_third}
    if run.negatives:
        given["negatives"] = negatives_of(40, run.negatives)
    return Trainer(model, notes, source, target, options, folder=run.folder, **given)


def negatives_of(pairs: int, per_pair: int) -> HardNegatives:
    """Up to three negatives of each pair, among them notes that other pairs have, too."""
    lists = [np.arange(pair, pair + 5 * (pair % 4), 5) % NOTES for pair in range(pairs)]
    offsets = np.concatenate([[0], np.cumsum([len(notes) for notes in lists])])
    return HardNegatives(offsets, np.concatenate(lists), per_pair)


def labels_of_shares(trainer: Trainer, step: int, processes: int) -> list[int]:
    """How many labels each process's share of a step has."""
    rows = trainer.sampler.plan(step).prompts
    bounds = [2 * (len(rows) // 2 * rank // processes) for rank in range(processes + 1)]
    shares = [rows[begin:end] for begin, end in pairwise(bounds)]
    return [len(trainer.model.prompt.pack_rows(trainer.tokenized, share).labels) for share in shares]


def train(model_folder: Path, run: Run) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """Does a run; gives the weights and the records."""
    trainer = make_trainer(model_folder, run)
    records = trainer.train(resume=run.resume, until=run.until)
    trainer.model.model.sync_emb_row()
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}, records


NORMS = ("grad_norm", "grad_norm_contrastive", "grad_norm_generative")
NUMBERS = ("loss", "contrastive", "generative", "tau", *NORMS, "tokens", "notes")


def numbers_of(records: list[dict[str, Any]]) -> torch.Tensor:
    """The numbers of each record, 0 where there is none."""
    return torch.tensor([[r.get(key) or 0.0 for key in NUMBERS] for r in records], dtype=torch.float64)


def train_and_save(model_folder: str, runs: list[Run], results: str) -> None:
    """In one of several processes: does runs, and saves what each process has of them."""
    for run in runs:
        weights, records = train(Path(model_folder), run)
        weights["numbers"] = numbers_of(records)
        save_file(weights, Path(results) / f"{run.name}-{dist.get_rank()}.safetensors")


def saved(results: Path, run: Run, rank: int) -> dict[str, torch.Tensor]:
    """What one process saved of a run."""
    return load_file(results / f"{run.name}-{rank}.safetensors")


def disagree(model_folder: str) -> None:
    """In one of several processes: trains another run than the others do, which must be refused everywhere."""
    run = Run("other", {"seed": dist.get_rank()})
    with pytest.raises(ValueError, match="with the same options, data and step, but 1 of 2 differ from the"):
        train(Path(model_folder), run)


def keep_a_share(model_folder: str) -> None:
    """In one of several processes: holds the moments of its own parameters alone, and no parameter is left out."""
    trainer = make_trainer(Path(model_folder), Run("sharded", {"shard_optimizer": True}))
    trainer.train(until=1)
    sizes = [p.numel() for p in trainer.optimizer.parameters.values()]
    state = trainer.optimizer.adamw.state
    own = torch.tensor(sum(moments["exp_avg"].numel() for moments in state.values()))
    assert own < 0.6 * sum(sizes)
    dist.all_reduce(own)
    assert own == sum(sizes)


def keep_rows(model_folder: str) -> None:
    """In one of several processes: holds half of all weights, gradients and moments; between trainings all weights."""
    trainer = make_trainer(Path(model_folder), Run("rows", {"shard_weights": True}))
    sizes = {name: p.numel() for name, p in trainer.model.named_parameters()}
    trainer.train(until=1)
    assert {name: p.numel() for name, p in trainer.model.named_parameters()} == sizes
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    moments = sum(state["exp_avg"].numel() for state in trainer.optimizer.adamw.state.values())
    shards = trainer.shards
    shards.divide()
    assert sum(p.numel() for p in trainer.model.parameters()) == 1  # tau
    parts = [p.to_local() if n in shards.names else p for n, p in shards.twin.named_parameters()]
    gradients = [shards.gradient(name) for name in shards.names]
    for held in (moments, sum(p.numel() for p in parts), sum(g.numel() for g in gradients)):
        assert abs(held - sum(sizes.values()) / 2) < 32  # half a row of an odd number, and tau
    shards.gather()
    assert all(torch.equal(p, before[name]) for name, p in trainer.model.named_parameters())


def diverge_in_rows(model_folder: str) -> None:
    """In one of several processes: what diverges is given up on all of them, with the whole weights of its start."""
    run = Run("diverging", {"shard_weights": True}, extra=True)
    trainer = make_trainer(Path(model_folder), run)
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.joint_step.extra_losses["spread"] = (float("inf"), spread)
    with pytest.raises(FloatingPointError, match="loss and gradient must be finite"):
        trainer.train()
    assert all(torch.equal(p, before[name]) for name, p in trainer.model.named_parameters())


def train_rows_in_bf16(model_folder: str) -> None:
    """In one of several processes: the same products of the same batches as with whole weights."""
    options = {"dtype": "bf16", "checkpoint_layers": True, "micro_pairs": 2}
    whole, _ = train(Path(model_folder), Run("whole", options))
    rows, _ = train(Path(model_folder), Run("rows", options | {"shard_weights": True}))
    for name, value in whole.items():
        # the norm of all gradients is summed in another order, and all of an update is divided by it
        torch.testing.assert_close(rows[name], value, rtol=1e-5, atol=1e-7, msg=name)


def validate_together(model_folder: str, results: str) -> None:
    """In one of several processes: the first measures and keeps the best, and all stop when it gains nothing more."""
    for name, sharding in (("whole", {}), ("rows", {"shard_weights": True})):
        measured = iter([0.1, 0.5, 0.4, 0.3, 0.9])
        options = {"max_steps": 5, "validate_every": 1, "patience": 2} | sharding
        trainer = make_trainer(
            Path(model_folder),
            Run(name, options, folder=f"{results}/{name}"),
            validate=lambda _, m=measured: next(m),
        )
        weights = []

        class Watch(Callback):
            def after_step(
                self, training: Training, record: dict[str, Any], kept: list[Any] = weights
            ) -> None:
                with training.whole_model() as model:
                    kept.append({name: p.detach().clone() for name, p in model.named_parameters()})

        trainer.callbacks.insert(0, Watch())
        records = trainer.train()
        assert [record["validation"] for record in records] == [0.1, 0.5, 0.4, 0.3]
        assert [p.name for p in Path(results, name, "checkpoints").iterdir()] == ["step-0000004"]
        best = NoteLLM.from_pretrained(f"{results}/{name}/best")
        assert all(torch.equal(p, weights[1][n].float()) for n, p in best.named_parameters())
        last = dict(trainer.model.named_parameters())
        assert all(torch.equal(last[n], value) for n, value in weights[3].items())


def use_the_whole_model(model_folder: str, results: str) -> None:
    """In one of several processes: weights stay whole where they were, and a failure in between changes no bit."""

    class Use(Callback):
        def after_step(self, training: Training, record: dict[str, Any]) -> None:
            with suppress(RuntimeError), training.whole_model():
                raise RuntimeError("as it should")

        def after_checkpoint(self, training: Training, path: Path) -> None:
            assert (path / "state.json").exists()

        def after_training(self, training: Training, error: BaseException | None) -> None:
            with training.whole_model() as outer, training.whole_model() as inner:
                assert outer is inner

    options = {"max_steps": 3, "shard_weights": True, "checkpoint_every": 1}
    plain, used = (
        make_trainer(Path(model_folder), Run(name, options, folder=f"{results}/{name}"), callbacks=callbacks)
        for name, callbacks in (("plain", ()), ("used", (Use(),)))
    )
    plain.train()
    used.train()
    theirs = dict(used.model.named_parameters())
    assert all(torch.equal(theirs[name], value) for name, value in plain.model.named_parameters())


def disagree_and_share(model_folder: str, results: str) -> None:
    """All of the above, for one start of processes."""
    validate_together(model_folder, results)
    use_the_whole_model(model_folder, results)
    disagree(model_folder)
    keep_a_share(model_folder)
    keep_rows(model_folder)
    diverge_in_rows(model_folder)
    train_rows_in_bf16(model_folder)


def interrupt_one(model_folder: str, run: Run) -> None:
    """In one of several processes: Ctrl-C reaches the last of them between two steps, and all stop there."""

    def report(done: int, total: int) -> None:
        if done == 2 and dist.get_rank() == dist.get_world_size() - 1:
            raise KeyboardInterrupt

    trainer = make_trainer(Path(model_folder), run)
    with pytest.raises(KeyboardInterrupt):
        trainer.train(progress=report)
    assert trainer.step == 2
