"""What a script passes by object: losses, pairs of a step, pooling."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from joint_training import NOTES, Run, every_third, make_trainer, spread, train
from notellm.embedding import embed
from notellm.errors import DataError, NotSupportedError
from notellm.models.notellm import NoteLLM
from notellm.pooling import mean_pooling
from notellm.training import Trainer, TrainOptions
from samples import make_notes

FP64 = {"rtol": 1e-10, "atol": 1e-12}


@pytest.mark.parametrize("micro_pairs", [0, 2])
def test_an_extra_loss_adds_its_gradient(micro_pairs, tiny_folder):
    run = Run("extra", {"micro_pairs": micro_pairs}, extra=True)
    both, alone = make_trainer(tiny_folder, run), make_trainer(tiny_folder, replace(run, extra=False))
    plan = both.plan(0)
    batch = alone.model.prompt.pack_rows(alone.tokenized, plan.prompts, mode="embed")
    own = 0.3 * spread(alone.model(batch, alone.dtype).embeddings, torch.tensor(plan.note_ids))
    alone.model.zero_grad()
    own.backward()
    added = {name: p.grad.clone() for name, p in alone.model.named_parameters() if p.grad is not None}
    alone.joint_step.backward(plan)
    sums = both.joint_step.backward(plan)
    assert sums.extra["spread"] == pytest.approx(own.item() / 0.3, rel=1e-12)
    without = dict(alone.model.named_parameters())
    assert max(float(grad.abs().max()) for grad in added.values()) > 1e-4
    for name, parameter in both.model.named_parameters():
        expected = without[name].grad + added.get(name, 0.0)
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-9, atol=1e-13, msg=name)


def test_an_extra_loss_may_stand_alone(tiny_folder):
    run = Run("alone", {"contrastive": False, "alpha": 0.0, "max_steps": 12}, extra=True)
    _, records = train(tiny_folder, run)
    assert records[0]["contrastive"] is None
    assert all(r["loss"] == pytest.approx(0.3 * r["spread"]) for r in records)
    assert records[-1]["spread"] < records[0]["spread"]
    with pytest.raises(ValueError, match="alpha is 0"):
        train(tiny_folder, replace(run, extra=False))


def test_pairs_of_a_step_can_be_chosen(tiny_folder):
    trainer = make_trainer(tiny_folder, Run("chosen", extra=True))
    for step in (0, 1, 9):
        plan, pairs = trainer.plan(step), trainer.trained_pairs.pairs[:, every_third(step)]
        assert plan.note_ids.tolist() == pairs.T.ravel().tolist()
        assert sum(prompt.task.name == "hashtags" for prompt in plan.prompts) == round(0.4 * 14)
    trainer.choose_pairs = None
    drawn = [prompt.task for prompt in trainer.plan(0).prompts]
    by_hand = [
        int(np.flatnonzero((pair == trainer.trained_pairs.pairs.T).all(1))[0])
        for pair in trainer.plan(0).note_ids.reshape(-1, 2)
    ]
    trainer.choose_pairs = lambda step: by_hand
    assert [prompt.task for prompt in trainer.plan(0).prompts] == drawn


@pytest.mark.parametrize(
    ("pairs", "error", "message"),
    [
        ([0, 1], ValueError, "a step must have 7 pairs, but has 2"),
        ([0, 1, 2, 3, 4, 5, 40], IndexError, "a pair must be in .0, 40., but is 40"),
        ([0.5] * 7, ValueError, "must be a list of whole numbers, but have shape .7,. and dtype float64"),
    ],
)
def test_wrong_pairs_are_refused(pairs, error, message, tiny_folder):
    trainer = make_trainer(tiny_folder, Run("wrong"))
    trainer.choose_pairs = lambda step: pairs
    with pytest.raises(error, match=message):
        trainer.train()


def test_a_run_resumes_with_its_own_losses_only(tiny_folder, tmp_path):
    run = Run("resumed", {"max_steps": 4}, folder=str(tmp_path), extra=True)
    whole, _ = train(tiny_folder, replace(run, folder=None))
    train(tiny_folder, replace(run, until=2))
    with pytest.raises(DataError, match="must be of a run on the same notes, pairs, hard negatives, prompt"):
        train(tiny_folder, replace(run, resume=True, extra=False))
    resumed, records = train(tiny_folder, replace(run, resume=True))
    assert [record["step"] for record in records] == [2, 3]
    assert all(torch.equal(value, whole[name]) for name, value in resumed.items())


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({"tau": (1.0, spread)}, "a name of its own, but 'tau' is a key of records"),
        ({"mine": (float("nan"), spread)}, "weight of 'mine' must be finite, but is nan"),
    ],
)
def test_wrong_losses_are_refused(losses, message, tiny_folder, notes):
    model = NoteLLM.from_pretrained(tiny_folder, dim=6)
    with pytest.raises(ValueError, match=message):
        Trainer(
            model, notes, np.arange(4), np.arange(1, 5), TrainOptions(pairs_per_step=2), extra_losses=losses
        )


class Weighted(torch.nn.Module):
    """Pooling with a parameter of its own: a softmax over a note's states."""

    def __init__(self, width):
        super().__init__()
        self.query = torch.nn.Parameter(torch.linspace(-1, 1, width))

    def forward(self, states, lengths):
        scores = states @ self.query.to(states.dtype)
        parts = zip(states.split(lengths.tolist()), scores.split(lengths.tolist()), strict=True)
        return torch.stack([weights.softmax(0) @ own for own, weights in parts])


def states_by_hand(model, notes):
    """Of each note: the states from the first slot to the compressed position, computed alone."""
    tokenized = model.prompt.tokenize(notes)
    found = []
    for i in range(len(notes)):
        batch = model.prompt.pack(tokenized, [i], mode="embed")
        assert len(batch.segment_parents) == 1
        plan = model.model.plan(_segments(batch), torch.float64)
        with torch.no_grad():
            states = model.model(torch.tensor(batch.tokens), plan)
        found.append(states[int(batch.root_tokens[0]) : int(batch.compression[0]) + 1])
    return found


def _segments(batch):
    from notellm import _core

    return _core.models.Segments(batch.segment_offsets.tolist(), batch.segment_parents.tolist())


@pytest.mark.parametrize("state", ["before", "at"])
@pytest.mark.parametrize("kind", ["mean", "max", "module"])
def test_pooling_is_what_it_says(kind, state, tiny_folder):
    from notellm.prompts import load_prompt

    notes = make_notes(NOTES, seed=3)
    prompt = replace(load_prompt("paper"), state=state)
    pooling = {"mean": "mean", "max": _largest, "module": Weighted(32)}[kind]
    model = NoteLLM.from_pretrained(tiny_folder, dim=6, prompt=prompt, pooling=pooling).double()
    own = states_by_hand(model, notes)
    lengths = torch.tensor([len(states) for states in own])
    function = mean_pooling if kind == "mean" else pooling
    pooled = function(torch.cat(own), lengths).detach()
    with torch.no_grad():
        projected = pooled @ model.projection.weight.T
    unit = torch.nn.functional.normalize
    found = embed(model, model.prompt.tokenize(notes), dtype="fp64", batch_tokens=300)
    torch.testing.assert_close(found.vectors.double(), unit(projected, dim=1), rtol=0, atol=1e-6)
    assert found.duplicate_notes == 0
    raw = model.embed(notes, dtype="fp64", projected=False)
    torch.testing.assert_close(raw.double(), unit(pooled, dim=1), rtol=0, atol=1e-6)
    batch = model.prompt.pack(model.prompt.tokenize(notes), range(NOTES))
    with torch.no_grad():
        states = model(batch, torch.float64)
    torch.testing.assert_close(states.embeddings, projected, **FP64)


def _largest(states, lengths):
    return torch.stack([own.amax(0) for own in states.split(lengths.tolist())])


def test_pooling_with_parameters_is_trained_and_saved(tiny_folder, tmp_path):
    notes = make_notes(NOTES, seed=3)
    model = NoteLLM.from_pretrained(tiny_folder, dim=6, pooling=Weighted(32))
    before = model.pooling.query.detach().clone()
    source = np.arange(20)
    Trainer(model, notes, source, source + 1, TrainOptions(pairs_per_step=5, lr=1e-2)).train()
    assert not torch.equal(before, model.pooling.query)
    model.save_pretrained(tmp_path / "saved")
    with pytest.raises(DataError, match="pooling must be given, since it was trained with a function"):
        NoteLLM.from_pretrained(tmp_path / "saved")
    again = NoteLLM.from_pretrained(tmp_path / "saved", pooling=Weighted(32))
    assert torch.equal(again.pooling.query, model.pooling.query)
    assert torch.equal(again.embed(notes), model.embed(notes))
    with pytest.raises(DataError, match=r"must hold the tensor pooling.other, but lacks it"):
        NoteLLM.from_pretrained(tmp_path / "saved", pooling=_Other())


class _Other(Weighted):
    def __init__(self):
        super().__init__(32)
        self.other = torch.nn.Parameter(torch.zeros(1))


def test_wrong_pooling_is_refused(tiny, notes, tiny_folder):
    with pytest.raises(ValueError, match="must be one of compression, mean or a function .* but is 'last'"):
        NoteLLM.from_pretrained(tiny_folder, pooling="last")
    model = NoteLLM.from_pretrained(tiny_folder, pooling=_largest)
    with pytest.raises(ValueError, match="must be the model's own and weights 'same', but is .* and 'int8'"):
        model.embed(notes, weights="int8")


def test_extra_losses_are_told_of_the_trainer_s_notes(tiny_folder):
    """Notes without a pair are not tokenised; the numbers are those of the notes all the same."""
    notes, told = make_notes(NOTES, seed=3), []
    source, target = np.array([3, 9, 15, 20]), np.array([5, 11, 20, 23])

    def remember(embeddings, numbers):
        told.append(numbers.tolist())
        return embeddings.sum() * 0

    model = NoteLLM.from_pretrained(tiny_folder, dim=6)
    options = TrainOptions(pairs_per_step=4, max_steps=1)
    Trainer(model, notes, source, target, options, extra_losses={"told": (1.0, remember)}).train()
    assert {tuple(told[0][i : i + 2]) for i in range(0, 8, 2)} == set(
        zip(source.tolist(), target.tolist(), strict=True)
    )


def test_a_run_resumes_with_its_own_model_only(tiny_folder, tmp_path):
    from notellm.prompts import load_prompt

    notes, source = make_notes(NOTES, seed=3), np.arange(20)

    def trainer(**changes):
        model = NoteLLM.from_pretrained(tiny_folder, dim=6, **changes)
        return Trainer(
            model, notes, source, source + 1, TrainOptions(pairs_per_step=5), folder=tmp_path / "run"
        )

    trainer().train(until=2)
    others = ({"layers": 1}, {"pooling": "mean"}, {"prompt": replace(load_prompt("paper"), state="at")})
    for other in others:
        with pytest.raises(DataError, match="must be of a run on the same"):
            trainer(**other).train(resume=True)
    assert [record["step"] for record in trainer().train(resume=True)] == [2, 3]


def test_pooling_can_be_set(tiny_folder, notes):
    model = NoteLLM.from_pretrained(tiny_folder, dim=6)
    plain = model.embed(notes)
    for pooling in (Weighted(32), "mean", _largest, Weighted(32), "compression"):
        model.pooling = pooling
        assert ("pooling.query" in dict(model.named_parameters())) == isinstance(pooling, Weighted)
        assert torch.equal(model.embed(notes), plain) == (pooling == "compression")
    with pytest.raises(ValueError, match="must be one of compression, mean or a function"):
        model.pooling = "max"


def test_a_folder_s_pooling_is_not_contradicted(tiny_folder, tmp_path):
    NoteLLM.from_pretrained(tiny_folder, dim=6, pooling="mean").save_pretrained(tmp_path / "mean")
    assert NoteLLM.from_pretrained(tmp_path / "mean").pooling == "mean"
    with pytest.raises(
        DataError, match="pooling must be mean as it was trained, but compression is asked for"
    ):
        NoteLLM.from_pretrained(tmp_path / "mean", pooling="compression")


def test_adapters_are_saved_with_a_pooling_s_parameters(tiny_folder, notes, tmp_path):
    model = NoteLLM.from_pretrained(tiny_folder, dim=6, pooling=Weighted(32)).add_lora()
    with torch.no_grad():
        model.pooling.query.add_(1.0)
    model.save_peft(tmp_path / "adapters")
    fresh = NoteLLM.from_pretrained(tiny_folder, dim=6, pooling=Weighted(32))
    fresh.load_peft(tmp_path / "adapters")
    assert torch.equal(fresh.embed(notes), model.embed(notes))
    with pytest.raises(NotSupportedError, match=r"for only, but holds pooling\.query"):
        NoteLLM.from_pretrained(tiny_folder, dim=6).load_peft(tmp_path / "adapters")
