"""For the Jupyter server, not the kernel: send a widget's answer to the browser at once.

A kernel answers a widget with three small messages: busy, the answer, idle. By default the system
holds the second back until the browser has acknowledged the first, and the browser's side delays
its acknowledgement by some 40 ms in the hope of something to send along (J. Nagle, RFC 896, and
RFC 1122, section 4.2.3.2, together). `PromptConnection` tells the system not to wait. Use it with::

    jupyter lab --ServerApp.kernel_websocket_connection_class=inferkit.widgets.server.PromptConnection
"""

from typing import Any

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection


class PromptConnection(ZMQChannelsWebsocketConnection):  # type: ignore[misc]  # jupyter_server's own
    """A kernel's connection to the browser that does not wait to fill its packets."""

    def connect(self) -> Any:
        """Connect as the base class does, after switching Nagle's algorithm off."""
        self.websocket_handler.set_nodelay(True)
        return super().connect()
