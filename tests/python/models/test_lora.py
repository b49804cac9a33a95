"""Adapters: they change what they should, cost what they should, and learn alone."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from notellm.app.config import compose
from notellm.app.pipeline.data import Dataset
from notellm.app.pipeline.training import lora_options, train
from notellm.app.run import RunFolder
from notellm.errors import DataError
from notellm.models import lora
from notellm.models.adapter import TARGETS, LoraOptions
from notellm.models.notellm import NoteLLM
from notellm.training import Trainer, TrainOptions

pytestmark = pytest.mark.instruction_set

OPTIONS = LoraOptions(r=3, alpha=6.0)


def stir(model):
    """Adapters and row as if trained: no longer without effect."""
    torch.manual_seed(2)
    for layer in model.model.layers:
        for adapter in layer.adapters.values():
            torch.nn.init.normal_(adapter.lora_B, 0.0, 0.2)
    with torch.no_grad():
        model.model.emb_row += 0.3 * torch.randn_like(model.model.emb_row)
    return model


class Products(TorchDispatchMode):
    """Notes the dtypes of every addmm, which is how adapters are merged."""

    def __init__(self):
        super().__init__()
        self.dtypes = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        if function is torch.ops.aten.addmm.default:
            self.dtypes.append({x.dtype for x in arguments})
        return function(*arguments, **(options or {}))


@pytest.fixture
def adapted(tiny_folder):
    """Makes models of one and the same trained LoRA."""

    def make(options=OPTIONS, dtype=torch.float32):
        return stir(NoteLLM.from_pretrained(tiny_folder, dim=6).add_lora(options)).to(dtype)

    return make


def training_batch(model, notes, step=0):
    tokenized = model.prompt.tokenize(notes)
    sampler = model.prompt.sampler(
        tokenized, np.arange(0, 6), np.arange(6, 12), pairs_per_step=6, hashtag_ratio=0.5, seed=0
    )
    return tokenized, sampler.plan(step).prompts


class TestOptions:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"r": -1}, "LoraOptions: r must be at least 0, but is -1"),
            ({"r": 1.5}, "LoraOptions: r must be an integer, but is the number 1.5"),
            ({"alpha": 0.0}, "LoraOptions: alpha must be above 0, but is 0"),
            ({"dropout": 1.0}, "LoraOptions: dropout must be below 1, but is 1"),
            ({"targets": ()}, "LoraOptions: targets must not be empty"),
            (
                {"targets": ("lm_head",)},
                r"LoraOptions: targets\[0\] must be q_proj, .* or down_proj, but is 'lm_head'",
            ),
        ],
    )
    def test_out_of_range(self, changes, message):
        with pytest.raises(ValueError, match=message):
            LoraOptions(**changes)

    def test_rank_0_is_none(self, tiny_folder):
        with pytest.raises(ValueError, match="add_lora: r must be at least 1, but is 0"):
            NoteLLM.from_pretrained(tiny_folder, dim=6).add_lora(LoraOptions(r=0))

    def test_scale(self):
        assert LoraOptions(r=16, alpha=8).scale == 0.5
        assert LoraOptions(r=16, alpha=8, rslora=True).scale == 2

    def test_the_configuration_asks_for_it_or_not(self):
        assert lora_options(compose([])) is None
        assert lora_options(compose(["lora=default", "lora.dropout=0.1"])) == LoraOptions(dropout=0.1)


class TestWithoutTraining:
    def test_fresh_adapters_change_nothing(self, tiny, notes, loops):
        _, prompts = training_batch(tiny, notes)
        batch = tiny.prompt.pack_rows(tiny.prompt.tokenize(notes), prompts)
        before, vectors = tiny(batch), tiny.embed(notes)
        tiny.add_lora(OPTIONS)
        assert torch.equal(tiny(batch).embeddings, before.embeddings)
        assert torch.equal(tiny(batch).labelled, before.labelled)
        assert torch.equal(tiny.embed(notes), vectors)

    @pytest.mark.parametrize("targets", [TARGETS, ("k_proj", "up_proj"), ("down_proj",)])
    def test_merged_equals_unmerged(self, targets, adapted, notes, loops):
        options = LoraOptions(r=3, alpha=6.0, targets=targets)
        for dtype, limit in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
            apart, merged = adapted(options, dtype), adapted(options, dtype).merge_lora()
            assert not any("adapters" in name for name, _ in merged.named_parameters())
            tokenized, prompts = training_batch(apart, notes)
            batch = apart.prompt.pack_rows(tokenized, prompts)
            a, b = apart(batch, dtype), merged(batch, dtype)
            for name in ("embeddings", "labelled"):
                expected = getattr(b, name)
                scale = expected.abs().max().item()
                torch.testing.assert_close(getattr(a, name), expected, rtol=0, atol=limit * scale)
        assert torch.equal(adapted(options).embed(notes), adapted(options).merge_lora().embed(notes))

    def test_adapters_change_what_generation_says(self, tiny, notes):
        plain = tiny.generate_category(notes, max_new_tokens=4)
        model = stir(tiny.add_lora(OPTIONS))
        own = model.generate_category(notes, max_new_tokens=4)
        assert own != plain
        assert own == model.merge_lora().generate_category(notes, max_new_tokens=4)

    @pytest.mark.parametrize("is_native", [True, False])
    def test_a_bf16_model_is_merged_in_fp32_where_its_own_product_is_a_scalar_loop(
        self, is_native, tiny, native_bf16
    ):
        native_bf16(is_native)
        layer = stir(tiny.add_lora(OPTIONS)).bfloat16().model.layers[0]
        name, adapter = next(iter(layer.adapters.items()))
        weight = lora.linears(layer)[name].weight
        with Products() as products:
            merged = adapter.merged(weight)
        assert products.dtypes == [{torch.bfloat16 if is_native else torch.float32}]
        exact = weight.double() + adapter.scale * adapter.lora_B.double() @ adapter.lora_A.double()
        assert merged.dtype == torch.bfloat16
        torch.testing.assert_close(merged.double(), exact, rtol=2**-8, atol=1e-3)

    def test_so_is_one_that_embeds_unmerged(self, tiny, notes, use):
        use("baseline")  # never has bf16 products
        model = stir(tiny.add_lora(OPTIONS)).bfloat16()
        with Products() as products:
            rows = model.embed(notes, dtype="bf16")
        assert products.dtypes
        assert all(found == {torch.float32} for found in products.dtypes)
        apart = model.float().embed(notes, dtype="fp32")
        assert torch.nn.functional.cosine_similarity(rows, apart).min() > 0.99

    def test_unmerging_restores_every_bit(self, tiny, notes):
        model = stir(tiny.add_lora(OPTIONS))
        before = {name: value.detach().clone() for name, value in model.named_parameters()}
        vectors = model.embed(notes)
        trainable = {name for name, p in model.named_parameters() if p.requires_grad}
        model.merge_lora(keep=True)
        assert model.lora is None
        assert all(p.requires_grad for p in model.parameters())
        assert torch.equal(model.embed(notes), vectors)
        model.unmerge_lora()
        after = dict(model.named_parameters())
        assert after.keys() == before.keys()
        for name, value in before.items():
            if name == "model.embed_tokens.weight":  # the row that reading synchronised is [EMB]'s
                value[model.emb_token_id] = before["model.emb_row"]
            assert torch.equal(after[name], value), name
        assert {name for name, p in model.named_parameters() if p.requires_grad} == trainable
        assert torch.equal(model.embed(notes), vectors)

    def test_saved_is_merged_and_the_model_is_not(self, tiny, notes, tmp_path):
        model = stir(tiny.add_lora(OPTIONS))
        model.save_pretrained(tmp_path / "saved")
        assert model.lora == OPTIONS
        again = NoteLLM.from_pretrained(tmp_path / "saved")
        assert torch.equal(again.embed(notes), model.embed(notes))

    def test_peft_folders_keep_all_that_learned(self, tiny, tiny_folder, notes, tmp_path):
        model = stir(tiny.add_lora(OPTIONS))
        model.tau.data.fill_(1.5)
        model.projection.weight.data.mul_(-2)
        model.save_peft(tmp_path / "adapter")
        again = NoteLLM.from_pretrained(tiny_folder, dim=6).load_peft(tmp_path / "adapter")
        assert again.lora == OPTIONS
        assert again.tau.item() == 1.5
        assert torch.equal(again.embed(notes), model.embed(notes))
        model.save_peft(tmp_path / "adapter")  # replaced
        (tmp_path / "other").mkdir()
        (tmp_path / "other/data").write_text("x")
        with pytest.raises(FileExistsError, match="must be absent, empty or an adapter's folder"):
            model.save_peft(tmp_path / "other")
        (tmp_path / "adapter/checkpoint-1").mkdir()
        with pytest.raises(FileExistsError, match="but holds other files: checkpoint-1; try another folder"):
            model.save_peft(tmp_path / "adapter")
        assert (tmp_path / "adapter/checkpoint-1").is_dir()

    def test_the_seed_decides_the_adapters(self, tiny_folder):
        models = [NoteLLM.from_pretrained(tiny_folder).add_lora(seed=seed) for seed in (1, 1, 2)]
        first, again, other = models
        read = lambda model: model.model.layers[1].adapters["v_proj"].lora_A  # noqa: E731
        assert torch.equal(read(first), read(again))
        assert not torch.equal(read(first), read(other))
        assert read(first).abs().max() <= 32**-0.5  # Kaiming-uniform as in peft

    def test_calls_out_of_order(self, tiny, tmp_path):
        for call in (tiny.merge_lora, lambda: tiny.save_peft(tmp_path)):
            with pytest.raises(ValueError, match=r"the model must have LoRA, but has not; try add_lora\(\)"):
                call()
        with pytest.raises(ValueError, match="unmerge_lora: there must be kept weights, but are none"):
            tiny.unmerge_lora()
        tiny.add_lora().merge_lora(keep=True)
        with pytest.raises(ValueError, match=r"but keeps what it has merged; try unmerge_lora\(\) first"):
            tiny.add_lora()
        with pytest.raises(ValueError, match="add_lora: the model must be without LoRA, but has it"):
            tiny.unmerge_lora().add_lora()

    def test_a_wrapped_part_is_an_error(self, tiny):
        tiny.add_lora(OPTIONS)
        layer = tiny.model.layers[0]
        layer.adapters["q_proj"] = torch.nn.Sequential(layer.adapters["q_proj"])
        with pytest.raises(TypeError, match=r"adapters.q_proj must be an Adapter, .* but is a Sequential"):
            tiny.model.weights()
        layer.self_attn.q_proj = torch.nn.Sequential(layer.self_attn.q_proj)
        with pytest.raises(TypeError, match="q_proj must be a plain Linear"):
            tiny.model.weights()


class TestDropout:
    def states(self, model, tokenized, prompts, mode, seed):
        return model(
            model.prompt.pack_rows(tokenized, prompts, mode=mode), torch.float64, dropout_seed=seed
        ).embeddings

    OPTIONS = LoraOptions(r=3, alpha=6.0, dropout=0.5)

    @pytest.fixture
    def model(self, adapted):
        return adapted(self.OPTIONS, torch.float64)

    def test_masks_do_not_depend_on_the_packing(self, model, notes, loops):
        tokenized, prompts = training_batch(model, notes)
        together = self.states(model, tokenized, prompts, "train", 9)
        alone = torch.cat([self.states(model, tokenized, [prompt], "train", 9) for prompt in prompts])
        inputs = self.states(model, tokenized, prompts[5:] + prompts[:5], "embed", 9).roll(5, 0)
        limit = 1e-10 * together.abs().max().item()
        torch.testing.assert_close(alone, together, rtol=0, atol=limit)
        torch.testing.assert_close(inputs, together, rtol=0, atol=limit)

    def test_the_seed_decides_and_none_is_none(self, model, notes):
        tokenized, prompts = training_batch(model, notes)
        first, again, other = (self.states(model, tokenized, prompts, "train", s) for s in (9, 9, 10))
        assert torch.equal(first, again)
        assert (first - other).norm() > 0.05 * first.norm()
        without = self.states(model, tokenized, prompts, "train", None)
        assert (first - without).norm() > 0.05 * first.norm()
        model.merge_lora()
        torch.testing.assert_close(self.states(model, tokenized, prompts, "train", 9), without)

    def test_steps_and_runs_have_seeds_of_their_own(self):
        seeds = {lora.dropout_seed(seed, step) for seed in range(5) for step in range(50)}
        assert len(seeds) == 250


SOURCE, TARGET = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9]), np.array([2, 1, 4, 5, 3, 7, 8, 6, 10])


def trainer(tiny_folder, notes, folder=None, **changes):
    model = NoteLLM.from_pretrained(tiny_folder, dim=6)
    model.add_lora(LoraOptions(r=4, alpha=8.0, dropout=changes.pop("dropout", 0.0)))
    options = {"pairs_per_step": 3, "epochs": 2, "lr": 5e-3, "lr_head": 1e-2, "alpha": 0.5}
    return Trainer(model, notes, SOURCE, TARGET, TrainOptions(**options | changes), folder=folder)


class TestTraining:
    def test_both_losses_fall(self, tiny_folder, notes):
        records = trainer(tiny_folder, notes, epochs=20, dropout=0.1).train()
        for name in ("contrastive", "generative"):
            first, last = (np.mean([r[name] for r in part]) for part in (records[:6], records[-6:]))
            assert last < 0.8 * first, name

    def test_adapters_projection_tau_and_the_emb_row_learn_alone(self, tiny_folder, notes):
        run = trainer(tiny_folder, notes, weight_decay=0.1)
        model = run.model
        before = {name: value.detach().clone() for name, value in model.named_parameters()}
        run.train()
        for name, value in model.named_parameters():
            if name == "model.embed_tokens.weight":
                assert value.grad is None
                continue
            learns = "lora_" in name or name in ("model.emb_row", "projection.weight", "tau")
            assert torch.equal(value, before[name]) != learns, name
            assert (value.grad is not None) == learns, name
        vectors = model.embed(notes)
        table, old = model.model.embed_tokens.weight, before["model.embed_tokens.weight"]
        others = torch.arange(len(table)) != model.emb_token_id
        assert torch.equal(table[others], old[others])
        assert torch.equal(table[model.emb_token_id], model.model.emb_row)
        assert not torch.equal(table[model.emb_token_id], old[model.emb_token_id])
        assert torch.equal(model.merge_lora().embed(notes), vectors)

    def test_a_resumed_run_is_the_same_run(self, tiny_folder, notes, tmp_path):
        whole = trainer(tiny_folder, notes, tmp_path / "whole", dropout=0.3)
        whole.train()
        trainer(tiny_folder, notes, tmp_path / "parts", dropout=0.3).train(until=2)
        resumed = trainer(tiny_folder, notes, tmp_path / "parts", dropout=0.3)
        resumed.train(resume=True)
        expected = dict(whole.model.named_parameters())
        for name, value in resumed.model.named_parameters():
            assert torch.equal(value, expected[name]), name
        with pytest.raises(DataError, match="must be of a run on the same notes, pairs"):
            trainer(tiny_folder, notes, tmp_path / "parts", dropout=0.2).train(resume=True)

    def test_a_run_of_the_command_line_trains_adapters(self, tiny_folder, notes, tmp_path):
        changes = [f"model.path={tiny_folder}", "model.dim=6", "train.pairs_per_step=3", "train.max_steps=2"]
        folders = []
        for name, more in (("lora", ["lora=default", "lora.r=2", "lora.dropout=0.1"]), ("all", [])):
            run = RunFolder.open(compose([*changes, *more, f"run_dir={tmp_path / name}"]), command=["train"])
            folders.append(train(run, Dataset(notes, None, None, None, None), SOURCE, TARGET))
        adapted, full = (NoteLLM.from_pretrained(folder) for folder in folders)
        base = NoteLLM.from_pretrained(tiny_folder)
        norm = lambda model: model.model.norm.weight  # noqa: E731
        matrix = lambda model: model.model.layers[1].mlp.up_proj.weight  # noqa: E731
        assert torch.equal(norm(adapted), norm(base))
        assert not torch.equal(norm(full), norm(base))
        assert not torch.equal(matrix(adapted), matrix(base))
