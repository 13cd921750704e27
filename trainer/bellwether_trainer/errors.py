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
