"""One sample is counted of what is proven to be a batch; a path that chance decides is refused."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from reuseprior.contexts import CountingError, count_contexts
from tests.contexts.zoo import Calls, ones


def each(self, x):
    return torch.stack([row * self.w[i] for i, row in enumerate(x)])


def in_turn(self, x):
    return torch.stack([row * self.w[i % 2] for i, row in enumerate(x)])


def but_the_middle(self, x):
    y = x * self.v
    return torch.stack([y[0], y[1] + y[2], y[2], y[3]])


OWN = {  # rows of (4, 2): own parameters, or samples that meet
    "a matrix a row": lambda self, x: torch.einsum("td,tdo->to", x, self.square),
    "bmm": lambda self, x: torch.bmm(x[:, None], self.square)[:, 0],
    "a scale a row": lambda self, x: x * self.w,
    "a bias a row": lambda self, x: x * self.v + self.w,
    "a loop": each,
    "otherwise alone": lambda self, x: self.layer(x) if len(x) > 1 else x * self.v,
    "in turn": in_turn,
    "a table of positions": lambda self, x: x * self.v + self.table(torch.arange(len(x))),
    "a convolution of groups": lambda self, x: self.groups(x.view(1, 8, 1)).view(4, 2),
    "two in the middle meet": but_the_middle,
    "the other way round": lambda self, x: (x * self.v).flip(0),
    "so far": lambda self, x: (x * self.v).cumsum(0),
    "one is left alone": lambda self, x: torch.cat([x[:3] * self.v, x[3:]]),
    "rows as one vector": lambda self, x: self.wide(x.flatten()).view(4, 2),
}


def own(forward):
    return Calls(
        forward, w=ones(4, 2), v=ones(2), square=ones(4, 2, 2), table=nn.Embedding(4, 2),
        groups=nn.Conv1d(8, 8, 1, groups=4), wide=nn.Linear(8, 8), layer=nn.Linear(2, 2),
        lstm=nn.LSTM(2, 2, batch_first=True), norm=nn.BatchNorm1d(2),
    )  # fmt: skip


@pytest.mark.parametrize("kind", OWN)
def test_rows_that_meet_or_have_parameters_of_their_own_are_no_batch(kind):
    counts = count_contexts(own(OWN[kind]), (4, 2))
    assert (counts.input_nodes, counts.output_nodes) == (8, 8)


SAMPLES = {
    "a layer": lambda self, x: self.layer(x),
    "a scale": lambda self, x: x * self.v,
    "a loop": lambda self, x: torch.stack([self.layer(row) for row in x]),
    "a norm": lambda self, x: self.norm(self.layer(x)),
    "a sequence": lambda self, x: self.lstm(x[:, None])[0][:, 0],
    "attention within": lambda self, x: (
        (y := x[:, None] * self.v) @ y.mT).softmax(-1).matmul(y)[:, 0],
    "by the number of them": lambda self, x: self.layer(x) * x.shape[0],
    "chance": lambda self, x: self.layer(x) + torch.rand(2),
    "masked alike": lambda self, x: (x * self.v).masked_fill(torch.tensor([True, False]), 0.0),
}  # fmt: skip


@pytest.mark.parametrize("kind", SAMPLES)
def test_of_a_batch_one_sample_is_counted(kind):
    of_one, of_many = (count_contexts(own(SAMPLES[kind]), (n, 2)) for n in (1, 4))
    assert str(of_one) == str(of_many) and of_many.input_nodes == 2


# Chance -----------------------------------------------------------------------------------------

CHANCE = {
    "if": lambda x, f: f(x) if torch.rand(1) > 0.5 else x + f(x),
    "a function's bool": lambda x, f: f(x) if bool((torch.randn(3) > 0).any()) else x + f(x),
    "item": lambda x, f: [x, f(x)][torch.randint(2, ()).item()],
    "an array": lambda x, f: f(x) if torch.rand(3).numpy().sum() > 1 else x + f(x),
    "its shape": lambda x, f: f(x) + x[:, : int(torch.randint(1, 3, ()))],
    "a mask": lambda x, f: f(x)[torch.rand(1, 2) > 0.5],
    "Python, seldom": lambda x, f: f(x) if random.random() > 0.7 else x + f(x),
    "Python's choice": lambda x, f: random.choice([f, torch.relu])(x + f(x)),
    "a number of layers": lambda x, f: [x := f(x) for _ in range(random.randint(1, 4))][-1],
    "NumPy's order": lambda x, f: f(x)[:, np.random.permutation(2)[0]],
}


@pytest.mark.parametrize("kind", CHANCE)
def test_a_path_that_chance_decides_is_refused(kind):
    model = Calls(lambda self, x: CHANCE[kind](x, self.layer), layer=nn.Linear(2, 2))
    for seed in range(3):
        for generator in (torch.manual_seed, random.seed, np.random.seed):
            generator(seed)
        states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
        with pytest.raises(CountingError, match=r"at random|depends on data"):
            count_contexts(model, (1, 2))
        assert states[:2] == (random.getstate(), np.random.get_state()[1].tolist())
        assert torch.equal(states[2], torch.get_rng_state())


NOISE = {
    "added": lambda y: y + torch.randn(2),
    "multiplied": lambda y: y * random.random() * np.random.rand(),
    "dropout": lambda y: nn.functional.dropout(y, 0.5, training=True),
    "drawn and not used": lambda y: y if random.random() < 2 else -y,
    "rows": lambda y: y[:, torch.randperm(2)[:1]],
    "index_select": lambda y: y.index_select(1, torch.randperm(2)[:1]),
    "chosen at random": lambda y: y.gather(1, torch.rand(1, 2).argsort(1)),
}


@pytest.mark.parametrize("kind", NOISE)
def test_noise_decides_no_path(kind):
    model = Calls(lambda self, x: NOISE[kind](self.layer(x)), layer=nn.Linear(2, 2))
    found = set()
    for seed in range(4):
        random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
        found.add(str(count_contexts(model, (1, 2))))
    assert len(found) == 1
