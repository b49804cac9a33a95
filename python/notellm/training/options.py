"""What a training run may vary."""

from notellm.loggers import LOGGERS
from notellm.losses import ALPHA, nested_dims_fault
from notellm.options import Options, option
from notellm.precision import AUTO, DTYPES

SEED = option("Of everything drawn at random except the split.", default=0, at_least=0)


class LossOptions(Options):
    """The joint loss, equation (4): (L_cl + alpha L_gen) / (1 + alpha)."""

    contrastive: bool = option(
        'Whether L_cl counts; false leaves the generative loss alone (the paper\'s "w/o GCL").', default=True
    )
    alpha: float = option("Weight of the generative loss; 0 = contrastive only.", default=ALPHA, at_least=0)
    hashtag_ratio: float = option(
        "r: share of a batch's notes that take the hashtag task.", default=0.4, at_least=0, at_most=1
    )
    csft_reduction: str = option(
        "Mean of the generative loss: over a note's tokens, then over notes, or over all tokens.",
        default="note",
        choices=("note", "token"),
    )
    mask_same_note: bool = option(
        "Whether copies of an anchor or of its partner in the batch are no negatives.", default=True
    )
    log_q: float = option(
        "Weight of the logQ correction (Yi et al. 2019): so many times the log of a note's number of places in the "
        "pairs is taken from its scores as a partner and as a negative, so that often related notes, which are "
        "negatives too often, are not pushed away for that. 1 = the whole correction; 0 = none, as in the paper.",
        default=0.0,
        at_least=0,
        added_later=True,
    )
    nested_dims: tuple[int, ...] = option(
        "Ascending widths below model.dim at which the first numbers of an embedding must pick out its partner, too "
        "(Matryoshka): L_cl is the mean, with equal weights, over these widths and the whole one. Vectors can then be "
        "cut to them (embed.dim).",
        default=(),
        at_least=1,
        added_later=True,
    )

    def mismatch(self) -> str:
        """One of the losses must count, and widths ascend."""
        if not self.contrastive and self.alpha == 0:
            return "alpha must be above 0 where contrastive is false"
        return self._dims_mismatch()

    def _dims_mismatch(self) -> str:
        fault = nested_dims_fault(self.nested_dims)
        return f"nested_dims {fault}" if fault else ""


class OptimizationOptions(Options):
    """Optimisation: the paper's batch; the optimizer, which it does not state, is that of its authors' release."""

    pairs_per_step: int = option(
        "B: related pairs of one optimizer step, 2B notes.", default=64, at_least=1, unit="pairs"
    )
    micro_pairs: int = option(
        "Pairs of one process whose graph is in memory at a time; 0 = all of its share of the step. The update is the "
        "same: all B pairs stay one contrastive batch (GradCache). Costs a second forward pass, without a graph, over "
        "the inputs up to [EMB].",
        default=0,
        at_least=0,
        unit="pairs",
        decides_cost=True,
    )
    checkpoint_layers: bool = option(
        "Whether to keep only each layer's input for the backward pass, and compute the rest of the layer again. The "
        "update is the same. Costs one more forward pass.",
        default=False,
        decides_cost=True,
    )
    shard_optimizer: bool = option(
        "Whether each of W processes keeps AdamW's moments for its share of the parameters only. The update is the "
        "same. Saves 8 (1 - 1/W) bytes a parameter on every process; costs a broadcast of the parameters every step.",
        default=False,
        decides_cost=True,
    )
    shard_weights: bool = option(
        "Whether each of W processes keeps only its rows of every weight, gradient and moment (FSDP2); a layer's "
        "weights are gathered before it is computed. The update is the same. It includes shard_optimizer. Saves "
        "1 - 1/W of all these bytes; costs two gathers of the weights in every pass.",
        default=False,
        decides_cost=True,
        added_later=True,
    )
    epochs: int = option("Passes over all pairs.", default=1, at_least=1)
    max_steps: int = option(
        "Steps, whatever the epochs say, fewer or more; 0 = as they say.",
        default=0,
        at_least=0,
        unit="steps",
    )
    lr: float = option("Peak learning rate of the backbone.", default=3e-6, at_least=0)
    lr_head: float = option(
        "Peak learning rate of what starts from nothing: projection, tau, and a pooling's own parameters.",
        default=3e-6,
        at_least=0,
    )
    weight_decay: float = option(
        "Decoupled weight decay of matrices; norms and tau have none.", default=0.001, at_least=0
    )
    warmup_ratio: float = option(
        "Share of the steps over which the learning rate rises linearly; it then falls linearly to 0.",
        default=0.1,
        at_least=0,
        below=1,
    )
    clip_norm: float = option("Largest norm of the whole gradient; 0 = no clipping.", default=1.0, at_least=0)
    beta1: float = option("AdamW's, of the first moment.", default=0.9, at_least=0, below=1)
    beta2: float = option("AdamW's, of the second moment.", default=0.999, at_least=0, below=1)
    eps: float = option("AdamW's, beside the root of the second moment.", default=1e-8, above=0)
    moments: str = option(
        "AdamW's moments: full (as wide as the parameters), or 8bit (a quarter of fp32's bytes, rounded; needs the "
        "torchao package, extra 8bit).",
        default="full",
        choices=("full", "8bit"),
        added_later=True,
    )
    checkpoint_every: int = option(
        "Steps between two checkpoints; 0 = only after the last step.",
        default=100,
        at_least=0,
        unit="steps",
        decides_cost=True,
    )
    validate_every: int = option(
        "Steps between two measurements of recall on validation notes, which are held out from training in groups, "
        "as a share of data.test_fraction; the model with the highest recall becomes the trained one. 0 = none: all "
        "are trained on, and the model of the last step is kept.",
        default=0,
        at_least=0,
        unit="steps",
        added_later=True,
    )
    validate_k: int = option("K of the recall of validation.", default=10, at_least=1, added_later=True)
    patience: int = option(
        "Validations in a row without a higher recall after which the training ends early; 0 = it does not.",
        default=0,
        at_least=0,
        added_later=True,
    )
    loggers: tuple[str, ...] = option(
        "Where the numbers of each step go: jsonl is train.jsonl in the run folder, which the report draws; the others "
        "need a package (extras of the same names), whose own settings say where they send them.",
        default=("jsonl",),
        choices=tuple(LOGGERS),
        each_once=True,
        decides_cost=True,
        added_later=True,
    )
    grad_norms_every: int = option(
        "Steps between two measurements of the norms of both losses' gradients, each by itself; 0 = none. A step with "
        "them costs three.",
        default=0,
        at_least=0,
        unit="steps",
        decides_cost=True,
        added_later=True,
    )


class TrainOptions(OptimizationOptions, LossOptions):
    """Options of a training run: of the optimisation, of the loss, its arithmetic and its seed."""

    dtype: str = option(
        "Of the matrix products: fp32, bf16 (with fp32 master weights) or fp64; auto: see `notellm.resolve_dtype`.",
        default=AUTO,
        choices=(AUTO, *DTYPES),
    )
    seed: int = SEED

    def mismatch(self) -> str:
        """Widths must ascend. A loss of one's own may stand alone, see `Trainer`."""
        return self._dims_mismatch()
