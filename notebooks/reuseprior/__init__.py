"""The package of the checkout that this folder lies in, whichever one is installed.

Kernels look in the folder of the notebook before they look at what is installed, so a notebook of a
second checkout reads and draws its own, by its own code.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_place = Path(__file__).resolve().parents[2] / "reuseprior" / "__init__.py"
_spec = spec_from_file_location(__name__, _place)
sys.modules[__name__] = module_from_spec(_spec)
_spec.loader.exec_module(sys.modules[__name__])
