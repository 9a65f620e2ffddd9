"""The reusability prior, reproducible: count contexts in a model, compare models untrained.

>>> import reuseprior as rp
>>> rp.compare({"a": net, "b": other}, (1, 3, 224, 224))  # doctest: +SKIP

What most users need stands here; it is loaded when it is first asked for.
"""

_FRONT = {
    "compare": "measures.comparing",  # models in memory, ranked
    "count_contexts": "contexts",  # one model's counts, with table(), plot() and draw()
    "trace_model": "contexts",  # a model's trace, to count it more than once
    "Graph": "contexts",  # an explicit graph, small enough to draw
    "rule": "contexts",  # registers a counting rule for an operator
    "CountingError": "contexts",  # what cannot be counted, and why
    "derive": "quantities",  # the thesis's quantities, from counts alone
    "Quantities": "quantities",
    "build": "models",  # a model by its name
    "sharing": "",  # ways to let layers share parameters: sharing.apply(model, spec)
}

__all__ = list(_FRONT)


def __getattr__(name: str):
    """A name of the front, or `__version__`, read when it is asked for.

    So importing this package imports nothing else, and `__main__` can first see to it that nothing
    comes from the current folder.
    """
    from importlib import import_module

    if name == "__version__":
        return _version()
    place = {**_FRONT, "record_model": "contexts"}.get(name)  # the old name of trace_model
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{place or name}")
    return getattr(module, name) if place else module


def __dir__() -> list[str]:
    return sorted({*globals(), *_FRONT, "__version__"})


def _version() -> str:
    import tomllib
    from importlib import metadata
    from pathlib import Path

    try:
        return metadata.version(__name__)
    except metadata.PackageNotFoundError:
        # Run from a checkout that is not installed (PYTHONPATH=.): its pyproject.toml says the
        # version. Where that is missing too, the import fails; no version is made up.
        pyproject = Path(__file__).parents[1] / "pyproject.toml"
        return tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["version"]
