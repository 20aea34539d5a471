"""Settings files on disk."""

from pathlib import Path

from protocol.errors import InvalidSettings


def read_text(path: Path) -> str | None:
    """A settings file's text; None where there is none.

    :raises InvalidSettings: for a file that cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(str(path), f"cannot be read: {error}", "correct or remove the file") from error
