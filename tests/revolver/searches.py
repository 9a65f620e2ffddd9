"""A search so small that a generation takes a tenth of a second."""

from reuseprior import data
from reuseprior import revolver as rv

DIGITS = data.load("digits")
SPACE = rv.Space(
    depths=(6,), widths=(1,), channels=4, groups=2, smallest=4, kernels=(1, 3), unique=0.2
)  # fmt: skip


def small(**changes) -> rv.Settings:
    """Settings of the small search, some replaced."""
    values = {
        "name": "small", "train_images": 300, "test_images": 50, "generations": 6,
        "constant_generations": 3, "population": 6, "sample": 2, "batch_size": 32,
        "learning_rate": 0.1, "minimum_learning_rate": 0.001, "minimum_batches": 3,
        "warmup_generations": 2, "crossover_tries": 10, "keep_modules": 4, "space": SPACE,
    }  # fmt: skip
    return rv.Settings(**values | changes)


def table(search: rv.Search) -> list[dict]:
    """The generations table without the clock."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in search.rows]


def weights(search: rv.Search) -> dict:
    """All tensors of the registry, as lists of bytes."""
    tensors, _ = search.registry.state()
    return {name: tensor.cpu().numpy().tobytes() for name, tensor in tensors.items()}
