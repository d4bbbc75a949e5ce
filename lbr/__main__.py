"""`python -m lbr`."""

import sys

from lbr.cli import main

sys.exit(main())
