"""The demo's own error."""


class DemoError(Exception):
    """The demo cannot go on; the message says why and what to do, and is all the user sees."""
