"""What the files that are read must hold, as types; msgspec compares.

Whatever lies in a file may have been written by an older package, a hand, another program or a
failing disk. So it is compared with its schema as it is read, and what does not fit is refused
with the field's name. A schema names the fields that code relies on; others may stand beside them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any, Literal, NotRequired, Required, TypedDict, TypeVar

import msgspec

from reuseprior.errors import UserError

T = TypeVar("T")


class SchemaError(UserError):
    """Content that is not JSON, or not of the types that were asked for."""


class Summary(TypedDict, total=False):
    """`summary.json` of a run; `Resumable` has its two fields besides."""

    state: Required[Literal["finished", "interrupted"]]
    start: str
    end: str
    wall_seconds: float
    digest: str  # of all else in it
    files_sha256: dict[str, str]  # of its other files, as they were when the run was finished
    commits: list[str | None]
    commit: str | None  # of an older package
    reason: str | None
    # provenance
    seed: int
    data_checksum: str | None
    reuseprior: str
    python: str
    torch: str
    torchvision: str
    accelerate: str
    platform: str
    device: str
    instructions: str
    threads: int
    processes: int
    # of a training
    protocol: str
    epochs: int
    parameters: int
    test_accuracy: float | None
    test_loss: float | None
    images_per_second: float | None
    peak_memory_bytes: int
    # of a search
    preset: str
    mode: str
    generations: int
    best_generation: int
    best_individual: int
    validation_accuracy: float
    validation_loss: float
    mean_validation_accuracy: float | None
    trainings: int
    batches: int
    individuals: int
    sharing_factor: float
    shared_share: float
    distinct_parameters: int


class Resumable(Summary):
    """What a summary must say besides for a run to go on."""

    start: str
    wall_seconds: float


class Config(TypedDict, total=False):
    """`config.json` of a run."""

    data: str
    images: dict[str, int]
    data_checksum: str | None
    seed: int
    processes: int
    parameters: int
    model: str
    sharing: str
    classes: int
    task: str
    protocol: dict[str, Any]
    settings: dict[str, Any]  # of a search, which checks each by its name


class Counts(TypedDict):
    """A model's quantities in the user's cache; null stands for a logarithm of nothing."""

    parameters: int
    weight_nodes: int
    input_nodes: int
    output_nodes: int
    log2_contexts: float | None
    expected_spread: float | None
    entropy: float | None
    total_surprisal: float | None
    P_G: float | None
    P_G_spread: float | None


class Stamp(TypedDict):
    """The record of a notebook that was run, in `build/stamps` and `build/failed`."""

    seconds: float
    failure: str
    facts: dict[str, str]
    products: dict[str, str]  # their digests


class Holder(TypedDict):
    """Who has a lock, in the lock's file."""

    command: str
    process: Annotated[int, msgspec.Meta(ge=1)]
    host: str
    start: str


class CellMetadata(TypedDict, total=False):
    """What a cell says of itself."""

    tags: list[str]


class Cell(TypedDict, total=False):
    """A cell of a notebook."""

    cell_type: Required[Literal["code", "markdown", "raw"]]
    metadata: Required[CellMetadata]
    source: Required[str | list[str]]
    id: str
    execution_count: int | None
    outputs: list[dict[str, Any]]


class Notebook(TypedDict, total=False):
    """A notebook, as Jupyter writes it."""

    cells: Required[list[Cell]]
    metadata: Required[dict[str, Any]]
    nbformat: int
    nbformat_minor: int


Size = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class ClassformerSizes(TypedDict):
    """What a Classformer's encoder is built of."""

    layers: Size
    width: Size
    heads: Size
    hidden: Size
    vocabulary: Size
    positions: Size
    first_position: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    segments: Size
    epsilon: float
    dropout: Annotated[float, msgspec.Meta(ge=0, le=1)]


class Classformer(TypedDict):
    """What `classformer.json` says of the weights beside it."""

    schedule: str
    classes: Size
    sizes: ClassformerSizes


Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]


class TrialAttributes(TypedDict):
    """What a trial says of itself in the log of a search for a schedule."""

    schedule: str
    score: float
    share: float


class Place(TypedDict):
    """Where the training stands that a checkpoint is of."""

    epoch: int
    batch: int
    seconds: Seconds
    rows: NotRequired[str]  # a digest of those before it
    best_epoch: NotRequired[Annotated[int, msgspec.Meta(ge=1)]]  # with patience
    best_score: NotRequired[Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]]


def decode(content: str | bytes) -> Any:
    """The value that JSON text stands for; raises `SchemaError` where it is none.

    >>> decode('{"seed": 1}')
    {'seed': 1}

    Strictly: no NaN or infinity, no number beyond a float's range. What is nested deeper than
    Python follows, some hundred levels, is refused as well.
    """
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeError) as error:  # no UTF-8; half of a surrogate pair
        raise SchemaError(f"is not whole JSON ({error})") from error
    except RecursionError as error:
        raise SchemaError("is nested too deep to be read") from error


def fitting(value: T, schema: Any) -> T:
    """The value itself, if it is of the types of a schema; raises `SchemaError` if not.

    >>> fitting({"epoch": True, "batch": 0, "seconds": 0.5}, Place)
    Traceback (most recent call last):
    ...
    reuseprior.schemas.SchemaError: does not hold what it should (Expected `int`, got `bool` - at `$.epoch`)
    """  # noqa: E501
    converted(value, schema)
    return value


def converted(value: Any, schema: type[T]) -> T:
    """The value as a schema has it, such as a dataclass of a dictionary; objects stay as they are.

    Raises `SchemaError` as `fitting` does.
    """
    try:
        return msgspec.convert(value, schema)
    except msgspec.ValidationError as error:
        raise SchemaError(f"does not hold what it should ({error})") from error


def read(content: str | bytes, schema: Any) -> Any:
    """What `decode` gives, if it is `fitting`."""
    return fitting(decode(content), schema)


DIGEST = "digest"


def digest(value: Mapping[str, Any]) -> str:
    """Of all that a JSON object says but its digest; it tells damage and slips, no forger's."""
    held = json.loads(json.dumps({key: inner for key, inner in value.items() if key != DIGEST}))
    return sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with its digest, which `unsealed` compares."""
    return {**value, DIGEST: digest(value)}


def unsealed(content: bytes, schema: Any) -> Any:
    """What was sealed, without its digest; raises `SchemaError` where it is another, as `read`."""
    value = read(content, dict[str, Any])
    if value.pop(DIGEST, None) != digest(value):
        raise SchemaError("is not as it was written: its digest is another")
    return fitting(value, schema)
