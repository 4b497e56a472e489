"""The web process: gunicorn with threads on Linux, waitress elsewhere; never Flask's own server."""

from __future__ import annotations

import errno
import gc
import logging
import logging.config
import platform
import socket
import sys
import time
from typing import Any

import waitress
from flask import Flask

from fedflow.errors import RunError
from fedflow.server.api import logs
from fedflow.server.api.app import create_app
from fedflow.server.opening import try_store
from fedflow.server.services import provider
from fedflow.server.settings import ServerSettings
from fedflow.server.store import reopen_store

KEEP_ALIVE_S = 30
ENDING_S = 12.0
LOOK_S = 0.1
STOP_S = 10  # what is under way at a SIGTERM has this long to end
HEARTBEAT_S = 120  # a web process that shows no sign of life for so long is started anew
SPARE_BYTES = 1_000_000  # headers of an upload's request
SWITCH_S = 0.0005
"""Every call of SQLite gives the interpreter's lock away, and gets it back from a busy thread after this time."""

log = logging.getLogger("fedflow.server")


def serve(settings: ServerSettings) -> None:
    """Answer requests until SIGTERM or SIGINT. Log lines go to standard error as JSON; one tells the address.

    The caller must hold no open connection to the database, since gunicorn forks.

    Raises:
        MistakeError: the database's schema is another version's, or a library lacks that the settings need.
        DatabaseAway, StoreAway: the database or the S3-compatible store does not answer.
        StorageError: the data folder cannot be used.
        RunError: the address cannot be listened on.
    """
    logging.config.dictConfig(logs.configuration())
    if settings.oidc_issuer is not None:
        provider.check_installed()
    try_store(settings)  # what is wrong with the folder or the schema is told here
    if platform.system() == "Linux":
        _serve_with_gunicorn(settings)
    else:
        serve_with_waitress(settings)


def wait_for_address(settings: ServerSettings, patience_s: float = ENDING_S) -> ServerSettings:
    """Return when the address can be listened on: a server that was killed holds it until its processes have ended.

    The settings come back with a port that is free where they name port 0.

    Raises RunError where it is taken for longer, as by another server, or is none of this machine's.
    """
    give_up_at = time.monotonic() + patience_s
    told = False
    while True:
        try:
            return settings.model_copy(update={"port": _try_address(settings)})
        except OSError as fault:
            if fault.errno != errno.EADDRINUSE or time.monotonic() >= give_up_at:
                raise RunError(_cannot_listen(settings, fault)) from fault
        if not told:
            address = f"{_host(settings.host)}:{settings.port}"
            print(f"fedflow: {address} is taken; trying for {patience_s:.0f} s, as a server may be ending there")
            sys.stdout.flush()
            told = True
        time.sleep(LOOK_S)


def _try_address(settings: ServerSettings) -> int:
    """The port that can be listened on. Raises OSError."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind((settings.host, settings.port))
        trial.listen()
        port: int = trial.getsockname()[1]
    return port


def serve_with_waitress(settings: ServerSettings) -> None:
    """As `serve`, where gunicorn does not run. A request's content is buffered before the app sees it."""
    try:
        server = waitress.create_server(
            _app(settings),
            host=settings.host,
            port=settings.port,
            threads=settings.threads,
            max_request_body_size=max(settings.max_upload_bytes, settings.max_import_bytes) + SPARE_BYTES,
            clear_untrusted_proxy_headers=True,
            ident=None,
        )
    except OSError as error:
        raise RunError(_cannot_listen(settings, error)) from error
    _tell(server.effective_host, server.effective_port)
    server.run()


def _serve_with_gunicorn(settings: ServerSettings) -> None:
    from gunicorn.app.base import BaseApplication  # noqa: PLC0415 - needs fcntl, which Linux has

    class Server(BaseApplication):  # type: ignore[misc]
        """gunicorn, set up by our settings alone."""

        def load_config(self) -> None:
            for name, value in _gunicorn_settings(settings).items():
                self.cfg.set(name, value)

        def load(self) -> Flask:
            return _app(settings)  # in the forked process, which opens connections of its own

    Server().run()


def _gunicorn_settings(settings: ServerSettings) -> dict[str, Any]:
    def when_ready(arbiter: Any) -> None:
        host, port = arbiter.LISTENERS[0].sock.getsockname()[:2]
        _tell(host, port)

    def pre_fork(_arbiter: Any, _worker: Any) -> None:
        gc.collect()
        gc.freeze()  # the forked process shares what is never looked through

    own = {"handlers": ["stderr"], "propagate": False}
    return {
        "bind": f"{_host(settings.host)}:{settings.port}",
        "worker_class": "fedflow.server.patient_worker.PatientWorker",
        "workers": 1,
        "threads": settings.threads,
        "timeout": HEARTBEAT_S,
        "graceful_timeout": STOP_S,
        "keepalive": KEEP_ALIVE_S,
        "control_socket_disable": True,
        "forwarded_allow_ips": "",
        "loglevel": "warning",
        "logconfig_dict": {
            **logs.configuration(),
            "loggers": {
                "alembic": {"level": "WARNING"},
                "gunicorn.error": own,
                "gunicorn.access": {"handlers": [], "propagate": False},
            },
        },
        "when_ready": when_ready,
        "pre_fork": pre_fork,
    }


def _app(settings: ServerSettings) -> Flask:
    sys.setswitchinterval(SWITCH_S)
    app = create_app(reopen_store(settings), settings)  # one that is started anew answers 503 without a database
    gc.freeze()  # what is there now stays: to look through all of it again and again would hold up every request
    return app


def _tell(host: str, port: int) -> None:
    log.info("listening on http://%s:%s", _host(host), port)


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _cannot_listen(settings: ServerSettings, error: OSError) -> str:
    return f"{settings.host}:{settings.port}: cannot listen there ({error.strerror}); choose another --host or --port"
