"""What a training run may vary."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of a training run; the defaults are the paper's, or the public release's where the paper is silent."""

    pairs_per_step: int = 64
    """B: related pairs of one optimizer step, 2B notes."""
    micro_pairs: int = 0
    """Pairs of one process whose graph is in memory at a time; 0 = all of its share of the step.

    The update is the same, but for rounding: all B pairs stay one contrastive batch (GradCache). Saves activation
    memory, which is then that of ``micro_pairs`` pairs whatever B is; costs a second forward pass, without a graph,
    over the inputs up to [EMB] (none where ``contrastive`` is false).
    """
    checkpoint_layers: bool = False
    """Whether to keep only each layer's input for the backward pass, and compute the rest of the layer again.

    The update is the same. Saves activation memory: one ``(T, D)`` a layer, and one layer in full, instead of all
    layers in full; costs one more forward pass.
    """
    shard_optimizer: bool = False
    """Whether each of W processes keeps AdamW's moments for its share of the parameters only.

    The update is the same. Saves 8 (1 - 1/W) bytes a parameter on every process (16 in fp64); costs a broadcast of the
    parameters every step. All moments are in CPU memory while a checkpoint is written (on the first process) or read
    (on all). Changes nothing for one process.
    """
    epochs: int = 1
    """Passes over all pairs."""
    max_steps: int = 0
    """Stop after so many steps if that is earlier, or go on for more epochs if it is later; 0 = as epochs say."""
    lr: float = 3e-6
    """Peak learning rate of the backbone."""
    lr_head: float = 3e-6
    """Peak learning rate of what starts from nothing: projection, tau, and a pooling's own parameters."""
    weight_decay: float = 0.001
    """Decoupled weight decay of matrices; norms and tau have none."""
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    warmup_share: float = 0.1
    """Share of the steps over which the learning rate rises linearly; it then falls linearly."""
    clip_norm: float = 1.0
    """Largest norm of the whole gradient; 0 = no clipping."""
    dtype: str = "auto"
    """Of the matrix products: fp32, bf16 (with fp32 master weights) or fp64; auto: see `notellm.resolve_dtype`."""
    alpha: float = 0.01
    """Weight of the generative loss, eq. (4)."""
    hashtag_share: float = 0.4
    """r: share of the notes that take the hashtag task."""
    csft_reduction: str = "note"
    """Mean of the generative loss: per note, then over notes (``note``), or over all tokens (``token``)."""
    contrastive: bool = True
    """Whether the contrastive loss counts; false leaves the generative loss alone (the paper's "w/o GCL")."""
    mask_same_note: bool = True
    """Whether copies of an anchor or of its partner in the batch are kept from being its negatives."""
    seed: int = 0
    """Of the order of pairs, the tasks and the hashtags."""
    checkpoint_every: int = 0
    """Steps between two checkpoints; 0 = only after the last step."""
    tensorboard: bool = False
    """Whether to write TensorBoard events too."""

    def __post_init__(self) -> None:
        self._check("pairs_per_step", self.pairs_per_step >= 1, "at least 1")
        self._check("micro_pairs", self.micro_pairs >= 0, "at least 0")
        self._check("epochs", self.epochs >= 1, "at least 1")
        self._check("max_steps", self.max_steps >= 0, "at least 0")
        for name in ("lr", "lr_head", "weight_decay", "clip_norm", "alpha"):
            self._check(name, getattr(self, name) >= 0, "at least 0")
        self._check("warmup_share", 0 <= self.warmup_share < 1, "in [0, 1)")
        self._check("checkpoint_every", self.checkpoint_every >= 0, "at least 0")

    def _check(self, name: str, holds: bool, what: str) -> None:
        if not holds:
            raise ValueError(f"TrainOptions: {name} must be {what}, but is {getattr(self, name)}")
