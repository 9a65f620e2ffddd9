"""The embedded default: handwritten digits that come with scikit-learn (1,797 of 8×8 pixels).

They are the test part of the UCI set "Optical Recognition of Handwritten Digits" and have no
official parts of their own. Ours: of every class a fifth, rounded, is the test part, chosen with
seed 0: 1,438 images to train on and 359 to test, with the same writers in both. Pixels of 0 to 16
become 0 to 255.
"""

from pathlib import Path

import numpy as np
import torch

from reuseprior.data.sets import Checksum, DataSet, Images, Source, choose_by_class

CHECKSUM = "28ad7a45f2a3692fb8cfec095ff1dca38719effb8aa52a19796d9db6c24dab93"


def _read(root: Path) -> DataSet:
    from sklearn.datasets import load_digits  # takes a second

    pixels, labels = load_digits(return_X_y=True)  # (1797, 64), (1797,)
    images = (pixels.astype(np.int64) * 255 + 8) // 16  # to the nearest, 8 to 128
    digits = Images(
        torch.from_numpy(images.astype(np.uint8)).view(-1, 1, 8, 8),
        torch.from_numpy(labels.astype(np.int64)),
    )
    fifths = np.rint(np.bincount(labels) / 5).astype(int)
    in_test = np.zeros(len(labels), bool)
    in_test[choose_by_class(labels, fifths, np.random.RandomState(0))] = True
    return DataSet.of("digits", 10, digits.take(~in_test), digits.take(in_test))


def _verify(root: Path) -> list[Checksum]:
    checksum = _read(root).checksum
    wrong = f"scikit-learn's digits have checksum {checksum}, not {CHECKSUM}: install it anew"
    why = "pixels, labels and parts are the recorded ones" if checksum == CHECKSUM else wrong
    return [Checksum("sklearn.datasets.load_digits", checksum == CHECKSUM, why)]


def _fetch(root: Path) -> None:
    """Nothing to bring: they are installed."""


DIGITS = Source("digits", _verify, _fetch, _read)
