"""AdamW over a model's parameters: parameter groups, learning rates, and which process keeps which state."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from notellm.models.note_model import NoteModel
from notellm.training.options import TrainOptions
from notellm.training.processes import Processes

MOMENTS = ("exp_avg", "exp_avg_sq")
COUNTER = "step"


class Optimizer:
    """Fused AdamW; every process keeps the full state, or (``shard_optimizer``) only that of its share of parameters.

    With shards each process updates its own parameters and sends them to the others; the numbers are the same as
    without. torch's ZeroRedundancyOptimizer does this, too; here the state is sent one tensor at a time rather than
    pickled as a whole, and by name, so that a checkpoint does not depend on the number of processes.

    Args:
        model: Its parameters that require a gradient are trained.
        options: Rates, decay and whether to shard.
        processes: The processes that hold the same parameters.

    Attributes:
        parameters: All trained parameters, by name.
    """

    def __init__(self, model: NoteModel, options: TrainOptions, processes: Processes) -> None:
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.processes = processes
        self.owners = self._assign_owners() if options.shard_optimizer and processes.count > 1 else None
        head = {id(parameter) for parameter in model.own_parameters().values()}
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.parameters.items():
            lr = options.lr_head if id(parameter) in head else options.lr
            decay = options.weight_decay if parameter.dim() > 1 else 0.0
            group = groups.setdefault((lr, decay), [])  # empty if other processes own all of it
            if self._is_own(name):
                group.append(parameter)
        self.adamw = torch.optim.AdamW(
            [
                {"params": p, "lr": lr, "peak_lr": lr, "weight_decay": decay}
                for (lr, decay), p in groups.items()
            ],
            betas=(options.beta1, options.beta2),
            eps=options.eps,
            fused=True,
        )

    def set_rates(self, factor: float) -> None:
        """Sets every learning rate to a share of its peak."""
        for group in self.adamw.param_groups:
            group["lr"] = group["peak_lr"] * factor

    def clip(self, limit: float) -> float:
        """Clips the gradients to a norm; 0 = no clipping.

        Returns:
            The norm before clipping.
        """
        return float(nn.utils.clip_grad_norm_(self.parameters.values(), limit or float("inf")))

    def step(self) -> None:
        """Updates the parameters, which are the same on all processes before and after."""
        self.adamw.step()
        if self.owners is None:
            return
        for owner in range(self.processes.count):
            theirs = [p for name, p in self.parameters.items() if self.owners[name] == owner]
            self.processes.copy_from_(owner, *theirs)

    def state(self) -> dict[str, Tensor]:
        """The whole state by ``NAME.exp_avg``, ``NAME.exp_avg_sq`` and ``NAME.step``, on the CPU.

        All processes must call it; only the first gets the result. A parameter that has not been updated yet has no
        state.
        """
        if self.owners is None and not self.processes.is_first:
            return {}
        has_state = [p in self.adamw.state for p in self.parameters.values()]
        if self.owners is not None:
            device = next(iter(self.parameters.values())).device
            known = torch.tensor(has_state, dtype=torch.int64, device=device)
            self.processes.sum_(known)
            has_state = known.tolist()
        state: dict[str, Tensor] = {}
        for (name, parameter), exists in zip(self.parameters.items(), has_state, strict=True):
            if exists:
                state |= self._parameter_state(name, parameter)
        return state

    def _parameter_state(self, name: str, parameter: nn.Parameter) -> dict[str, Tensor]:
        places = {key: torch.empty_like(parameter) for key in MOMENTS}
        places[COUNTER] = torch.zeros((), device=parameter.device)
        state = {}
        for key, place in places.items():
            value = self.adamw.state[parameter][key] if self._is_own(name) else place.detach()
            if self.owners is not None:
                self.processes.bring_to_first(self.owners[name], value)
            state[f"{name}.{key}"] = value.cpu()
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Loads what `state` returned on the first process; each process keeps the part it owns.

        Raises:
            ValueError: If a tensor is missing or has another shape.
        """
        self.adamw.state.clear()
        for name, parameter in self.parameters.items():
            if not self._is_own(name) or f"{name}.{COUNTER}" not in state:
                continue
            values = {COUNTER: state[f"{name}.{COUNTER}"].to(parameter.device, torch.float32, copy=True)}
            for key in MOMENTS:
                value = state.get(f"{name}.{key}")
                if value is None or value.shape != parameter.shape:
                    found = "it is not there" if value is None else f"is {list(value.shape)}"
                    raise ValueError(f"{name}.{key} must be {list(parameter.shape)}, but {found}")
                values[key] = value.to(parameter.device, parameter.dtype, copy=True)
            self.adamw.state[parameter] = values

    def _is_own(self, name: str) -> bool:
        return self.owners is None or self.owners[name] == self.processes.rank

    def _assign_owners(self) -> dict[str, int]:
        """Assigns each parameter, the largest first, to the process that has the least so far."""
        load = [0] * self.processes.count
        owners = {}
        for name, parameter in sorted(self.parameters.items(), key=lambda item: (-item[1].numel(), item[0])):
            owners[name] = load.index(min(load))
            load[owners[name]] += parameter.numel()
        return owners
