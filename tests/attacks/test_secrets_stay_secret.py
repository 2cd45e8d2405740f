"""I5: no secret stands in a record, log, error, repr, metric or process list.

Every secret that a plane meets gets a marker that occurs nowhere else. The plane then serves,
refuses, fails, crashes and is asked everything that operators can ask; and every byte that it left
behind or showed is searched for every marker, in clear and in the encodings that hide one by
accident. Where a marker may stand is said in `AT_HOME`; everywhere else it must not.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from identity_kit import Key, proof_for
from process_kit import (
    PUBLIC_URL,
    Connection,
    ProcessPlane,
    call_bytes,
    metrics,
    post_bytes,
    process_plane,
)
from typer.testing import CliRunner

from gateways import running_gateway
from midflight.apps.cli.main import app
from midflight.domain.errors import MidflightError
from servers import leaky_child
from servers.journal_server import Journal, journalling

pytestmark = pytest.mark.anyio

TRAITS = {
    "look": ("read", "closed"),
    "peek": ("read", "open"),
    "send": ("send", "closed"),
    "hold": ("write", "closed"),
    "fail": ("read", "closed"),
    "break": ("read", "closed"),
    "drop": ("read", "closed"),
    "echo": ("read", "closed"),
    "burst": ("read", "closed"),
    "die": ("read", "closed"),
}


class Markers:
    """One marker a secret, and where each may stand."""

    def __init__(self) -> None:
        self.known: dict[str, bytes] = {}

    def __getitem__(self, name: str) -> str:
        """The marker of that name, made when it is first asked for."""
        return self.known.setdefault(name, f"mark-{secrets.token_hex(12)}".encode()).decode()

    def add(self, name: str, secret: str | bytes) -> None:
        """A secret that somebody else made."""
        self.known[name] = secret.encode() if isinstance(secret, str) else secret

    def found(self, where: str, content: bytes, *, but: tuple[str, ...] = ()) -> list[str]:
        """Which markers stand there that must not."""
        return [
            f"{name} in {where}"
            for name, secret in self.known.items()
            if name not in but and any(form in content for form in forms(secret))
        ]


def private_half(signing: Any) -> str:
    """Of the key that signs access tokens."""
    return str(signing["rings"]["access-token"]["keys"][0]["handle"]["jwk"]["d"])


def forms(secret: bytes) -> Iterator[bytes]:
    """A secret in clear, as hexadecimal, as UTF-16, reversed, and in base64 at any alignment."""
    yield secret
    yield secret.hex().encode()
    yield secret.decode("latin-1").encode("utf-16-le")
    yield secret[::-1]
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            # The first and the last group depend on what stands around.
            yield encode(bytes(shift) + secret)[4:-4]


@pytest.mark.parametrize("encode", [bytes.hex, base64.b64encode, lambda text: text[::-1]])
def test_the_search_finds_what_is_hidden_by_accident(encode: Any) -> None:
    markers = Markers()
    hidden = encode(b"xy" + markers["a"].encode() + b"z")
    hidden = hidden.encode() if isinstance(hidden, str) else hidden
    assert markers.found("there", b"..." + hidden + b"...") == ["a in there"]
    assert markers.found("there", b"mark-", but=()) == []


@pytest.fixture
def markers() -> Markers:
    return Markers()


def upstreams(journal: Journal, folder: Path, markers: Markers) -> str:
    """Two upstreams, with their credentials by reference."""
    kept = folder / "upstream.secret"
    kept.write_text(markers["header from a file"])
    kept.chmod(0o600)
    return f"""
[[upstream]]
name = "up"
url = "{journal.url}"
reach = "closed"
headers = {{ Authorization = "Bearer env:UP_TOKEN", X-Api-Key = "file:{kept}" }}

[[upstream]]
name = "child"
command = "{sys.executable}"
args = ["{leaky_child.__file__}"]
reach = "closed"
env = {{ LEAKY_SECRET = "env:CHILD_SECRET" }}
"""


async def test_nothing_that_a_plane_is_told_in_confidence_stands_where_it_must_not(
    tmp_path: Path, markers: Markers
) -> None:
    environment = {
        "UP_TOKEN": markers["header from the environment"],
        "CHILD_SECRET": markers["variable of a child"],
        "GATEWAY_ONLY": markers["variable of nobody"],
    }
    async with journalling(slow_every=1_000) as journal:
        journal.said = markers["result"]
        described = upstreams(journal, tmp_path, markers)
        with process_plane(tmp_path, described, environment=environment) as plane:
            await asyncio.to_thread(plane.start)
            await use(plane, journal, markers)
            asked = await asyncio.to_thread(ask_everything, plane, markers)
            running = processes(plane.pid)
            at_work = files(tmp_path)  # with write-ahead logs as they are while it runs
            assert await asyncio.to_thread(plane.stop) == 0
            at_rest = files(tmp_path)
            output = bytes(plane.output)

    # The upstream got its credentials, so they were really in use.
    assert journal.heads[0][b"authorization"] == f"Bearer {environment['UP_TOKEN']}".encode()
    assert journal.heads[0][b"x-api-key"] == markers["header from a file"].encode()

    markers.add("a wrapping key", key_in(tmp_path / "state/keys/seal-wrap.key"))
    markers.add("a checkpoint key", key_in(tmp_path / "state/keys/checkpoint.key"))
    signing = json.loads((tmp_path / "state/keys/signing-keys.json").read_text())
    markers.add("a token key", private_half(signing))

    bad: list[str] = []
    for moment in (at_work, at_rest):
        for name, content in moment.items():
            bad += markers.found(name, content, but=AT_HOME.get(name, ()))
    for name, content in asked.items():
        bad += markers.found(name, content, but=SHOWN_TO_OPERATORS.get(name, ()))
    bad += markers.found("the output of `midflight up`", output)
    for name, content in running.items():
        bad += markers.found(name, content, but=OWN_ENVIRONMENT.get(name, ()))
    assert bad == []


# Files that hold a secret because that is what they are for.
AT_HOME = {
    "upstream.secret": ("header from a file",),
    "state/keys/seal-wrap.key": ("a wrapping key",),
    "state/keys/checkpoint.key": ("a checkpoint key",),
    "state/keys/signing-keys.json": ("a token key",),
}
# What a verb is for: an operator who explains a decision sees what was judged.
SHOWN_TO_OPERATORS = {
    "midflight explain": ("argument",),
    "midflight run list": ("intent",),
    "midflight run show": ("intent",),
    "GET /v1/runs": ("intent",),
}
# The environment that Midflight was started with is its operator's; a child has its own part of it.
OWN_ENVIRONMENT = {
    "environ of midflight": (
        "header from the environment",
        "variable of a child",
        "variable of nobody",
    ),
    "environ of leaky_child.py": ("variable of a child",),
}


async def use(plane: ProcessPlane, journal: Journal, markers: Markers) -> None:
    """Honest, refused, failing, crashing, cut and abandoned actions, each with markers in it."""
    control = plane.control
    workload = await asyncio.to_thread(plane.register, "one")
    for upstream in ("up", "child"):
        await asyncio.to_thread(plane.pin, upstream, TRAITS)

    def open_run() -> tuple[str, str]:
        run, token = plane.open_run(workload, intent=f"Look after {markers['intent']}.")
        markers.add(f"token of {run}", token)
        markers.add(f"signature of {run}", token.rpartition(".")[2])
        return run, token

    run, token = await asyncio.to_thread(open_run)
    secret = f"{markers['argument']}"
    with closing(Connection(plane.url)) as agent:
        # Honest, and failing in every way that an upstream can.
        for tool in ("look", "fail", "break", "drop", "echo", "burst", "die", "echo"):
            arguments = {"text": secret} if tool in {"echo", "burst", "die"} else {"nonce": secret}
            said = await agent.call(token, tool, **arguments)
            assert said.status == 200, said
        # Refused by policy, by what is served, and before anything could be judged.
        assert (await agent.call(token, "peek", nonce=secret)).code == "done"
        assert (await agent.call(token, "send", nonce=secret)).code == "approval_required"
        assert (await agent.call(token, "nosuch", nonce=secret)).code != "done"
        assert (await agent.call(token, secret, nonce=secret)).code != "done"
        assert (await agent.call(token, "look", Nonce=secret, **{secret: secret})).status == 400
        for body in (
            b'{"' + secret.encode() + b'":',
            json.dumps({"jsonrpc": "2.0", "id": 1, "method": secret, "params": {}}).encode(),
            json.dumps({"jsonrpc": "2.0", "id": 1, secret: secret}).encode(),
        ):
            assert (await agent.exchange(post_bytes(body, token, host=agent.host))).status >= 400
        for bent in (
            post_bytes(b"{}", f"{token}x", host=agent.host),
            post_bytes(b"{}", token, host=agent.host, scheme=secret),
            post_bytes(b"{}", token, host=f"{secret}.example"),
            post_bytes(b"{}", token, host=agent.host, path=f"/{secret}"),
            post_bytes(b"{}", token, host=agent.host, headers=(f"Mcp-Session-Id: {secret}",)),
            post_bytes(b"{}", token, host=agent.host, headers=(f"DPoP: {secret}",)),
            post_bytes(b"{}", token, host=agent.host, headers=(f"{secret}\0: x",)),
        ):
            with closing(Connection(plane.url)) as stranger:
                said = await stranger.exchange(bent)
                assert said.status >= 400
                assert markers.found("an error", json.dumps(said.message).encode()) == []
    await bound_to_a_key(plane, workload, markers)
    # Left by its client, and cut by an operator, in the middle.
    _, leaving = await asyncio.to_thread(open_run)
    cut, cutting = await asyncio.to_thread(open_run)
    gone, staying = Connection(plane.url), Connection(plane.url)
    tasks = [
        asyncio.ensure_future(gone.call(leaving, "hold", nonce=secret)),
        asyncio.ensure_future(staying.call(cutting, "hold", nonce=secret)),
    ]
    while len(journal.nonces("hold")) < 2:
        await asyncio.sleep(0)
    gone.close()
    await asyncio.to_thread(
        control.post, "/v1/revocations", scope={"kind": "run", "id": cut}, reason="enough"
    )
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], ConnectionError)
    assert results[1].code == "interrupted"  # type: ignore[union-attr]
    staying.close()
    # Operators err, too.
    for path, given in (
        ("/v1/tokens", {"workload": secret}),
        ("/v1/tokens", {"workload": workload, "run": run, "jkt": secret}),
        ("/v1/runs", {"workload": workload, secret: secret, "intent": "x"}),
        ("/v1/runs", {"workload": workload, "intent": markers["intent"], "max_steps": -1}),
    ):
        with pytest.raises(MidflightError):
            await asyncio.to_thread(lambda p=path, g=given: control.post(p, **g))


async def bound_to_a_key(plane: ProcessPlane, workload: str, markers: Markers) -> None:
    """A call with a token that is bound to a key, and the same proof once more."""
    key = Key()
    run = (await asyncio.to_thread(plane.open_run, workload))[0]
    token = await asyncio.to_thread(plane.token, workload, run=run, jkt=key.jkt)
    proof = proof_for(token, key, htu=f"{PUBLIC_URL}/mcp", iat=int(time.time()))
    markers.add("a bound token", token)
    markers.add("a proof", proof)
    markers.add("a proof key", key.private_jwk["d"])
    with closing(Connection(plane.url)) as agent:
        raw = call_bytes(
            token, "look", {"nonce": markers["argument"]}, host=agent.host, scheme="DPoP",
            headers=(f"DPoP: {proof}",),
        )  # fmt: skip
        assert (await agent.exchange(raw)).code == "done"
        assert (await agent.exchange(raw)).status == 401


def ask_everything(plane: ProcessPlane, markers: Markers) -> dict[str, bytes]:
    """What every reading verb prints, what the control API says, and the metrics page."""
    control = plane.control
    runs = control.get("/v1/runs")
    records = control.get("/v1/records", count=1000)
    deciding = [entry["id"] for entry in records if entry["kind"] == "intent"]
    assert len(deciding) > 8
    said: dict[str, bytes] = {}
    for words in (
        ("status",),
        ("doctor",),
        ("workload", "list"),
        ("run", "list"),
        ("run", "show", runs[0]["id"]),
        ("tool", "list"),
        ("revocation", "list"),
        ("operator", "whoami"),
        ("policy", "show"),
        ("ledger", "tail", "--count", "1000"),
        ("ledger", "show", deciding[0]),
        ("ledger", "verify"),
        ("explain", deciding[0]),
        ("explain", next(e["id"] for e in records if e["kind"] == "outcome" and "facts" in str(e))),
    ):
        name = " ".join(["midflight", *words[:2]]) if len(words) > 1 else f"midflight {words[0]}"
        name = "midflight explain" if words[0] == "explain" else name
        for form in ((), ("--json",)):
            result = CliRunner().invoke(app, ["--config", str(plane.config), *words, *form])
            assert result.exit_code in {0, 1}, (words, result.output)
            said[name] = said.get(name, b"") + result.output.encode()
    minted = CliRunner().invoke(app, ["--config", str(plane.config), "operator", "token"])
    markers.add("an operator token", minted.stdout.strip())
    assert minted.stdout.startswith("mfop_")
    for path in ("/v1/runs", "/v1/records", "/v1/workloads", "/v1/tools", "/v1/flights",
                 "/v1/revocations", "/v1/health", "/v1/operator", "/v1/upstreams",
                 "/v1/openapi.json"):  # fmt: skip
        said[f"GET {path}"] = json.dumps(control.get(path)).encode()
    said["GET /metrics"] = asyncio.run(metrics(plane))
    assert b"midflight_actions_total" in said["GET /metrics"]
    exported = plane.folder / "exported.jsonl"
    result = CliRunner().invoke(
        app, ["--config", str(plane.config), "ledger", "export", str(exported)]
    )
    assert result.exit_code == 0, result.output
    return said


def files(folder: Path) -> dict[str, bytes]:
    """Every file, by its path."""
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    assert "state/ledger.sqlite3" in found
    return found


def processes(pid: int) -> dict[str, bytes]:
    """Command lines and environments of the plane and of all that it has started."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat[1])
    family = [pid]
    for member in family:
        family += [child for child, parent in parents.items() if parent == member]
    found: dict[str, bytes] = {}
    for member in family:
        command = Path(f"/proc/{member}/cmdline").read_bytes()
        name = "midflight" if member == pid else Path(command.split(b"\0")[-2].decode()).name
        found[f"cmdline of {name}"] = command
        found[f"environ of {name}"] = Path(f"/proc/{member}/environ").read_bytes()
    assert "environ of leaky_child.py" in found, sorted(found)
    inherited = {name.split(b"=")[0] for name in found["environ of leaky_child.py"].split(b"\0")}
    assert inherited <= {b"PATH", b"HOME", b"LANG", b"TMPDIR", b"LEAKY_SECRET", b"LC_CTYPE", b""}
    return found


def key_in(file: Path) -> str:
    """The secret part of a key file: `label BASE64`, or `PRIVATE+KEY+name+id+BASE64`."""
    word = file.read_text().split()[-1]
    secret = word.split("+", 4)[-1] if word.startswith("PRIVATE+KEY+") else word
    assert len(secret) > 40
    return secret


# Values in memory, as a traceback or a debugger's log would show them


async def test_no_value_of_midflight_shows_a_secret_in_its_repr(
    tmp_path: Path, markers: Markers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UP_TOKEN", markers["header from the environment"])
    headers = {"Authorization": "Bearer env:UP_TOKEN"}
    async with journalling(slow_every=1_000) as journal:
        journal.said = markers["result"]
        upstream = {"name": "up", "url": journal.url, "reach": "closed", "headers": headers}
        async with running_gateway(tmp_path, [upstream]) as gateway:
            await gateway.pin_all()
            token = await gateway.token()
            markers.add("a token", token)
            keys = tmp_path / "state" / "keys"
            markers.add("a wrapping key", key_in(keys / "seal-wrap.key"))
            markers.add("a checkpoint key", key_in(keys / "checkpoint.key"))
            signing = json.loads((keys / "signing-keys.json").read_text())
            markers.add("a token key", private_half(signing))
            with (
                closing(Connection(gateway.url)) as agent,
                closing(Connection(gateway.url)) as other,
            ):
                held = asyncio.ensure_future(agent.call(token, "hold", nonce=markers["argument"]))
                while not journal.nonces("hold"):
                    await asyncio.sleep(0)
                # One call is in flight, with all that it holds; others have come and gone.
                assert (await other.call(token, "look", nonce=markers["argument"])).code == "done"
                shown = representations()
                held.cancel()
    assert {name.rpartition(".")[2] for name in shown} >= {"Action", "Flight", "Settings"}
    assert [found for name, text in shown.items() for found in markers.found(name, text)] == []


def representations() -> dict[str, bytes]:
    """The repr of every value of Midflight's own types that is alive, by type."""
    shown: dict[str, bytes] = {}
    for value in gc.get_objects():
        kind = type(value)
        if str(kind.__module__).startswith("midflight."):
            name = f"{kind.__module__}.{kind.__qualname__}"
            shown[name] = shown.get(name, b"") + repr(value).encode()
    return shown
