"""The base of all errors that a user's input causes."""


class UserError(ValueError):
    """Bad input: the message says what is wrong, where, and what to type instead.

    The command line prints it and exits with 1, without a traceback.
    """
