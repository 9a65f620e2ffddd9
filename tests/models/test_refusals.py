"""What no model can be, do or take: one sentence that says what to mend."""

from functools import partial

import pytest
import torch
from torch import nn

from reuseprior import models
from reuseprior.measures.measuring import Conventions
from reuseprior.models import affine_vae, catalog
from reuseprior.models.affine_vae import VAE, AffineVAE, Halving, Restarts, Transforms
from reuseprior.models.classformer import Classformer, Schedule, Space, shallower
from reuseprior.models.darts import darts
from reuseprior.models.efficientnet_v2 import parse_stage
from tests.models.test_classformer import SMALL, made, small, tokens

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|"
NO_CELL = "is no cell of NAS-Bench-201: write six digits"
NAMES = [  # of models, and the sentence
    ("efficientnetv2-b9", "unknown model 'efficientnetv2-b9', did you mean 'efficientnetv2-b"),
    ("quux", "unknown model 'quux': `reuseprior models` lists the names"),
    ("torchvision:resnet5", "torchvision has no classifier 'resnet5', did you mean 'resnet50'"),
    ("torchvision:", "torchvision has no classifier '': torchvision.models.list_models"),
    ("nas-bench-201:", f"'' {NO_CELL}"),
    ("nas-bench-201:333335", f"'333335' {NO_CELL}"),
    (f"nas-bench-201:{CELL.replace('3x3~0', '3x2~0')}", "no operation, did you mean 'nor_c"),
    (f"nas-bench-201:{CELL.replace('~2', '~1')}", NO_CELL),
    ("nas-bench-macro:0123", "'0123' is no network of NAS-Bench-Macro: write eight digits"),
    ("nas-bench-macro:00000003", "is no network of NAS-Bench-Macro"),
    ("transnas-macro:1111", "is no macro network of TransNAS-Bench-101: write four to six"),
    ("transnas-macro:444411", "is no macro network"),
    ("transnas-micro:333334", "'333334' is no cell of TransNAS-Bench-101"),
    ("flexibert:256", "is no FlexiBERT encoder: write the hidden size and the layers"),
    ("flexibert:256-sa.dft.4.1024x3", "is no FlexiBERT encoder"),
    ("flexibert:255-sa.sdp.4.1024x3", "is no FlexiBERT encoder"),
    ("random-cells:-1", "is no number of a network of random cells"),
    ("random-cells:", "is no number of a network of random cells"),
]

WIDTH, CLASSES = "width is 0.0: it must be above 0", "num_classes is 0: it must be 1 or more"
MOMENTUM = "bn_momentum is 2.0: it must be above 0 and at most 1"
b0, resnet = partial(models.efficientnet_v2, "b0"), models.cifar_resnet
BUILT = [
    *(
        (partial(build, **{option: value}), sentence)
        for build in (partial(resnet, 20), models.cifar_xception, models.cifar_mobilenet, b0)
        for option, value, sentence in (
            ("width", 0.0, WIDTH), ("num_classes", 0, CLASSES), ("bn_momentum", 2.0, MOMENTUM),
        )
    ),
    (lambda: b0(width=float("nan")), "^width is nan: it must be above 0$"),
    (lambda: b0(dropout=1), "^dropout is 1: it must be at least 0 and below 1$"),
    (lambda: b0(dropout=-0.1), "dropout is -0.1: it must be at least 0"),
    (lambda: b0(survival=0), "^survival is 0: it must be above 0 and at most 1$"),
    (lambda: b0(survival=1.5), "survival is 1.5: it must be above 0 and at most 1$"),
    (lambda: models.efficientnet_v2("b4"), "no size 'b4': choose from b0, b1, b2, b3, s, m, l"),
    (lambda: parse_stage("ir_r6"), "cannot read stage 'ir_r6': write it like"),
    (lambda: resnet(21), r"depth is 21: it must be 6n \+ 2 for a whole n, as 20, 32"),
    (lambda: resnet(2), "depth is 2: it must be"),
    (lambda: models.wide_resnet(18, 2), r"depth is 18: it must be 6n \+ 4 for a whole n, as 16"),
    (lambda: models.wide_resnet(16, 0), "widening is 0: it must be 1 or more"),
    (lambda: models.densenet_bc(18, 4), "depth is 18 and growth 4: depth must be 6n"),
    (lambda: models.vs_xception(narrowing=3), "narrowing is 3: it must be 1, 2, 4, 8 or 16"),
    (lambda: darts("third"), "no order 'third': choose from first, second"),
    (lambda: darts("first", cells=2), "cells is 2: two cells halve the image"),
    (lambda: models.MLP(0, 3), "width and depth of 1 or more, got 0 and 3"),
    (lambda: models.MLP(3, 0), "width and depth of 1 or more, got 3 and 0"),
    (lambda: models.CNN(4, 2, kernel_size=2), "kernel_size 2 is even"),
    (lambda: models.CNN(4, 0), "channels and depth of 1 or more, got 4 and 0"),
    (lambda: models.CNN(0, 4), "channels and depth of 1 or more, got 0 and 4"),
]  # fmt: skip

UNDONE = "^map 1 of the batch has determinant 0, or all but 0, so nothing undoes it: give every "
EMPTY = "^input 1 of the batch is empty, so no transform can be found: leave empty grids out$"
TAKES = r"this VAE takes \(batch, 1, 40, 40\): pad them to equal"
HALVES = "the VAE halves it twice, so choose 8 or 12 or 16"
in_space = AffineVAE(VAE(3, 8, dimensions=3, width=0.25), Transforms(3), Restarts(2, 1, 1))
grids = torch.stack([torch.ones(1, 8, 8, 8), torch.zeros(1, 8, 8, 8)])
TRANSFORMED = [  # of the affine VAE
    (lambda: VAE(0, 40), "latent is 0: a VAE needs at least 1 latent number"),
    (lambda: VAE(2, 30), f"side is 30: {HALVES}"),
    (lambda: VAE(2, 4), f"side is 4: {HALVES}"),
    (lambda: VAE(2, 40, dimensions=1), "dimensions is 1: choose 2 for images or 3 for voxels"),
    (lambda: VAE(2, 40, width=0), "width is 0: it multiplies channels, so choose more than 0"),
    *(
        (lambda shape=shape: VAE(2, 40).encode(torch.zeros(shape)), TAKES)
        for shape in ((1, 1, 40, 28), (1, 3, 40, 40), (1, 1, 28, 28))
    ),
    (lambda: VAE(2, 8)(torch.rand(1, 1, 8, 8)), "one input of side 8 leaves batch norm one value"),
    (lambda: affine_vae.misfit("poisson", grids, grids), "is 'poisson': choose gaussian or bern"),
    (lambda: AffineVAE(VAE(2, 8), Transforms(2), likelihood="poisson"), "likelihood is 'poisson'"),
    (
        lambda: AffineVAE(VAE(3, 8), Transforms(3)),
        "transforms have 3 dimensions and the VAE 2: give",
    ),
    (lambda: in_space(grids[:0]), "the batch is empty: give one input or more"),
    (lambda: in_space(grids), EMPTY),
    (lambda: affine_vae.inverse(torch.stack([torch.eye(2, 3), torch.zeros(2, 3)])), UNDONE),
    (lambda: affine_vae.inverse(torch.full((1, 3, 4), torch.nan)), "map 0 of the batch is not fin"),
    (lambda: affine_vae.warp(torch.zeros(1, 1, 28, 40), torch.eye(2, 3)[None]), "sides 28 × 40: p"),
    (lambda: affine_vae.padded(torch.zeros(1, 1, 40, 28), 28), "40 × 28 and the canvas 28: choose"),
    (lambda: Restarts(0), "starts of a search is 0: choose 1 or more"),
    (lambda: Restarts(kept=0), "kept of a search is 0: choose 1 or more"),
    (lambda: Restarts(steps=-1), "steps of a search is -1: choose 0 or more"),
    (lambda: Halving(4, ((0, 2),)), "kept of a search is 0: choose 1 or more"),
]

three = Schedule.plain(3)
TEXTS = [  # of transformers and Classformers
    *(
        (partial(Schedule.parse, text), "no schedule: write a gamma for every layer")
        for text in ("", "1,,2", "1,2+", "1;2", "a", "1,2+8+8")
    ),
    (lambda: Schedule((1, 0)), r"gamma is \(1, 0\) and eta 0"),
    (lambda: shallower(small(), 4), "4 layers of 3"),
    (lambda: Classformer(Schedule.plain(2), 2, SMALL), "schedule is of 2 layers and the encoder"),
    (lambda: Classformer(three, 2, SMALL, Space(2)), "the space is of 2 layers and"),
    (lambda: small()(tokens(71)), "71 tokens is longer than the 70 positions"),
    (lambda: Classformer.load("nowhere"), r"holds no classformer\.json"),
    (lambda: Classformer.adopt(nn.Linear(2, 2), three, 2), "Linear is a Linear, whose"),
    (lambda: Classformer.adopt(made("DistilBert"), three, 2), "is a distilbert"),
    (lambda: Classformer.adopt(made("Bert", hidden_act="relu"), three, 2),
     "is a bert, whose layers may be others"),
    (lambda: Conventions(tokens=3, embedded=True).inputs("torch.nn:Identity", nn.Identity()),
     "embeddings can be the input of hf: models only"),
]  # fmt: skip
TABLE = [*((partial(catalog.find, name), s) for name, s in NAMES), *BUILT, *TRANSFORMED, *TEXTS]


@pytest.mark.parametrize(("ask", "sentence"), TABLE)
def test_what_cannot_be_is_one_sentence(ask, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        ask()
    assert "\n" not in str(caught.value)
