"""Several processes give the update of one: gloo on the CPU, the tiny model, fp64."""

from dataclasses import replace

import pytest
import torch

import joint_training
from joint_training import NUMBERS, Run, labels_of_shares, make_trainer, numbers_of, saved, train
from notellm.processes import Processes
from processes import run_in_processes

FP64 = {"rtol": 1e-10, "atol": 1e-12}

LORA = {"r": 2, "dropout": 0.25, "frozen_bf16": True}
RUNS = [
    Run("uneven"),  # seven pairs, for two and for three
    Run("even", {"pairs_per_step": 6}),
    Run("one-pair-each", {"pairs_per_step": 3}),
    Run("tokens", {"csft_reduction": "token"}),
    Run("no-mask", {"mask_same_note": False}),
    Run("few-labels", {}, labelled="few"),
    Run("no-labels", {}, labelled="none"),
    Run("contrastive-only", {"alpha": 0.0}),
    Run("generative-only", {"contrastive": False}, labelled="few"),
    Run("micro", {"micro_pairs": 2, "grad_norms_every": 1}),
    Run("extra", {"micro_pairs": 2}, extra=True),
    Run("nested", {"nested_dims": (2, 5)}),
    Run("negatives", {"log_q": 1.0}, negatives=2),
    Run("negatives-micro", {"micro_pairs": 2, "nested_dims": (3,)}, negatives=1, extra=True),
    Run("rows-negatives", {"shard_weights": True, "micro_pairs": 1}, negatives=2),
    Run("nested-micro", {"nested_dims": (3,), "micro_pairs": 2, "shard_optimizer": True}),
    Run("extra-alone", {"contrastive": False, "alpha": 0.0}, extra=True),
    Run("checkpointed", {"micro_pairs": 1, "checkpoint_layers": True}),
    Run("sharded", {"shard_optimizer": True}),
    Run("sharded-few", {"shard_optimizer": True, "contrastive": False, "micro_pairs": 1}, labelled="few"),
    Run("rows", {"shard_weights": True}),
    Run(
        "rows-micro",
        {"shard_weights": True, "micro_pairs": 1, "checkpoint_layers": True, "grad_norms_every": 2},
    ),
    Run("rows-few", {"shard_weights": True, "contrastive": False, "micro_pairs": 1}, labelled="few"),
    Run("rows-head", {"shard_weights": True, "micro_pairs": 1}, labelled="few", own_head=True),
    Run("rows-lora", {"shard_weights": True, "micro_pairs": 2}, lora=LORA),
]


def assert_saved_equals(results, run, rank, expected, tolerance=FP64):
    weights, records = expected
    found = saved(results, run, rank)
    numbers = numbers_of(records)
    tokens = NUMBERS.index(
        "tokens"
    )  # the shared instruction is in every process's share: more than on one process
    assert (found["numbers"][:, tokens] >= numbers[:, tokens]).all()
    found["numbers"][:, tokens] = numbers[:, tokens]
    for name, value in (weights | {"numbers": numbers}).items():
        torch.testing.assert_close(
            found[name], value, **tolerance, msg=lambda text, n=name: f"{run.name}, {n}: {text}"
        )


def assert_all_processes_equal(results, run, count):
    first = saved(results, run, 0)
    for rank in range(1, count):
        for name, value in saved(results, run, rank).items():
            assert torch.equal(first[name], value), (run.name, rank, name)


@pytest.mark.parametrize("count", [2, 3])
def test_processes_give_the_update_of_one(count, tiny_folder, tmp_path):
    run_in_processes(count, tmp_path, joint_training.train_and_save, str(tiny_folder), RUNS, str(tmp_path))
    for run in RUNS:
        alone = train(tiny_folder, replace(run, options=run.options | {"micro_pairs": 0}))
        assert_all_processes_equal(tmp_path, run, count)
        for rank in range(count):
            assert_saved_equals(tmp_path, run, rank, alone)


@pytest.mark.parametrize("count", [2, 3])
def test_the_runs_above_have_shares_without_labels(count, tiny_folder):
    trainer = make_trainer(tiny_folder, Run("few", labelled="few"))
    shares = [labels_of_shares(trainer, step, count) for step in range(trainer.total_steps)]
    assert any(min(labels) == 0 < max(labels) for labels in shares), shares


@pytest.mark.parametrize("sharding", [{}, {"shard_optimizer": True}, {"shard_weights": True}], ids=str)
def test_a_run_goes_on_with_another_number_of_processes(sharding, tiny_folder, tmp_path):
    """One process, then two, then one: with weights and the optimizer's state in shares meanwhile, or whole."""
    options = {"max_steps": 6}
    whole = train(tiny_folder, Run("whole", options))
    run = Run("run", options, folder=str(tmp_path / "run"), resume=True)
    train(tiny_folder, replace(run, until=2))
    two = replace(run, options=options | sharding, until=4)
    run_in_processes(2, tmp_path, joint_training.train_and_save, str(tiny_folder), [two], str(tmp_path))
    assert [entry.name for entry in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-0000004"]
    weights, records = train(tiny_folder, run)
    assert [record["step"] for record in records] == [4, 5]
    for name, value in whole[0].items():
        torch.testing.assert_close(weights[name], value, **FP64, msg=name)
    assert len((tmp_path / "run" / "train.jsonl").read_text().splitlines()) == 6


def test_processes_refuse_different_runs_and_share_weights_and_the_optimizer_s_state(tiny_folder, tmp_path):
    run_in_processes(2, tmp_path, joint_training.disagree_and_share, str(tiny_folder), str(tmp_path))


def test_every_process_needs_a_pair(tiny_folder, monkeypatch):
    monkeypatch.setattr(Processes, "current", classmethod(lambda cls: cls(1, 8)))
    with pytest.raises(
        ValueError, match="pairs_per_step must be at least the number of processes, 8, but is 7"
    ):
        make_trainer(tiny_folder, Run("few"))


def test_one_process_asks_no_device_what_it_claims():
    """A tensor on a GPU would make the host wait in every step; one without data cannot be read at all."""
    alone, nowhere = Processes(), torch.device("meta")
    assert alone.any(True, nowhere) is True
    assert alone.any(False, nowhere) is False
