"""The rule of a step: micro-batches change memory, not the update."""

import numpy as np
import pytest
import torch

from joint_training import Run, make_trainer, train
from notellm.losses import gcl_term
from notellm.models.adapter import LoraOptions

pytestmark = pytest.mark.instruction_set

FP64 = {"rtol": 1e-10, "atol": 1e-12}
FP32 = {"rtol": 1e-5, "atol": 1e-6}


def assert_same_run(ours, theirs, tolerance):
    for name, value in theirs[0].items():
        torch.testing.assert_close(ours[0][name], value, **tolerance, msg=lambda text, n=name: f"{n}: {text}")
    for one, other in zip(ours[1], theirs[1], strict=True):
        for key in ("loss", "contrastive", "generative", "grad_norm"):
            torch.testing.assert_close(one[key] or 0.0, other[key] or 0.0, **tolerance, msg=key)


@pytest.mark.parametrize(
    ("options", "labelled"),
    [
        ({}, "all"),
        ({"csft_reduction": "token"}, "all"),
        ({"mask_same_note": False}, "all"),
        ({"alpha": 0.0}, "all"),
        ({"contrastive": False}, "all"),
        ({"contrastive": False, "csft_reduction": "token"}, "few"),
        ({}, "few"),
        ({}, "none"),
        ({"hashtag_ratio": 1.0}, "all"),
        ({"checkpoint_layers": True}, "all"),
        ({"pairs_per_step": 1}, "all"),
        ({"nested_dims": (2, 5)}, "all"),
        ({"log_q": 1.0}, "all"),
    ],
    ids=str,
)
def test_micro_batches_give_the_update_of_the_whole_batch(options, labelled, tiny_folder):
    whole = train(tiny_folder, Run("whole", options, labelled))
    for micro_pairs in (3,) if options or labelled != "all" else (1, 2, 3, 7, 100):
        cut = train(tiny_folder, Run("cut", options | {"micro_pairs": micro_pairs}, labelled))
        assert_same_run(cut, whole, FP64)


@pytest.mark.parametrize("options", [{}, {"contrastive": False}, {"alpha": 0.0, "log_q": 1.0}], ids=str)
@pytest.mark.parametrize("extra", [False, True], ids=["", "extra"])
def test_micro_batches_give_the_update_of_a_batch_with_negatives(options, extra, tiny_folder):
    whole = train(tiny_folder, Run("whole", options, negatives=2, extra=extra))
    for micro_pairs in (1, 3):
        cut = Run("cut", options | {"micro_pairs": micro_pairs}, negatives=2, extra=extra)
        assert_same_run(train(tiny_folder, cut), whole, FP64)
    assert all(0 < record["negatives"] == record["notes"] - 14 for record in whole[1])
    weights = train(tiny_folder, Run("without", options, extra=extra))[0]
    is_changed = any(not torch.equal(weights[name], value) for name, value in whole[0].items())
    assert is_changed == options.get("contrastive", True)  # they are negatives, and nothing else


@pytest.mark.parametrize("nested_dims", [(), (2, 5)])
def test_micro_batches_give_the_update_in_fp32(nested_dims, tiny_folder):
    # eps above the rounding of gradients: AdamW divides by their size, and would blow up the rounding of the smallest
    options = {"dtype": "fp32", "eps": 1e-3, "nested_dims": nested_dims}
    whole = train(tiny_folder, Run("whole", options))
    for micro_pairs in (1, 3, 4):
        assert_same_run(train(tiny_folder, Run("cut", options | {"micro_pairs": micro_pairs})), whole, FP32)


def joint_loss_by_hand(trainer, plan):
    """Equation 4 of the whole batch, written out: one graph, one note after another."""
    model, options = trainer.model, trainer.options
    batch = model.prompt.pack_rows(trainer.tokenized, plan.prompts)
    states = model(batch, trainer.dtype)
    ids, contrastive, widths = plan.note_ids, 0, [*options.nested_dims, model.dim]
    places = np.bincount(trainer.trained_pairs.pairs.ravel(), minlength=len(trainer.tokenized)).clip(1)
    log_q = options.log_q * torch.from_numpy(np.log(places[ids]))
    for width in widths:
        first = states.embeddings[:, :width]
        unit = first / first.norm(dim=1, keepdim=True)
        scores = unit @ unit.T * model.tau.exp() - log_q
        for i in range(2 * plan.pairs):
            others = (j for j in range(len(ids)) if j != i and ids[j] != ids[i] and ids[j] != ids[i ^ 1])
            seen = sorted({i ^ 1, *others})
            contrastive = contrastive + (scores[i, seen].logsumexp(0) - scores[i, i ^ 1]) / len(widths)
    log_p, notes = model.logits(states.labelled, trainer.dtype).log_softmax(1), []
    for begin, end in zip(batch.label_offsets[:-1], batch.label_offsets[1:], strict=True):
        if begin < end:
            notes.append(-torch.stack([log_p[t, batch.labels[t]] for t in range(begin, end)]).mean())
    generative = torch.stack(notes).mean()
    return (contrastive / (2 * plan.pairs) + options.alpha * generative) / (1 + options.alpha)


@pytest.mark.parametrize("nested_dims", [(), (1,), (2, 3, 5)])
@pytest.mark.parametrize("has_lora", [False, True])
@pytest.mark.parametrize("micro_pairs", [0, 2])
@pytest.mark.parametrize("has_negatives", [False, True])
def test_gradients_are_those_of_the_joint_loss(
    has_negatives, micro_pairs, has_lora, nested_dims, tiny_folder
):
    options = {"micro_pairs": micro_pairs, "nested_dims": nested_dims, "log_q": 0.7 * has_negatives}
    trainer = make_trainer(tiny_folder, Run("step", options, negatives=2 * has_negatives))
    if has_lora:
        trainer.model.add_lora(LoraOptions(r=2, alpha=4.0, dropout=0.0), seed=1)
    plan = trainer.sampler.plan(0)
    assert (len(plan.note_ids) > 14) == has_negatives
    expected = joint_loss_by_hand(trainer, plan)
    names = {name: p for name, p in trainer.model.named_parameters() if p.requires_grad}
    gradients = dict(zip(names, torch.autograd.grad(expected, names.values()), strict=True))
    sums = trainer.joint_step.backward(plan)
    mean = sums.contrastive.sum / sums.contrastive.count
    alpha = trainer.options.alpha
    assert (mean + alpha * sums.generative.sum / sums.generative.count) / (1 + alpha) == pytest.approx(
        expected.item(), rel=1e-12
    )
    for name, parameter in names.items():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-9, atol=1e-13, msg=name)


@pytest.mark.parametrize("anchors", [(0, 10), (0, 4), (4, 10), (2, 4)])
@pytest.mark.parametrize("has_ids", [False, True])
def test_losses_of_own_anchors_add_up_to_the_contrastive_loss(anchors, has_ids):
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(10, 3, dtype=torch.float64, generator=draw, requires_grad=True)
    tau = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    ids = torch.tensor([1, 2, 3, 4, 1, 5, 2, 6, 7, 8]) if has_ids else None
    begin, end = anchors
    parts = [(0, begin), (begin, end), (end, 10)]
    terms = [gcl_term(rows, tau, note_ids=ids, anchors=part) for part in parts if part[0] < part[1]]
    whole = gcl_term(rows, tau, note_ids=ids)
    assert sum(term.count for term in terms) == whole.count
    total = sum(term.sum for term in terms)
    torch.testing.assert_close(total, whole.sum)
    for ours, theirs in zip(
        torch.autograd.grad(total, (rows, tau)), torch.autograd.grad(whole.sum, (rows, tau)), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


class SavedBytes:
    """Counts the bytes that graphs hold for their backward pass, parameters aside, and the most there were at once."""

    class Held:
        """One saved tensor; autograd drops it when its node is done."""

        def __init__(self, owner, tensor):
            self.owner, self.tensor = owner, tensor
            owner.count(tensor, 1)

        def __del__(self):
            self.owner.count(self.tensor, -1)

    def __init__(self, model):
        self.fixed = {p.untyped_storage().data_ptr() for p in model.parameters()}
        self.uses = {}
        self.now = self.peak = 0

    def __enter__(self):
        self.hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: self.Held(self, tensor), lambda held: held.tensor
        )
        self.hooks.__enter__()
        return self

    def __exit__(self, *error):
        self.hooks.__exit__(*error)

    def count(self, tensor, uses):
        storage = tensor.untyped_storage()
        key = storage.data_ptr()
        if key in self.fixed:
            return
        before = self.uses.get(key, 0)
        self.uses[key] = before + uses
        if before == 0 or self.uses[key] == 0:
            self.now += storage.nbytes() if before == 0 else -storage.nbytes()
            self.peak = max(self.peak, self.now)


def peak_of_a_step(tiny_folder, **options):
    trainer = make_trainer(tiny_folder, Run("step", {"dtype": "bf16"} | options))
    with SavedBytes(trainer.model) as saved:
        trainer.joint_step.backward(trainer.sampler.plan(0))
    assert saved.now == 0
    return saved.peak


def test_many_pairs_take_the_memory_of_a_micro_batch(tiny_folder):
    small = max(peak_of_a_step(tiny_folder, pairs_per_step=2, seed=seed) for seed in range(5))
    assert (
        peak_of_a_step(tiny_folder, pairs_per_step=32) > 4 * small
    )  # and more, would notes not share their beginnings
    assert peak_of_a_step(tiny_folder, pairs_per_step=32, micro_pairs=2) < 1.2 * small


def test_checkpointed_layers_hold_less_and_give_the_same_gradients(tiny_folder):
    gradients, peaks = [], []
    for checkpoint_layers in (False, True):
        run = Run("step", {"checkpoint_layers": checkpoint_layers})
        trainer = make_trainer(tiny_folder, run)
        with SavedBytes(trainer.model) as saved:
            trainer.joint_step.backward(trainer.sampler.plan(0))
        gradients.append({name: p.grad for name, p in trainer.model.named_parameters()})
        batch = trainer.model.prompt.pack_rows(trainer.tokenized, trainer.sampler.plan(0).prompts)
        # torch keeps the inputs of checkpointed layers outside of the graph
        inputs = len(batch.tokens) * 32 * 8 * 2
        peaks.append(saved.peak + (inputs if checkpoint_layers else 0))
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value, rtol=1e-12, atol=1e-14, msg=name)
    assert peaks[1] < 0.6 * peaks[0]


@pytest.mark.parametrize("set_of_loops", ["", "none"], ids=["loops", "composed"])
@pytest.mark.parametrize("dtype", ["fp64", "bf16"])
@pytest.mark.parametrize("lora", [None, {"r": 2, "dropout": 0.5}], ids=["all", "dropout"])
def test_computing_a_layer_again_gives_the_same_numbers(lora, dtype, set_of_loops, tiny_folder, use):
    """Dropout is a function, and bf16 rounds the same twice: nothing differs, not even a last bit."""
    use(set_of_loops)
    gradients = []
    for checkpoint_layers in (False, True):
        options = {"checkpoint_layers": checkpoint_layers, "micro_pairs": 3, "dtype": dtype}
        trainer = make_trainer(tiny_folder, Run("step", options, lora=lora))
        trainer.joint_step.backward(trainer.sampler.plan(0), step=1)
        gradients.append({n: p.grad for n, p in trainer.model.named_parameters() if p.requires_grad})
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value, rtol=1e-12, atol=0.0, msg=name)
