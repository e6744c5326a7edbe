"""The explorer as a page of its own: Voila serves the notebook on this machine.

Departs from the command ``voila`` in five places: it binds its port before anything else, so that a taken one is known
at once and the kernels are told the right one; it finds our page template by itself, in a checkout and in an installed
wheel alike; it keeps one kernel started and its page computed ahead, because a cold start is mostly imports; it loads
only the browser extensions that the page needs; and it is quiet: one line with the address, then warnings only.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import webbrowser
from pathlib import Path
from types import FrameType
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.web import GZipContentEncoding
from traitlets.config import Config as ServerConfig
from voila.app import Voila
from voila.shutdown_kernel_handler import VoilaShutdownKernelHandler

from explorer.bundled import asset_path

TEMPLATE = "ppo-explorer"

#: What the page needs of the browser extensions that happen to be installed; the others would only slow its start.
EXTENSIONS = ["@voila-dashboards/widgets-manager8", "@jupyter-widgets/jupyterlab-manager", "anywidget"]

#: Seconds after which a kernel ends that does nothing and has no page: that of a browser that crashed, or of a computer
#: that fell asleep, which say no goodbye. It holds half a gigabyte; its run is on disk, and a reload goes on with it.
#: Looked for seldom, since one that a page has just been given is not connected for a second.
ABANDONED_SECONDS, LOOKED_FOR_SECONDS = 3600, 900

#: How many ports after the wanted one are tried.
PORTS_TRIED = 50


def serve(notebook: Path, *, host: str, port: int, theme: str, open_browser: bool) -> None:
    """Serve a notebook as a page until Ctrl-C or SIGTERM, which end its kernels too.

    Args:
        notebook: the notebook to show.
        host: the address to listen on.
        port: the port to listen on; the next free one is taken where it is in use, any free one where it is 0.
        theme: ``light`` or ``dark``.
        open_browser: whether to open the page in a browser, where there is one.

    Raises:
        FileNotFoundError: the notebook does not exist.
        ValueError: the address is not one of this machine, or no port is free.
    """
    if not notebook.is_file():
        raise FileNotFoundError(errno.ENOENT, "there is no such notebook", str(notebook))
    listening = listen(host, port)
    actual = listening.getsockname()[1]
    if port and actual != port:
        print(f"Port {port} is taken: using {actual}.", flush=True)

    _prepare_environment()
    server = _PageServer(
        config=_configuration(theme),
        notebook_path=str(notebook.resolve()),
        ip=host,
        port=actual,
        log_level=logging.WARNING,
        config_file_paths=[],  # a voila.json of another project in the working directory has no say here
    )
    server.listening = listening
    server.wanted_browser = open_browser
    for logger in (server.log, logging.getLogger("tornado.general"), logging.getLogger("asyncio")):
        logger.addFilter(_Quiet())
    server.initialize([])
    server.start()


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on the wanted port or on the next free one.

    Args:
        host: the address to listen on.
        port: the first port to try; 0 asks the system for any free one.

    Raises:
        ValueError: the address is not one of this machine, this user may not listen on the port, or
            ``PORTS_TRIED`` ports in a row are taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.getaddrinfo(host or None, port, family)
    except socket.gaierror:
        raise ValueError(f"host is '{host}', which is no address of this machine: try 127.0.0.1.") from None
    last = min(port + PORTS_TRIED, 65535) if port else 0
    for candidate in range(port, last + 1):
        try:
            return socket.create_server((host, candidate), family=family, backlog=128)
        except OSError as error:
            if error.errno == errno.EACCES:
                raise ValueError(f"port is {port}, which this user may not open: choose one above 1023.") from None
            if error.errno != errno.EADDRINUSE:
                reason = os.strerror(error.errno or 0)
                raise ValueError(f"cannot listen on {host}, port {candidate}: {reason}.") from None
    raise ValueError(f"the ports {port} to {last} are all taken: choose another with --port.")


class _Quiet(logging.Filter):
    """Drops messages that belong to the normal course: a page that is closed in the middle of a message, for one."""

    KNOWN = ("is not trusted", "websocket_ping_timeout", "WebSocketClosedError")

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return not any(known in message for known in self.KNOWN)


def _trust_the_kernel_id(handler: VoilaShutdownKernelHandler) -> None:
    """Let a page that is being left end its kernel: it names it by an id that nobody else knows.

    Voila 0.5 sends this request with the ``_xsrf`` cookie, which its page never sets: it was refused, and every reload
    left a kernel of half a gigabyte behind.
    """


class _PageServer(Voila):
    """Voila on a socket that is already bound, with one line of output."""

    listening: socket.socket
    wanted_browser: bool

    def listen(self) -> None:
        VoilaShutdownKernelHandler.check_xsrf_cookie = _trust_the_kernel_id
        self.app.transforms.append(GZipContentEncoding)  # Voila's scripts: 1.5 MB instead of 5.3, in no more time
        self.listening.setblocking(False)
        HTTPServer(self.app).add_socket(self.listening)
        self.ioloop = IOLoop.current()
        self.ioloop.add_callback(self._announce)
        # A KeyboardInterrupt could strike inside a kernel's start and leave it behind: end as on SIGTERM.
        signal.signal(signal.SIGINT, self._handle_signal_stop)
        self.ioloop.start()
        shutil.rmtree(self.connection_dir, ignore_errors=True)

    def _handle_signal_stop(self, sig: int, frame: FrameType | None) -> None:
        for again in (signal.SIGINT, signal.SIGTERM):
            signal.signal(again, signal.SIG_IGN)  # ending the kernels takes a second or two, and is not cut short
        self.ioloop.add_callback_from_signal(self._end_kernels)

    async def _end_kernels(self) -> None:
        """End all kernels, then the loop: on the loop that started them, where Voila would do it on another."""
        try:
            # One that is just being started cannot be ended yet: shutdown_all would give up on it. And no page has seen
            # those of the pool: there is nothing that they should finish.
            pools = getattr(self.kernel_manager, "_pools", {}).values()
            starts = [start for pool in pools for start in pool]
            for started in await asyncio.gather(*starts, return_exceptions=True):
                if isinstance(started, dict):
                    await self.kernel_manager.shutdown_kernel(started["kernel_id"], now=True)
            await self.kernel_manager.shutdown_all()
        finally:
            self.ioloop.stop()

    def _announce(self) -> None:
        reachable = "127.0.0.1" if self.ip in ("", "0.0.0.0", "::") else self.ip
        address = f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{self.port}/"
        print(f"PPO Explorer is at {address}  (Ctrl-C ends it)", flush=True)
        if self.wanted_browser and _has_display():
            # In a thread of its own: some browsers return only when they are closed.
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


def _configuration(theme: str) -> ServerConfig:
    settings: dict[str, Any] = {
        "VoilaConfiguration": {
            "template": TEMPLATE,
            "theme": theme,
            "preheat_kernel": True,
            "default_pool_size": 1,
            "extension_allowlist": EXTENSIONS,
            "show_tracebacks": True,  # the page's reader is the one who started it
        },
        # Voila spares the kernel that it keeps ready.
        "MappingKernelManager": {"cull_idle_timeout": ABANDONED_SECONDS, "cull_interval": LOOKED_FOR_SECONDS},
    }
    return ServerConfig(settings)


def _prepare_environment() -> None:
    """Where Voila looks for our page template, and for the kernel: the interpreter that runs this."""
    # First on the path, so that a page template or a kernel of the same name that a user has registered does not win.
    inherited = [path for path in [os.environ.get("JUPYTER_PATH")] if path]
    os.environ["JUPYTER_PATH"] = os.pathsep.join([str(asset_path("jupyter")), *inherited])


def _has_display() -> bool:
    """Whether a browser would have a screen: elsewhere Python may find a text browser and fill the terminal with it."""
    if sys.platform in ("win32", "darwin"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
