"""`python -m reuseprior` is the command `reuseprior`."""

import os
import sys

if not sys.flags.safe_path:
    # Python puts the current folder first, where any file could stand in for a module. What a
    # folder holds is not to be run by counting a model in it.
    del sys.path[0]
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if here not in sys.path:  # a checkout that is not installed
        sys.path.append(here)

from reuseprior.cli import main

main()
