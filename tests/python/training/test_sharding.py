"""The twin of a model: other modules, the same parameters."""

import torch

from notellm.training.sharding import twin_of


def test_a_twin_has_the_parameters_and_other_modules(tiny):
    twin = twin_of(tiny)
    assert type(twin) is type(tiny)
    ours, theirs = dict(tiny.named_parameters()), dict(twin.named_parameters())
    assert ours.keys() == theirs.keys()
    assert all(ours[name] is theirs[name] for name in ours)
    assert not {id(module) for module in tiny.modules()} & {id(module) for module in twin.modules()}


def test_what_is_done_to_a_twin_leaves_the_model(tiny):
    twin, before = twin_of(tiny), dict(tiny.named_parameters())
    twin.model.layers[0].register_forward_pre_hook(lambda *_: None)
    twin.projection.weight = torch.nn.Parameter(torch.zeros(6, 32))
    del twin.model.layers[1]
    assert not tiny.model.layers[0]._forward_pre_hooks
    assert all(value is before[name] for name, value in tiny.named_parameters())
    assert len(tiny.model.layers) == 2
