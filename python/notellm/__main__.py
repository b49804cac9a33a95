"""``python -m notellm`` and ``torchrun -m notellm``: the command line."""

import sys

from notellm.app.cli import main

sys.exit(main())
