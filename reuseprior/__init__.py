"""The reusability prior, reproducible: count contexts in a model, compare models untrained."""


def __getattr__(name: str) -> str:
    """`__version__`, read when it is asked for.

    So importing this package imports nothing else, and `__main__` can first see to it that nothing
    comes from the current folder.
    """
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

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
