"""Texts of letters, of which one decides the class, and a tokenizer of letters."""

import numpy as np
import torch

from reuseprior.data import Texts
from reuseprior.models.classformer import Tokenizer


def _tokens(first, second=None, *, truncation, max_length, padding):
    return {"input_ids": [[1, *(ord(c) % 32 + 2 for c in text)][:max_length] for text in first]}


LETTERS = Tokenizer("letters", _tokens)


def texts(n, seed=0):
    """Texts with an a, class 1, and without."""
    random = np.random.RandomState(seed)
    labels = random.randint(2, size=n)
    made = ["".join(random.choice(list("bcdefgh"), random.randint(3, 25))) for _ in range(n)]
    made = [f"a{text}" if label else text for text, label in zip(made, labels, strict=True)]
    return Texts(tuple(made), None, torch.tensor(labels))
