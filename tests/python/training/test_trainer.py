import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from notellm.embedding import truncated
from notellm.errors import DataError
from notellm.loggers.json_lines import read_log
from notellm.losses import gcl_loss
from notellm.models.notellm import NoteLLM
from notellm.training import Trainer, TrainOptions

pytestmark = pytest.mark.instruction_set

SOURCE = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9])
TARGET = np.array([2, 1, 4, 5, 3, 7, 8, 6, 10])
OPTIONS = {"pairs_per_step": 3, "epochs": 2, "lr": 1e-3, "lr_head": 1e-2, "alpha": 0.5}


def trainer(folder, tiny_folder, notes, **changes):
    model = NoteLLM.from_pretrained(tiny_folder, dim=6)
    return Trainer(model, notes, SOURCE, TARGET, TrainOptions(**OPTIONS | changes), folder=folder)


def weights(run):
    return {name: value.detach().clone() for name, value in run.model.named_parameters()}


def without_times(records):
    times = ("seconds", "tokens_per_second")
    return [{k: v for k, v in record.items() if k not in times} for record in records]


def test_both_losses_fall(tiny_folder, notes):
    run = trainer(None, tiny_folder, notes, epochs=20)
    records = run.train()
    assert len(records) == run.total_steps == 60
    for name in ("contrastive", "generative"):
        first, last = (np.mean([r[name] for r in part]) for part in (records[:6], records[-6:]))
        assert last < 0.7 * first, name
    assert records[-1]["scale"] != pytest.approx(np.exp(3.0), rel=1e-3)


def test_every_parameter_learns_from_the_losses(tiny_folder, notes):
    run = trainer(None, tiny_folder, notes, weight_decay=0.0)
    before = weights(run)
    run.train()
    for name, value in weights(run).items():
        assert not torch.equal(value, before[name]), name


def test_the_emb_row_learns_as_an_input(tiny_folder, notes):
    """With a head of its own, the row gets a gradient only through what comes after [EMB]."""
    run = trainer(None, tiny_folder, notes)
    model = run.model
    model.lm_head = torch.nn.Linear(32, len(model.model.embed_tokens.weight), bias=False)
    rows = run.sampler.plan(0).prompts
    states = model(model.prompt.pack_rows(run.tokenized, rows))
    model.logits(states.labelled).square().sum().backward()
    gradient = model.model.embed_tokens.weight.grad
    assert gradient[model.emb_token_id].abs().max() > 1e-6
    model.zero_grad()
    model(model.prompt.pack_rows(run.tokenized, rows)).embeddings.square().sum().backward()
    assert model.model.embed_tokens.weight.grad[model.emb_token_id].abs().max() == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"hashtag_ratio": 0.0},
        {"hashtag_ratio": 1.0},
        {"pairs_per_step": 1},
        {"csft_reduction": "token"},
        {"mask_same_note": False},
        {"alpha": 0.0},
        {"micro_pairs": 2},
        {"checkpoint_layers": True},
        {"nested_dims": (1, 4)},
        {"nested_dims": (2,), "dtype": "bf16", "micro_pairs": 2},
        {"max_steps": 9},  # three epochs of three steps, one more than `epochs`
    ],
    ids=str,
)
def test_every_option_trains_and_resumes(changes, tiny_folder, notes, tmp_path):
    whole = trainer(tmp_path / "whole", tiny_folder, notes, **changes)
    records = whole.train()
    assert all(np.isfinite(record["loss"]) for record in records)
    assert (records[0]["generative"] is None) == (changes.get("alpha") == 0.0)
    trainer(tmp_path / "cut", tiny_folder, notes, **changes).train(until=4)
    resumed = trainer(tmp_path / "cut", tiny_folder, notes, **changes)
    resumed.train(resume=True)
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(resumed).items())


def without(notes, field):
    return replace(notes, **{field: [[] if field == "topics" else ""] * len(notes)})


def test_generation_alone_passes_over_batches_without_outputs(tiny_folder, notes):
    bare = without(notes, "categories")
    run = trainer(None, tiny_folder, bare, contrastive=False, pairs_per_step=1, hashtag_ratio=0.4)
    records = run.train()
    assert {record["loss"] is None for record in records} == {True, False}


def test_generation_alone_needs_outputs(tiny_folder, notes):
    bare = without(without(notes, "categories"), "topics")
    with pytest.raises(ValueError, match="no note has a category"):
        trainer(None, tiny_folder, bare, contrastive=False)
    with pytest.raises(ValueError, match="alpha is 0"):
        trainer(None, tiny_folder, notes, contrastive=False, alpha=0.0)


def test_divergence_stops_before_the_step(tiny_folder, notes, tmp_path):
    run = trainer(tmp_path, tiny_folder, notes, checkpoint_every=1, lr=1e30, lr_head=1e30, warmup_ratio=0.0)
    with pytest.raises(FloatingPointError, match=r"must be finite, but are .* at step \d; try a lower"):
        run.train()
    assert all(value.isfinite().all() for value in weights(run).values())


@pytest.mark.parametrize("stop", range(1, 6))
def test_a_run_stopped_after_any_step_and_resumed_equals_the_uninterrupted_one(
    stop, tiny_folder, notes, tmp_path
):
    whole = trainer(tmp_path / "whole", tiny_folder, notes)
    whole.train()
    trainer(tmp_path / "cut", tiny_folder, notes).train(until=stop)
    resumed = trainer(tmp_path / "cut", tiny_folder, notes)
    resumed.train(resume=True)
    assert resumed.step == whole.step == 6
    for name, value in weights(resumed).items():
        assert torch.equal(value, weights(whole)[name]), name
    logs = [without_times(read_log(tmp_path / name / "train.jsonl")) for name in ("whole", "cut")]
    assert logs[0] == logs[1]


def test_a_crash_between_checkpoints_repeats_the_steps_since(tiny_folder, notes, tmp_path):
    class PowerCut(Exception):
        pass

    def cut(done, total):
        if done == 5:
            raise PowerCut

    whole = trainer(tmp_path / "whole", tiny_folder, notes)
    whole.train()
    with pytest.raises(PowerCut):
        trainer(tmp_path / "cut", tiny_folder, notes, checkpoint_every=2).train(progress=cut)
    resumed = trainer(tmp_path / "cut", tiny_folder, notes, checkpoint_every=2)
    records = resumed.train(resume=True)
    assert [record["step"] for record in records] == [4, 5]
    assert all(torch.equal(v, weights(whole)[n]) for n, v in weights(resumed).items())
    assert [r["step"] for r in read_log(tmp_path / "cut" / "train.jsonl")] == list(range(6))


def test_only_the_newest_checkpoint_is_kept(tiny_folder, notes, tmp_path):
    trainer(tmp_path, tiny_folder, notes, checkpoint_every=1).train()
    assert [entry.name for entry in (tmp_path / "checkpoints").iterdir()] == ["step-0000006"]


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_training_begun_anew_removes_nothing_newer(tiny_folder, notes, tmp_path):
    trainer(tmp_path, tiny_folder, notes, checkpoint_every=1).train(until=4)
    before = contents(tmp_path)
    for until in (2, None):
        with pytest.raises(DataError, match=r"step-0000004: .* but begins at step 0; try resume=True"):
            trainer(tmp_path, tiny_folder, notes, checkpoint_every=1).train(until=until)
        assert contents(tmp_path) == before
    ahead = trainer(tmp_path, tiny_folder, notes)
    ahead.train(resume=True, until=5)
    assert len(ahead.train()) == 1  # its own checkpoint is no newer one
    assert ahead.train() == []
    assert [entry.name for entry in (tmp_path / "checkpoints").iterdir()] == ["step-0000006"]


def test_a_checkpoint_leaves_a_newer_one_alone(tiny_folder, notes, tmp_path):
    run = trainer(tmp_path, tiny_folder, notes)
    for step in (1, 3, 2):
        run.step = step
        run._save_checkpoint()
    assert sorted(entry.name for entry in (tmp_path / "checkpoints").iterdir()) == [
        "step-0000002",
        "step-0000003",
    ]


def test_a_full_disk_ends_a_training_in_one_sentence_and_breaks_nothing(
    tiny_folder, notes, tmp_path, file_size_limit
):
    whole = trainer(tmp_path / "whole", tiny_folder, notes, checkpoint_every=1)
    whole.train()
    trainer(tmp_path / "cut", tiny_folder, notes).train(until=2)
    (log,) = [path for path in contents(tmp_path / "cut") if path.name == "train.jsonl"]
    for size in (2000, log.stat().st_size + 10):  # no room for a checkpoint; none for a line of the log
        for at in (tmp_path / "cut", tmp_path / f"fresh-{size}"):
            run = trainer(at, tiny_folder, notes, checkpoint_every=1)
            with file_size_limit(size), pytest.raises(OSError, match=r"must be written, but: File too large"):
                run.train(resume=True)
            assert len(list(at.glob("*/step-*"))) == (at.name == "cut")
            assert [part for part in at.rglob("*.part")] == []
    resumed = trainer(tmp_path / "cut", tiny_folder, notes, checkpoint_every=1)
    resumed.train(resume=True)
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(resumed).items())
    logs = [without_times(read_log(tmp_path / name / "train.jsonl")) for name in ("whole", "cut")]
    assert logs[0] == logs[1]


def test_resuming_with_other_options_is_refused(tiny_folder, notes, tmp_path):
    trainer(tmp_path, tiny_folder, notes).train(until=2)
    with pytest.raises(DataError, match=r"alpha must be 0.5 as the run began, but is 0.1"):
        trainer(tmp_path, tiny_folder, notes, alpha=0.1).train(resume=True)


def test_a_checkpoint_from_before_an_option_has_its_default(tiny_folder, notes, tmp_path):
    trainer(tmp_path, tiny_folder, notes).train(until=2)
    state = tmp_path / "checkpoints" / "step-0000002" / "state.json"
    written = json.loads(state.read_text())
    assert written["options"].pop("nested_dims") == []
    state.write_text(json.dumps(written))
    with pytest.raises(DataError, match=r"nested_dims must be \[\] as the run began, but is \[2\]"):
        trainer(tmp_path, tiny_folder, notes, nested_dims=(2,)).train(resume=True)
    assert len(trainer(tmp_path, tiny_folder, notes).train(resume=True)) == 4


def test_a_model_says_which_dims_it_was_trained_for(tiny_folder, notes, tmp_path):
    run = trainer(None, tiny_folder, notes, nested_dims=(2, 4), max_steps=1)
    run.train()
    run.model.save_pretrained(tmp_path / "saved")
    assert NoteLLM.from_pretrained(tmp_path / "saved").nested_dims == run.model.nested_dims == (2, 4)
    words = trainer(None, tiny_folder, notes, nested_dims=(2,), contrastive=False)
    assert words.model.nested_dims == ()


def test_nested_dims_make_the_first_numbers_find_more(tiny_folder, notes):
    """On the notes that were trained, after the same steps: the loss of the first two numbers alone."""
    ends, losses = np.stack([SOURCE, TARGET], 1).ravel(), []
    for nested_dims in ((), (2,)):
        options = {"pairs_per_step": 9, "epochs": 100, "alpha": 0.0, "hashtag_ratio": 0.0}
        run = trainer(None, tiny_folder, notes, **options, nested_dims=nested_dims)
        run.train()
        first = truncated(run.model.embed(notes.take(ends), dtype="fp32"), 2)
        losses.append(float(gcl_loss(first, run.model.tau.detach(), note_ids=torch.tensor(ends))))
    assert losses[1] < 0.7 * losses[0]


def test_resuming_on_other_data_is_refused(tiny_folder, notes, tmp_path):
    trainer(tmp_path, tiny_folder, notes).train(until=2)
    model = NoteLLM.from_pretrained(tiny_folder, dim=6)
    for source, data in ((SOURCE[::-1], notes), (SOURCE, replace(notes, titles=notes.titles[::-1]))):
        other = Trainer(model, data, source, TARGET, TrainOptions(**OPTIONS), folder=tmp_path)
        with pytest.raises(
            DataError, match="must be of a run on the same notes, pairs, hard negatives, prompt"
        ):
            other.train(resume=True)


def test_a_damaged_log_is_named_with_its_line(tiny_folder, notes, tmp_path):
    trainer(tmp_path, tiny_folder, notes).train(until=2)
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write("{oops\n")
    with pytest.raises(DataError, match=r"train.jsonl:3: must be JSON, but is damaged"):
        trainer(tmp_path, tiny_folder, notes).train(resume=True)


def test_how_a_run_fits_into_memory_may_change_when_it_goes_on(tiny_folder, notes, tmp_path):
    exact = {"eps": 1e-3, "dtype": "fp32"}
    whole = trainer(None, tiny_folder, notes, **exact)
    whole.train()
    trainer(tmp_path, tiny_folder, notes, **exact).train(until=2)
    other = {"micro_pairs": 2, "checkpoint_layers": True, "shard_optimizer": True, "checkpoint_every": 1}
    resumed = trainer(tmp_path, tiny_folder, notes, **exact, **other)
    assert [record["step"] for record in resumed.train(resume=True)] == [2, 3, 4, 5]
    for name, value in weights(resumed).items():
        torch.testing.assert_close(value, weights(whole)[name], rtol=1e-5, atol=1e-6, msg=name)


def test_a_damaged_optimizer_state_is_named(tiny_folder, notes, tmp_path):
    trainer(tmp_path, tiny_folder, notes).train(until=2)
    path = tmp_path / "checkpoints" / "step-0000002" / "optimizer.safetensors"
    state = load_file(path)
    save_file({key: value for key, value in state.items() if key != "tau.exp_avg"}, path)
    with pytest.raises(
        DataError, match=r"optimizer state, but tau.exp_avg must be \[\], but it is not there"
    ):
        trainer(tmp_path, tiny_folder, notes).train(resume=True)
    save_file(state | {"projection.weight.exp_avg_sq": torch.zeros(3)}, path)
    with pytest.raises(DataError, match=r"projection.weight.exp_avg_sq must be \[6, 32\], but is \[3\]"):
        trainer(tmp_path, tiny_folder, notes).train(resume=True)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="must be a readable safetensors file"):
        trainer(tmp_path, tiny_folder, notes).train(resume=True)


def test_without_gcl_the_projection_and_tau_stay(tiny_folder, notes):
    run = trainer(None, tiny_folder, notes, contrastive=False, weight_decay=0.0)
    before = weights(run)
    assert run.train()[0]["contrastive"] is None
    after = weights(run)
    assert torch.equal(after["tau"], before["tau"])
    assert torch.equal(after["projection.weight"], before["projection.weight"])


@pytest.mark.parametrize(("is_native", "became"), [(True, "bf16"), (False, "fp32")])
def test_auto_becomes_what_the_machine_multiplies(
    is_native, became, native_bf16, tiny_folder, notes, tmp_path
):
    native_bf16(is_native)
    run = trainer(tmp_path, tiny_folder, notes)
    assert run.options.dtype == became
    run.train(until=1)
    state = json.loads(next(tmp_path.glob("checkpoints/*/state.json")).read_text())
    assert state["options"]["dtype"] == became
    explicit = trainer(None, tiny_folder, notes, dtype=became)
    explicit.train(until=1)
    assert all(torch.equal(value, weights(explicit)[name]) for name, value in weights(run).items())


def test_a_run_goes_on_in_the_dtype_it_began_in(native_bf16, tiny_folder, notes, tmp_path):
    native_bf16(True)
    trainer(tmp_path, tiny_folder, notes).train(until=2)
    whole = trainer(None, tiny_folder, notes, dtype="bf16")
    whole.train()
    native_bf16(False)
    with pytest.raises(DataError, match="dtype must be bf16 as the run began, but is fp32"):
        trainer(tmp_path, tiny_folder, notes, dtype="fp32").train(resume=True)
    run = trainer(tmp_path, tiny_folder, notes)
    run.train(resume=True)
    assert (run.options.dtype, run.dtype) == ("bf16", torch.bfloat16)
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(run).items())


def test_a_checkpoint_of_an_unknown_dtype_is_damaged(tiny_folder, notes, tmp_path):
    trainer(tmp_path, tiny_folder, notes).train(until=1)
    path = next(tmp_path.glob("checkpoints/*/state.json"))
    state = json.loads(path.read_text())
    path.write_text(json.dumps(state | {"options": state["options"] | {"dtype": "fp8"}}))
    with pytest.raises(DataError, match="options.dtype: must be one of fp64, fp32, bf16, but is 'fp8'"):
        trainer(tmp_path, tiny_folder, notes).train(resume=True)


def test_bf16_keeps_fp32_master_weights(tiny_folder, notes):
    run = trainer(None, tiny_folder, notes, dtype="bf16")
    records = run.train()
    assert all(value.dtype == torch.float32 for value in weights(run).values())
    assert np.isfinite([record["loss"] for record in records]).all()


def test_records_say_what_a_step_did(tiny_folder, notes, tmp_path):
    run = trainer(tmp_path, tiny_folder, notes)
    records = run.train()
    assert json.loads((tmp_path / "train.jsonl").read_text().splitlines()[-1]) == records[-1]
    first = records[0]
    assert (first["notes"], first["step"]) == (6, 0)
    assert first["loss"] == pytest.approx((first["contrastive"] + 0.5 * first["generative"]) / 1.5, rel=1e-6)
    assert first["tokens_per_second"] == first["tokens"] / first["seconds"]
    assert first["lr"] == OPTIONS["lr"]  # six steps have no warm-up at 10 %
    assert first["lr_head"] == OPTIONS["lr_head"]
    assert records[3]["lr"] == pytest.approx(OPTIONS["lr"] / 2)
    assert first["scale"] == pytest.approx(np.exp(first["tau"]), rel=1e-5)


@pytest.mark.parametrize("outside", [-1, 12])
def test_pairs_of_notes_that_are_not_there_are_refused(outside, tiny, notes):
    with pytest.raises(IndexError, match=r"pairs must name notes in \[0, 12\)"):
        Trainer(tiny, notes, np.array([0, 1]), np.array([1, outside]))


def test_pairs_with_one_note_are_refused(tiny, notes):
    with pytest.raises(ValueError, match="source and target must be as many, but are 2 and 3"):
        Trainer(tiny, notes, np.array([0, 1]), np.array([1, 2, 3]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pairs_per_step": 0}, "pairs_per_step must be at least 1, but is 0"),
        ({"micro_pairs": -1}, "micro_pairs must be at least 0, but is -1"),
        ({"warmup_ratio": 1.0}, "warmup_ratio must be below 1, but is 1"),
        ({"lr": -1.0}, "lr must be at least 0, but is -1"),
        ({"dtype": "fp16"}, "dtype must be auto, fp64, fp32 or bf16, but is 'fp16'"),
        ({"pairs_per_step": 50}, "pairs"),
        ({"nested_dims": (2, 6)}, r"Trainer: nested_dims must be below the width 6, but are \[2, 6\]"),
        ({"nested_dims": (3, 3)}, r"nested_dims must ascend from at least 1, but are \[3, 3\]"),
        ({"nested_dims": (0, 3)}, r"nested_dims\[0\] must be at least 1, but is 0"),
        ({"nested_dims": ("a",)}, r"nested_dims\[0\] must be an integer"),
    ],
)
def test_refuses(change, message, tiny_folder, notes):
    with pytest.raises(ValueError, match=message):
        trainer(None, tiny_folder, notes, **change)
