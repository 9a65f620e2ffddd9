"""A count that fails, or leaves something, looks through all objects there are in the process."""

import gc

import pytest
import torch

from tests.contexts.zoo import Calls, counted, ones


@pytest.fixture(scope="module", autouse=True)
def what_was_imported_is_set_aside():
    """It is many times what a test makes, and no test keeps a tensor in it."""
    counted(Calls(lambda self, x: x @ self.w + torch.eye(3), w=ones(3, 3)))  # imports the rest
    gc.freeze()
    yield
    gc.unfreeze()
