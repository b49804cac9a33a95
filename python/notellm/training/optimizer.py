"""AdamW over a model's parameters: parameter groups, learning rates, and which process keeps which state."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from notellm.models.note_model import NoteModel
from notellm.processes import Processes
from notellm.training import eight_bits
from notellm.training.options import TrainOptions
from notellm.training.sharding import ShardedModel

MOMENTS = ("exp_avg", "exp_avg_sq")
COUNTER = "step"


class Optimizer:
    """AdamW; every process keeps the full state, that of its share of parameters, or that of its rows of each.

    With shares of parameters (``shard_optimizer``) each process updates its own and sends them to the others; with rows
    (``shard_weights``) it updates its rows. The numbers are the same as without. torch's ZeroRedundancyOptimizer
    divides the state, too; here it is sent one tensor at a time rather than pickled as a whole, and by name, so that a
    checkpoint does not depend on the number of processes.

    Args:
        model: Its parameters that require a gradient are trained.
        options: Rates, decay, the form of the moments, and whether to shard.
        processes: The processes that hold the same parameters.
        shards: The model's parameters where they are divided by rows.

    Raises:
        NotSupportedError: If the moments are to have 8 bits, but torchao is not installed.

    Attributes:
        parameters: All trained parameters, by name.
        pieces: What this process updates of them: all, its own, or its rows.
    """

    def __init__(
        self,
        model: NoteModel,
        options: TrainOptions,
        processes: Processes,
        shards: ShardedModel | None = None,
    ) -> None:
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.processes = processes
        self.shards = shards
        has_owners = options.shard_optimizer and processes.count > 1 and shards is None
        self.owners = self._assign_owners() if has_owners else None
        self.pieces = self.parameters if shards is None else shards.pieces()
        if self.owners is not None:
            self.pieces = {name: p for name, p in self.pieces.items() if self.owners[name] == processes.rank}
        head = model.own_parameters()
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.parameters.items():
            lr = options.lr_head if name in head else options.lr
            decay = options.weight_decay if parameter.dim() > 1 else 0.0
            group = groups.setdefault((lr, decay), [])  # empty if other processes own all of it
            if name in self.pieces:
                group.append(self.pieces[name])
        chosen: dict[str, Any] = {"betas": (options.beta1, options.beta2), "eps": options.eps}
        described = [
            {"params": p, "lr": lr, "peak_lr": lr, "weight_decay": decay} for (lr, decay), p in groups.items()
        ]
        self.adamw: torch.optim.Optimizer
        if options.moments == "8bit":
            self.adamw = eight_bits.adamw(described, **chosen)
        else:
            self.adamw = torch.optim.AdamW(described, fused=True, **chosen)

    def set_rates(self, factor: float) -> None:
        """Sets every learning rate to a share of its peak."""
        for group in self.adamw.param_groups:
            lr = group["peak_lr"] * factor
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr

    def gradient_norm(self) -> Tensor:
        """The norm of the whole gradient, the same on all processes; a scalar on the model's device."""
        if self.shards is None:
            return nn.utils.get_total_norm([p.grad for p in self.parameters.values() if p.grad is not None])
        square = torch.zeros((), dtype=torch.float64, device=next(iter(self.pieces.values())).device)
        for name, piece in self.pieces.items():
            is_divided = name in self.shards.names
            gradient = self.shards.gradient(name) if is_divided else piece.grad
            if gradient is not None and (is_divided or self.processes.is_first):
                square += gradient.norm().double().square()
        self.processes.sum_(square)
        return square.sqrt()

    def clip(self, limit: float) -> float:
        """Clips the gradients to a norm; 0 = no clipping.

        Returns:
            The norm before clipping.
        """
        norm = self.gradient_norm()
        if self.shards is not None:
            for name in self.shards.names & self.pieces.keys():
                self.pieces[name].grad = self.shards.gradient(name)
        nn.utils.clip_grads_with_norm_(self.pieces.values(), limit or float("inf"), norm)
        return float(norm)

    def step(self) -> None:
        """Updates the parameters, which are the same on all processes before and after. Goes after `clip`."""
        self.adamw.step()
        if self.shards is not None:
            for name in self.shards.names & self.pieces.keys():
                self.pieces[name].grad = None  # the model's own gradients are all that is left
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
        is_divided = self.owners is not None or self.shards is not None
        if not is_divided and not self.processes.is_first:
            return {}
        has_state = [
            name in self.pieces and self.pieces[name] in self.adamw.state for name in self.parameters
        ]
        if is_divided:
            device = next(iter(self.parameters.values())).device
            known = torch.tensor(has_state, dtype=torch.int64, device=device)
            self.processes.sum_(known)
            has_state = known.tolist()
        state: dict[str, Tensor] = {}
        for name, exists in zip(self.parameters, has_state, strict=True):
            if exists:
                for key in (*MOMENTS, COUNTER):
                    value = self._whole(name, key)
                    if self.processes.is_first:
                        state[f"{name}.{key}"] = value.cpu()
        return state

    def _whole(self, name: str, key: str) -> Tensor:
        """A part of a parameter's state; whole on the first process."""
        like = self.parameters[name].detach()
        if name in self.pieces:
            value = eight_bits.widened(self.adamw.state[self.pieces[name]][key]).to(like.device)
        else:
            value = torch.zeros((), device=like.device) if key == COUNTER else torch.empty_like(like)
        if self.owners is not None:
            self.processes.bring_to_first(self.owners[name], value)
        elif self.shards is not None and name in self.shards.names and key != COUNTER:
            return self.shards.whole(name, value)
        return value

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Loads what `state` returned on the first process; each process keeps the part it owns.

        Raises:
            ValueError: If a tensor is missing or has another shape.
        """
        self.adamw.state.clear()
        for name, piece in self.pieces.items():
            if f"{name}.{COUNTER}" not in state:
                continue
            values = {COUNTER: state[f"{name}.{COUNTER}"].to(piece.device, torch.float32, copy=True)}
            shape = self.parameters[name].shape
            for key in MOMENTS:
                value = state.get(f"{name}.{key}")
                if value is None or value.shape != shape:
                    found = "it is not there" if value is None else f"is {list(value.shape)}"
                    raise ValueError(f"{name}.{key} must be {list(shape)}, but {found}")
                if self.shards is not None and name in self.shards.names:
                    value = self.shards.own_rows(value)
                values[key] = eight_bits.narrowed(value, self.adamw, piece, is_signed=key == MOMENTS[0])
            self.adamw.state[piece] = values

    def _assign_owners(self) -> dict[str, int]:
        """Assigns each parameter, the largest first, to the process that has the least so far."""
        load = [0] * self.processes.count
        owners = {}
        for name, parameter in sorted(self.parameters.items(), key=lambda item: (-item[1].numel(), item[0])):
            owners[name] = load.index(min(load))
            load[owners[name]] += parameter.numel()
        return owners
