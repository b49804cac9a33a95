"""Moments in 8 bits: a library's; here one that rounds to bf16 stands for it, with the same calls."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from notellm.errors import NotSupportedError
from notellm.models.notellm import NoteLLM
from notellm.training import Trainer, TrainOptions
from notellm.training.eight_bits import narrowed

SOURCE, TARGET = np.arange(0, 6), np.arange(6, 12)


class Narrow(torch.Tensor):
    """As torchao's state: takes wide numbers of its device by `copy_`, gives them by `dequantize`."""

    def copy_(self, source):
        if source.device != self.device:
            raise RuntimeError(f"a tensor is on {source.device}, not on {self.device}")
        return super().copy_(source.bfloat16().float())

    def dequantize(self):
        return self.as_subclass(torch.Tensor).clone()


class AdamW8bit(torch.optim.Optimizer):
    def __init__(self, params, *, betas, eps):
        super().__init__(params, {"betas": betas, "eps": eps})
        for group in self.param_groups:
            group["lr"] = torch.tensor(group["lr"])

    def _new_buffer(self, p, signed):
        return torch.zeros_like(p).as_subclass(Narrow)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            assert isinstance(group["lr"], torch.Tensor)  # torchao refuses a number
            (beta1, beta2), lr = group["betas"], group["lr"]
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["step"] = torch.tensor(0.0)
                    state["exp_avg"], state["exp_avg_sq"] = (
                        self._new_buffer(p, True),
                        self._new_buffer(p, False),
                    )
                state["step"] += 1
                first = state["exp_avg"].dequantize().lerp(p.grad, 1 - beta1)
                second = state["exp_avg_sq"].dequantize().lerp(p.grad.square(), 1 - beta2)
                state["exp_avg"].copy_(first)
                state["exp_avg_sq"].copy_(second)
                corrected = (second / (1 - beta2 ** state["step"])).sqrt() + group["eps"]
                p.mul_(1 - lr * group["weight_decay"]).sub_(
                    lr * first / (1 - beta1 ** state["step"]) / corrected
                )


@pytest.fixture
def library(monkeypatch):
    package, module = ModuleType("torchao"), ModuleType("torchao.optim")
    module.AdamW8bit = AdamW8bit
    monkeypatch.setitem(sys.modules, "torchao", package)
    monkeypatch.setitem(sys.modules, "torchao.optim", module)


def trainer(tiny_folder, notes, folder, moments="8bit"):
    options = TrainOptions(
        pairs_per_step=3, max_steps=4, lr=1e-2, lr_head=1e-2, dtype="fp32", moments=moments
    )
    return Trainer(NoteLLM.from_pretrained(tiny_folder, dim=6), notes, SOURCE, TARGET, options, folder=folder)


def weights(run):
    return {name: value.detach().clone() for name, value in run.model.named_parameters()}


def test_without_the_library_it_is_refused(tiny_folder, notes, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao", None)
    monkeypatch.setitem(sys.modules, "torchao.optim", None)
    with pytest.raises(
        NotSupportedError, match=r"8bit: torchao must be installed, but is not; try `pip install"
    ):
        trainer(tiny_folder, notes, None)


def test_it_trains_nearly_as_with_full_moments(library, tiny_folder, notes):
    narrow, full = trainer(tiny_folder, notes, None), trainer(tiny_folder, notes, None, "full")
    first = weights(full)
    narrow.train()
    full.train()
    for name, value in weights(full).items():
        change = (value - first[name]).norm()
        assert (weights(narrow)[name] - value).norm() < 0.1 * change, name


def test_a_run_goes_on_bit_for_bit(library, tiny_folder, notes, tmp_path):
    whole, resumed = trainer(tiny_folder, notes, None), trainer(tiny_folder, notes, tmp_path)
    whole.train()
    trainer(tiny_folder, notes, tmp_path).train(until=2)
    state = load_file(tmp_path / "checkpoints/step-0000002/optimizer.safetensors")
    assert {value.dtype for value in state.values()} == {torch.float32}
    resumed.train(resume=True)
    for name, value in weights(whole).items():
        assert torch.equal(weights(resumed)[name], value), name


def test_moments_go_to_the_device_of_the_weights(library):
    """As from a checkpoint, which is read on the CPU, to a GPU; here torch's meta device stands for it."""
    parameter = torch.nn.Parameter(torch.zeros(4, 8, device="meta"))
    optimizer = AdamW8bit([{"params": [parameter], "lr": 0.1}], betas=(0.9, 0.95), eps=1e-8)
    kept = narrowed(torch.ones(4, 8), optimizer, parameter, is_signed=True)
    assert kept.device == parameter.device


def test_real_torchao_gives_back_its_state():
    """Its own tensors go through a checkpoint's form, and come back rounded once more at most."""
    torchao = pytest.importorskip("torchao.optim", reason="torchao is not installed")
    from notellm.training import eight_bits

    parameter = torch.nn.Parameter(torch.randn(64, 256))
    optimizer = eight_bits.adamw(
        [{"params": [parameter], "lr": 1e-3, "weight_decay": 0.0}], betas=(0.9, 0.999), eps=1e-8
    )
    assert isinstance(optimizer, torchao.AdamW8bit)
    for is_signed in (True, False):
        moment = torch.randn(64, 256) if is_signed else torch.rand(64, 256)
        wide = eight_bits.widened(eight_bits.narrowed(moment, optimizer, parameter, is_signed=is_signed))
        assert type(wide) is torch.Tensor
        torch.testing.assert_close(wide, moment, rtol=0.1, atol=0.02)
        again = eight_bits.widened(eight_bits.narrowed(wide, optimizer, parameter, is_signed=is_signed))
        torch.testing.assert_close(again, wide, rtol=0.05, atol=0.02)
