"""Types of the extension module; every folder of the core is one submodule with a stub of the same name."""

from . import embedding as embedding
from . import generation as generation
from . import losses as losses
from . import metrics as metrics
from . import mining as mining
from . import models as models
from . import ops as ops
from . import prompts as prompts
from . import retrieval as retrieval
from . import util as util

__version__: str
__torch_version__: str
has_faiss: bool
