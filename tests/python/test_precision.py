"""What dtype=auto becomes, and that every call of the library takes it."""

import contextlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import notellm
from notellm import csft_head_loss, resolve_dtype
from notellm.embedding import embed
from notellm.generation import generate_category, generate_hashtags, score_categories
from notellm.models.backbone import backbone_name
from notellm.models.notellm import NoteLLM
from notellm.precision import compute_dtype, multiplies_bf16, remark_on_speed

CASES = [(True, "bf16"), (False, "fp32")]


@pytest.mark.parametrize(("is_native", "became"), CASES)
def test_auto_is_what_the_cpu_multiplies_natively(is_native, became, native_bf16):
    native_bf16(is_native)
    assert resolve_dtype() == resolve_dtype("auto", torch.device("cpu")) == became
    assert compute_dtype("auto") == {"bf16": torch.bfloat16, "fp32": torch.float32}[became]


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp64"])
@pytest.mark.parametrize("is_native", [True, False])
def test_other_names_stay(name, is_native, native_bf16):
    native_bf16(is_native)
    assert resolve_dtype(name) == name


@pytest.mark.parametrize("name", ["fp16", "", "AUTO", "float32"])
def test_unknown_names_are_refused(name):
    with pytest.raises(
        ValueError, match=f"resolve_dtype: dtype must be auto, fp64, fp32 or bf16, but is '{name}'"
    ):
        resolve_dtype(name)


def test_loops_of_an_older_cpu_multiply_no_bf16(use):
    use("avx2")
    assert not multiplies_bf16()
    assert resolve_dtype() == "fp32"


@pytest.mark.parametrize(
    "switches", [{"NOTELLM_INSTRUCTION_SET": "avx2"}, {"ONEDNN_MAX_CPU_ISA": "AVX2"}, {}], ids=str
)
def test_the_environment_decides_as_it_does_for_the_products(switches):
    if switches and "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this CPU has no AVX2")
    clean = {key: value for key, value in os.environ.items() if key not in SWITCHES}
    code = "import notellm, notellm.precision as p; print(p.multiplies_bf16(), notellm.resolve_dtype())"
    call = [sys.executable, "-c", code]
    said = subprocess.run(
        call, env=clean | switches, capture_output=True, text=True, check=True
    ).stdout.split()
    assert said in ([["False", "fp32"]] if switches else [["False", "fp32"], ["True", "bf16"]])


SWITCHES = ("NOTELLM_INSTRUCTION_SET", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS")


@pytest.mark.parametrize(("is_native", "became"), CASES)
def test_a_gpu_is_asked_itself(is_native, became, native_bf16, monkeypatch):
    native_bf16(not is_native)
    asked = []

    def supported(including_emulation):
        asked.append(including_emulation)
        return is_native

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert resolve_dtype(device="cuda") == became
    assert asked == [False]
    assert ("this GPU does not" in remark_on_speed("bf16", "cuda")) == (not is_native)


def test_what_is_not_there_multiplies_no_bf16(native_bf16, monkeypatch):
    native_bf16(True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_dtype(device="cuda") == resolve_dtype(device="meta") == "fp32"


def test_only_bf16_by_way_of_fp32_is_remarked_on(native_bf16):
    native_bf16(False)
    assert remark_on_speed("fp32") == remark_on_speed("fp64") == ""
    assert "this run computes in bf16, which this CPU does not multiply natively" in remark_on_speed("bf16")
    native_bf16(True)
    assert remark_on_speed("bf16") == ""


@pytest.mark.parametrize(("is_native", "became"), CASES)
def test_library_calls_take_it(is_native, became, native_bf16, tiny, notes):
    native_bf16(is_native)
    other = {"bf16": "fp32", "fp32": "bf16"}[became]
    assert torch.equal(tiny.embed(notes), tiny.embed(notes, dtype=became))
    assert not torch.equal(tiny.embed(notes), tiny.embed(notes, dtype=other))

    def log_probs(**options):
        return score_categories(tiny, notes, ["mail", "games"], **options).log_probs

    assert torch.equal(log_probs(), log_probs(dtype=became))
    assert not torch.equal(log_probs(), log_probs(dtype=other))
    assert generate_category(tiny, notes) == generate_category(tiny, notes, dtype=became)
    assert generate_hashtags(tiny, notes, 2) == generate_hashtags(tiny, notes, 2, dtype=became)


def test_a_dtype_is_a_name_or_torch_s_own(tiny, notes):
    assert resolve_dtype(torch.float64) == resolve_dtype("fp64") == "fp64"
    assert torch.equal(tiny.embed(notes, dtype=torch.float32), tiny.embed(notes, dtype="fp32"))
    batch = tiny.prompt.pack(tiny.prompt.tokenize(notes), range(3), mode="embed")
    assert torch.equal(tiny(batch, torch.float64).embeddings, tiny(batch, "fp64").embeddings)
    for unknown in ("fp16", torch.float16, torch.int8):
        with pytest.raises(ValueError, match="dtype must be auto, fp64, fp32 or bf16, but is"):
            tiny.embed(notes, dtype=unknown)


def test_calls_that_take_notes_leave_the_dtype_to_the_machine():
    named = [embed, NoteLLM.embed, generate_category, generate_hashtags, score_categories]
    assert {default_of(call) for call in named} == {"auto"}
    assert notellm.TrainOptions().dtype == "auto"
    assert {default_of(call) for call in (csft_head_loss, NoteLLM.forward, NoteLLM.logits)} == {"fp32"}


def default_of(call):
    return inspect.signature(call).parameters["dtype"].default


def test_a_backbone_is_named_by_how_its_weights_were_made():
    assert backbone_name("smollm2-135m") == "SmolLM2-135M-Instruct, dequantised from Q4_1"
    assert backbone_name("models/mine") == "models/mine"
    assert backbone_name(Path("models/mine"), layers=2) == "models/mine, its first 2 layers"
