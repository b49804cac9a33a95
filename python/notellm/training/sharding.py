"""Weights, gradients and optimizer state in shares: every process keeps some rows of each parameter (FSDP2).

torch's `fully_shard` gathers the weights of a layer before its forward and its backward pass, and afterwards adds up
its gradients and leaves each process its rows of them. Whatever is no layer's (embedding table, head, final norm,
projection) is gathered for a whole step. So the core sees plain, whole tensors in every call.

`fully_shard` changes a module for good. It gets a twin of the model, made of the same parameters; the model itself
stays as it is, and is only without weights while its twin trains.
"""

import copy
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor, nn

from notellm.errors import NotSupportedError
from notellm.models.note_model import NoteModel
from notellm.models.notellm import NoteLLM
from notellm.processes import Processes

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

Module = TypeVar("Module", bound=nn.Module)


def twin_of(module: Module) -> Module:
    """A module with modules of its own and the same parameters: what is done to it leaves the original as it is."""
    twin = copy.copy(module)
    for name, value in module.__dict__.items():
        if isinstance(value, dict):  # parameters, buffers, hooks
            twin.__dict__[name] = copy.copy(value)
    twin._modules = {n: None if child is None else twin_of(child) for n, child in module._modules.items()}
    return twin


class ShardedModel:
    """A model's parameters, divided by rows among processes; scalars such as tau are whole everywhere.

    Args:
        model: Its weights are whole until `divide` is called.
        processes: More than one. All of them must call `divide`, `gather`, `whole` and `weights` together.

    Raises:
        NotSupportedError: If the core does not compute the model.

    Attributes:
        twin: The model to train: of FSDP modules, whose parameters have the same names.
        names: Names of the parameters that are divided.
        is_whole: Whether the model has its whole weights, not the twin its rows.
    """

    def __init__(self, model: NoteModel, processes: Processes) -> None:
        if not isinstance(model, NoteLLM):
            raise NotSupportedError(
                f"train.shard_weights: the core must compute the model, but it is a {type(model).__name__}; try "
                "model.backend=core, or train.shard_weights=false"
            )
        import torch.distributed as dist
        from torch.distributed.device_mesh import DeviceMesh
        from torch.distributed.fsdp import fully_shard

        assert dist.group.WORLD is not None
        self.model, self.processes = model, processes
        self.twin = twin_of(model)
        self._mesh = DeviceMesh.from_group(dist.group.WORLD, model.device.type)
        scalars = {parameter for parameter in model.parameters() if parameter.dim() == 0}
        for part in (*self.twin.model.blocks(), self.twin):
            is_layer = part is not self.twin
            unit = fully_shard(part, mesh=self._mesh, reshard_after_forward=is_layer, ignored_params=scalars)
            unit.set_gradient_divide_factor(1.0)  # the sum: denominators are those of the whole step
            unit.set_force_sum_reduction_for_comms(True)
        self._divided = {
            name: cast("DTensor", p) for name, p in self.twin.named_parameters() if p not in scalars
        }
        self.names = frozenset(self._divided)
        self.is_whole = True

    @torch.no_grad()
    def divide(self) -> None:
        """Takes this process's rows of the model's weights into its twin, and lets go of the whole."""
        for name, parameter in self.model.named_parameters():
            if name in self.names:
                self._rows(name).copy_(self.own_rows(parameter))
                parameter.data = parameter.new_empty(0)
        self.is_whole = False

    @torch.no_grad()
    def gather(self) -> None:
        """Gives the model whole weights on every process; does nothing if it has them."""
        if self.is_whole:
            return
        for name, parameter in self.model.named_parameters():
            if name in self.names:
                parameter.data = self.whole(name, self._rows(name))
        self.is_whole = True

    def pieces(self) -> dict[str, nn.Parameter]:
        """What this process updates of each trained parameter, by name: its rows, or all of a scalar."""
        return {
            name: nn.Parameter(self._rows(name)) if name in self.names else parameter
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad
        }

    def gradient(self, name: str) -> Tensor | None:
        """This process's rows of a divided parameter's gradient."""
        gradient = self._divided[name].grad
        return None if gradient is None else cast("DTensor", gradient).to_local()

    def own_rows(self, whole: Tensor) -> Tensor:
        """This process's rows of a whole parameter, or of what has its shape, as FSDP divides it."""
        size = -(-len(whole) // self.processes.count)
        begin = min(self.processes.rank * size, len(whole))
        return whole[begin : min(begin + size, len(whole))]

    def whole(self, name: str, rows: Tensor) -> Tensor:
        """Joins all processes' rows of a divided parameter, or of what has its shape."""
        from torch.distributed.tensor import DTensor

        of = self._divided[name]
        joined = DTensor.from_local(
            rows, self._mesh, of.placements, run_check=False, shape=of.shape, stride=of.stride()
        )
        return joined.full_tensor()

    def weights(self) -> dict[str, Tensor]:
        """All parameters, by name, on the CPU; for the first process, nothing on the others."""
        found = {}
        for name, parameter in self.model.named_parameters():
            is_divided = name in self.names and not self.is_whole
            whole = self.whole(name, self._rows(name)) if is_divided else parameter.detach()
            if self.processes.is_first:
                found[name] = whole.cpu()
        return found

    def _rows(self, name: str) -> Tensor:
        return cast("DTensor", self._divided[name].detach()).to_local()
