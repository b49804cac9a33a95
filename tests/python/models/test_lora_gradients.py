"""Adapters' gradients: right, of what learns alone, and without keeping what can be made again."""

from collections import Counter

import pytest
import torch
from test_decoder import BASE
from torch.autograd import gradcheck

from notellm import _core
from notellm.models import lora
from notellm.models.adapter import TARGETS, LoraOptions
from notellm.models.decoder import Decoder

pytestmark = pytest.mark.instruction_set


def small_decoder(dropout=0.0, targets=TARGETS, case=None):
    torch.manual_seed(0)
    fields = BASE | {"model_type": "llama", "num_hidden_layers": 2, "rope_theta": 10000.0} | (case or {})
    decoder = Decoder(fields).double()
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, 1.0 if parameter.dim() == 1 else 0.0, 0.3)
    lora.add(decoder, LoraOptions(r=2, alpha=3.0, dropout=dropout, targets=targets), 7, seed=0)
    for layer in decoder.layers:
        for adapter in layer.adapters.values():
            torch.nn.init.normal_(adapter.lora_B, 0.0, 0.3)
    return decoder


FOREST = _core.models.Segments([0, 3, 7, 9], [-1, 0, 0])
TOKENS = [1, 2, 3, 7, 4, 7, 5, 6, 8]


def plan_of(decoder, read_rows=None, seed=None):
    plan = decoder.plan(FOREST, torch.float64, read_rows)
    return plan if seed is None else _core.models.with_dropout(plan, FOREST, TOKENS, seed)


class TestGradients:
    @pytest.mark.parametrize("read_rows", [None, [8, 4]])
    @pytest.mark.parametrize("seed", [None, 5])
    @pytest.mark.parametrize("case", [{}, {"model_type": "qwen3", "head_dim": 8}], ids=["llama", "qwen3"])
    def test_gradcheck_of_a_layer(self, case, seed, read_rows, loops):
        decoder = small_decoder(0.4, case=case)
        plan, layer = plan_of(decoder, read_rows, seed), decoder.layers[1]
        x = torch.randn(9, 24, dtype=torch.float64, requires_grad=True)
        inputs = (x, *(p for p in layer.parameters() if p.requires_grad))
        assert len(inputs) == 15
        torch.manual_seed(3)  # of fast mode's random projection
        assert gradcheck(lambda *_: layer(x, plan, True), inputs, fast_mode=True)

    @pytest.mark.parametrize("targets", [("q_proj",), ("v_proj", "gate_proj"), ("up_proj",)])
    def test_gradcheck_with_some_targets(self, targets, loops):
        decoder = small_decoder(targets=targets)
        plan, layer = plan_of(decoder, [3, 1]), decoder.layers[0]
        x = torch.randn(9, 24, dtype=torch.float64, requires_grad=True)
        inputs = (x, *(p for p in layer.parameters() if p.requires_grad))
        torch.manual_seed(3)
        assert gradcheck(lambda *_: layer(x, plan, True), inputs, fast_mode=True)

    @pytest.mark.parametrize("seed", [None, 5])
    def test_loops_equal_the_composed_operations(self, seed, use):
        results = []
        for name in ("", "none"):
            use(name)
            decoder = small_decoder(0.4)
            states = decoder(torch.tensor(TOKENS), plan_of(decoder, [8, 4, 2], seed))
            (states * torch.arange(1.0, 25.0)).sum().backward()
            own = {name: p.grad for name, p in decoder.named_parameters() if p.requires_grad}
            results.append((states, own))
        (states, ours), (expected, theirs) = results
        torch.testing.assert_close(states, expected, rtol=0, atol=1e-11)
        for name, gradient in theirs.items():
            scale = float(gradient.abs().max())
            torch.testing.assert_close(ours[name], gradient, rtol=0, atol=1e-11 * scale)

    @pytest.mark.parametrize("seed", [None, 5])
    def test_bf16_is_near_fp32(self, seed):
        results = []
        for dtype in (torch.float32, torch.bfloat16):
            decoder = small_decoder(0.4).float()
            plan = decoder.plan(FOREST, dtype)
            if seed is not None:
                plan = _core.models.with_dropout(plan, FOREST, TOKENS, seed)
            states = decoder(torch.tensor(TOKENS), plan)
            states.square().sum().backward()
            gradients = [p.grad.flatten() for p in decoder.parameters() if p.requires_grad]
            results.append((states.detach().flatten(), torch.cat(gradients)))
        for exact, rounded in zip(*results, strict=True):
            assert (rounded - exact).norm() < 0.05 * exact.norm()

    def test_checkpointed_layers_meet_the_same_masks(self):
        gradients = []
        for checkpoint in (False, True):
            decoder = small_decoder(0.4)
            plan = plan_of(decoder, seed=5)
            decoder(torch.tensor(TOKENS), plan, checkpoint=checkpoint).square().sum().backward()
            gradients.append([p.grad for p in decoder.parameters() if p.requires_grad])
        for a, b in zip(*gradients, strict=True):
            assert torch.equal(a, b)

    def test_a_second_derivative_is_refused(self):
        decoder = small_decoder()
        x = torch.randn(9, 24, dtype=torch.float64, requires_grad=True)
        with pytest.raises(RuntimeError, match="project: the backward pass must run without create_graph"):
            torch.autograd.grad(decoder.layers[0](x, plan_of(decoder)).sum(), x, create_graph=True)

    def test_frozen_weights_get_no_gradient(self):
        decoder = small_decoder()
        decoder(torch.tensor(TOKENS), plan_of(decoder)).sum().backward()
        for name, parameter in decoder.named_parameters():
            assert (parameter.grad is not None) == ("lora" in name or name == "emb_row"), name

    @pytest.mark.parametrize("seed", [None, 5])
    def test_no_input_of_a_product_is_kept(self, seed):
        def kept_of_every_token(decoder):
            shapes = Counter()

            def pack(tensor):
                if tensor.dim() == 2 and tensor.size(0) == len(TOKENS) and tensor.is_floating_point():
                    shapes[tuple(tensor.shape)] += 1
                return tensor

            plan = plan_of(decoder, seed=seed)
            x = torch.randn(9, 24, dtype=torch.float64, requires_grad=True)
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                decoder.layers[0](x, plan)
            return shapes

        wide = {"head_dim": 10}
        adapted, plain = small_decoder(0.4, case=wide), small_decoder(case=wide)
        lora.merge(plain, LoraOptions(r=2, alpha=3.0), keep=False)
        kept = kept_of_every_token(adapted)
        assert kept == kept_of_every_token(plain)
        assert kept[9, 80] == 1  # gate and up side by side, from which the input of down_proj is made
        assert kept[9, 40] == 0  # that input itself
        assert kept[9, 2] == kept[9, 4] == 0  # what goes up
