"""The demo's own error."""

from nnunet_ext.errors import UserError


class DemoError(UserError):
    """The demo cannot go on; the message says why and what to do, and is all the user sees."""
