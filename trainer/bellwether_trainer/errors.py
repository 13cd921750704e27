"""What can go wrong, with the exit code that each kind of trouble gets (sysexits: 64 usage, 65 data, 69, 70)."""


class TrainerError(Exception):
    """Anything that we report in one line instead of a traceback."""

    exit_code = 70


class UsageError(TrainerError):
    """The command line or the recipe asks for something that cannot be done."""

    exit_code = 64


class DataError(TrainerError):
    """A data file is missing, empty, or holds a row that we cannot use; the message names file and line."""

    exit_code = 65


class MissingPieceError(TrainerError):
    """Something that we need (the encoder's weights, say) is not installed."""

    exit_code = 69


def shortage(error: Exception) -> str | None:
    """What torch ran out of, and the remedy; None for any other trouble. It says memory and disk in RuntimeErrors."""
    said = str(error).strip().splitlines()
    first = said[0] if said else type(error).__name__
    if isinstance(error, MemoryError) or any(words in str(error) for words in ("allocate memory", "out of memory")):
        return f"there is too little memory ({first}); free some, or set a smaller --batch where there is one"
    if any(words in str(error) for words in ("PytorchStreamWriter", "iostream", "unexpected pos")):
        return (
            f"a checkpoint cannot be written ({first}); look whether there is room in the --run-dir and --out folders"
        )
    return None
