"""Files that are whole at any moment."""

import os
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Write a file that is either the old one or the new one, never a part of it.

    ```python
    write(Path("build/ledger.json"), b"[]")
    ```

    The folder must exist. Raises OSError where the disk is full or the folder read-only.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # or a power cut may put the name before the content
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
