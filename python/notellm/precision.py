"""The dtype of matrix products, by name; ``auto`` depends on what the machine multiplies natively."""

import torch

from notellm._core.ops import multiplies_bf16 as cpu_multiplies_bf16

__all__ = ["AUTO", "DTYPES", "Dtype", "compute_dtype", "multiplies_bf16", "remark_on_speed", "resolve_dtype"]

AUTO = "auto"
"""The name that is replaced by another one when a run begins."""

DTYPES = {"fp64": torch.float64, "fp32": torch.float32, "bf16": torch.bfloat16}
"""Names of the dtypes in which the core runs matrix products."""

Dtype = str | torch.dtype
"""A dtype as an argument: its name (``"auto"`` is one, too), or torch's dtype."""


def multiplies_bf16(device: str | torch.device = "cpu") -> bool:
    """Whether a device multiplies bf16 natively.

    Args:
        device: ``"cpu"``, within the limits of the chosen instruction set (`notellm.set_instruction_set`,
            ``ONEDNN_MAX_CPU_ISA``), or ``"cuda"``. For a missing GPU or any other device the answer is no.
    """
    where = torch.device(device)
    if where.type == "cpu":
        return cpu_multiplies_bf16()
    if where.type != "cuda" or not torch.cuda.is_available():
        return False
    with torch.cuda.device(where):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def resolve_dtype(name: Dtype = AUTO, device: str | torch.device = "cpu") -> str:
    """The dtype that a name stands for on a device.

    Args:
        name: ``"auto"``: ``"bf16"`` if the device multiplies it natively, otherwise ``"fp32"``. Or ``"fp32"``,
            ``"bf16"`` or ``"fp64"``, which stay the same on any device; or ``torch.float32`` and the like.
        device: Where the products run: ``"cpu"`` or ``"cuda"``.

    Returns:
        A name of ``DTYPES``.

    Raises:
        ValueError: If the name is none of these.

    Example:
        >>> resolve_dtype("fp32"), resolve_dtype(torch.bfloat16)
        ('fp32', 'bf16')
    """
    if isinstance(name, torch.dtype):
        name = next((known for known, dtype in DTYPES.items() if dtype == name), str(name))
    if name == AUTO:
        return "bf16" if multiplies_bf16(device) else "fp32"
    if name not in DTYPES:
        raise ValueError(f"resolve_dtype: dtype must be auto, fp64, fp32 or bf16, but is {name!r}")
    return name


def compute_dtype(name: Dtype, device: str | torch.device = "cpu") -> torch.dtype:
    """The torch dtype that a name stands for on a device, see `resolve_dtype`.

    Raises:
        ValueError: If the name is unknown.
    """
    return DTYPES[resolve_dtype(name, device)]


def remark_on_speed(name: str, device: str | torch.device = "cpu") -> str:
    """A sentence if a device computes a dtype by way of another one; otherwise empty.

    Args:
        name: A name of ``DTYPES``.
        device: Where the products run.
    """
    if name != "bf16" or multiplies_bf16(device):
        return ""
    unit = "GPU" if torch.device(device).type == "cuda" else "CPU"
    return f"this run computes in bf16, which this {unit} does not multiply natively: no faster than fp32"
