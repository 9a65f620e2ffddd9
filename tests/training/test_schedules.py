import pytest
import torch

from reuseprior.training import Protocol
from reuseprior.training.protocol import average_decay, image_size, learning_rate

STEPS = {
    "schedule": "steps", "step_epochs": 50, "step_factor": 0.2, "learning_rate": 0.8,
    "batch_size": 32, "epochs": 300,
}  # fmt: skip
WARM = {
    "learning_rate": 0.016, "batch_size": 512, "warmup_epochs": 5, "epochs": 300,
    "schedule": "exponential",
}  # fmt: skip
PLAIN = {"learning_rate": 0.1, "batch_size": 256, "epochs": 10}
RATES = [  # protocol, learning rates by epoch
    # two falls during the warm-up
    (WARM, {0: 0, 2.5: 0.016, 5: 0.032 * 0.97**2, 7.1: 0.032 * 0.97**2, 7.3: 0.032 * 0.97**3,
            299.9: 0.032 * 0.97**124}),
    (STEPS, {49.99: 0.1, 50: 0.02, 299: 0.1 / 5**5}),
    (PLAIN | {"schedule": "cosine"}, {0: 0.1, 5: 0.05, 10: 0}),
    (PLAIN | {"schedule": "constant"}, {9: 0.1}),
    (PLAIN | {"batch_size": 64}, {9: 0.025}),
    (PLAIN | {"schedule": "linear", "warmup_epochs": 1}, {0: 0, 0.5: 0.05, 1: 0.1, 5.5: 0.05,
                                                          10: 0}),
]  # fmt: skip


@pytest.mark.parametrize(("options", "rates"), RATES)
def test_learning_rates(options, rates):
    found = {epoch: learning_rate(Protocol(**options), epoch) for epoch in rates}
    assert found == pytest.approx(rates, abs=1e-15)


def test_one_cycle_is_torchs():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    # theirs rises until step pct_start · total_steps - 1, which is to be the 30th of 100
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.2, total_steps=101, pct_start=31 / 101
    )
    protocol = Protocol(schedule="one_cycle", learning_rate=0.4, batch_size=128, epochs=10)
    for step in range(101):
        assert learning_rate(protocol, step / 10) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_images_grow_from_stage_to_stage():
    progressive = Protocol(epochs=8, start_image_size=128, image_size=300, stages=4)
    sizes = [128, 128, 185, 185, 242, 242, 300, 300]
    assert [image_size(progressive, e) for e in range(8)] == sizes
    assert image_size(Protocol(image_size=96), 3) == 96


def test_the_average_forgets_the_first_weights_soon():
    protocol = Protocol(ema_decay=0.9999)
    assert [average_decay(protocol, t) for t in (0, 90, 10**6)] == [0.1, 0.91, 0.9999]
