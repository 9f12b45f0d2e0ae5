"""The errors that a user's input causes."""

from collections.abc import Sequence


class UserError(ValueError):
    """Bad input: the message says what is wrong, where, and what to type instead.

    The command line prints it and exits with 1, without a traceback.
    """


class InputError(UserError):
    """Files or arguments of the user that cannot be used.

    Args:
        problems: One problem, or all that were found; each names its file or case. They are shown together, one a line.
    """

    def __init__(self, problems: str | Sequence[str]):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type["InputError"], tuple[list[str]]]:
        # The error crosses process borders, and pickle would hand the joined message to the constructor.
        return type(self), (self.problems,)
