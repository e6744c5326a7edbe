"""A witness of what pages do besides what they show: errors, hosts they ask, and how much they receive."""

from __future__ import annotations

from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Dialog, Page

#: This machine, by its names.
OWN_HOSTS = {"127.0.0.1", "localhost"}


class Witness:
    """Watches all pages of the contexts it is given."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.hosts: set[str] = set()

    def watch(self, context: BrowserContext) -> None:
        """Watch a context from before its first page."""
        context.on("console", self._console)
        context.on("weberror", lambda error: self.faults.append(f"page error: {error.error}"))
        context.on("request", lambda request: self._asked(request.url))
        context.on("dialog", self._dialog)
        context.on("page", self._page)

    def check(self) -> None:
        """Fail where something was wrong since the last check."""
        faults, self.faults = self.faults, []
        hosts, self.hosts = self.hosts, set()
        assert not faults, "\n".join(faults)
        assert hosts <= OWN_HOSTS

    def _page(self, page: Page) -> None:
        page.on("websocket", lambda socket: self._asked(socket.url))
        page.on("crash", lambda _: self.faults.append("a page crashed"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(f"console error: {message.text} ({message.location.get('url', '')})")

    def _dialog(self, dialog: Dialog) -> None:
        self.faults.append(f"a dialog opened: {dialog.message}")
        dialog.dismiss()

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss"):
            self.hosts.add(parts.hostname or "")


class Traffic:
    """How much a page receives, in bytes, as Chromium counts it (DevTools protocol, domain Network).

    What comes over HTTP counts as it came over the wire, headers and compression included. A WebSocket's messages
    count with their payload; a binary one comes here in base64, of which four characters hold three bytes.
    """

    def __init__(self, page: Page) -> None:
        self.http = 0
        self.websocket = 0
        session = page.context.new_cdp_session(page)
        session.on("Network.loadingFinished", self._loaded)
        session.on("Network.webSocketFrameReceived", self._received)
        session.send("Network.enable")

    @property
    def total(self) -> int:
        """Bytes received so far."""
        return self.http + self.websocket

    def _loaded(self, event: dict[str, float]) -> None:
        self.http += int(event["encodedDataLength"])

    def _received(self, event: dict[str, dict[str, object]]) -> None:
        response = event["response"]
        payload = str(response["payloadData"])
        self.websocket += len(payload) * 3 // 4 if response["opcode"] == 2 else len(payload.encode())
