"""The errors of a server that is somewhere else; here so that nothing need be loaded to catch them."""


class RemoteError(RuntimeError):
    """A server that is not there, answers too late, or answers what no server should.

    What the server says against the *rows* is an `InputError`, as it would be from a model in this process.
    """


class RemoteUnavailableError(RemoteError, ConnectionError):
    """A server that gives no answer now, and may give one later: gone, too slow, or busy. No row is to blame."""
