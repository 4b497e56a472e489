"""The app's two processes: this one answers the browser, the other draws and trains."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import webbrowser

import waitress

from fedflow import passwords
from fedflow.client import reach
from fedflow.client.app import create_app
from fedflow.client.pages.sending import FORM_BYTES
from fedflow.client.services.shelving_uploads import MOST_BYTES
from fedflow.client.settings import ClientSettings
from fedflow.client.store import open_store
from fedflow.errors import MistakeError, RunError
from fedflow.processes import end_with_parent

SETTINGS = "FEDFLOW_CLIENT_SETTINGS"
WEB_THREADS = 24  # an open page holds one for its events
LOOK_S = 0.5
RESTART_S = 2.0
SECONDS_TO_END = 10.0


def serve(settings: ClientSettings, *, opens_browser: bool) -> None:
    """Serve the app until KeyboardInterrupt.

    Raises MistakeError where it would listen beyond this machine without a password that holds, RunError where the
    address is taken, StorageError where the folder cannot be used.
    """
    if not settings.is_private:
        _check_password(settings)
    app = create_app(open_store(settings.folder), settings)
    tempfile.tempdir = str(settings.folder)  # what is sent gathers there: /tmp may be memory, and hold no model
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # all pictures that are dropped on a page at once are open
    try:
        server = waitress.create_server(
            app,
            host=settings.host,
            port=settings.port,
            threads=WEB_THREADS,
            max_request_body_size=MOST_BYTES + FORM_BYTES,
            clear_untrusted_proxy_headers=True,
            ident=None,
        )
    except OSError as error:
        raise RunError(
            f"{settings.host}:{settings.port}: cannot listen there ({error.strerror}); is the app open already? "
            "Choose another --port"
        ) from error
    ended = threading.Event()
    keeper = threading.Thread(target=_keep_worker, args=(settings, ended), daemon=True)
    keeper.start()
    port = server.effective_port
    print(reach.told(settings.host, port, is_private=settings.is_private), flush=True)
    if opens_browser:
        threading.Timer(0.3, webbrowser.open, (reach.address(settings.host, port),)).start()
    try:
        server.run()
    finally:
        ended.set()
        keeper.join(SECONDS_TO_END)


def _check_password(settings: ClientSettings) -> None:
    if settings.password is None:
        raise MistakeError(f"--host {settings.host}: reaches beyond this machine; set FEDFLOW_CLIENT_PASSWORD too")
    why = passwords.weakness(settings.password, "fedflow", socket.gethostname())
    if why is not None:
        raise MistakeError(f"FEDFLOW_CLIENT_PASSWORD: {why}")


def _keep_worker(settings: ClientSettings, ended: threading.Event) -> None:
    """Keep the worker alive: one that dies is started anew, and tells its job as died."""
    while not ended.is_set():
        process = start_worker(settings)
        while process.poll() is None and not ended.wait(LOOK_S):
            pass
        if ended.is_set():
            break
        print(f"fedflow: the worker ended ({process.returncode}); starting it again", file=sys.stderr, flush=True)
        ended.wait(RESTART_S)
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()


def start_worker(settings: ClientSettings) -> subprocess.Popen[bytes]:
    """Start the process that draws and trains; it ends when this one does."""
    words = [sys.executable, "-m", "fedflow.client.serve"]
    return subprocess.Popen(words, env={**os.environ, SETTINGS: settings.model_dump_json()}, start_new_session=True)


def work_as_told() -> None:
    """What that process does; its settings stand in its environment."""
    from fedflow.client.worker.main import work  # noqa: PLC0415 - the web process needs none of it

    end_with_parent()
    work(ClientSettings.model_validate_json(os.environ[SETTINGS]))


if __name__ == "__main__":
    work_as_told()
