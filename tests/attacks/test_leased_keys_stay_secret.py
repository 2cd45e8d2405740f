"""I5 for what is placed otherwise than by header, query and environment: arguments, DPoP, mTLS.

As `test_leased_secrets_stay_secret.py`, with the plane's own broker: a real `midflight up` leases a
static secret for arguments, a token of a real authorization server that is bound to a fresh key,
and keys that the test knows, for proofs and for client certificates. Then everything that the plane
leaves or shows is searched for them, whatever part of a key it may be.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import ssl
import threading
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from authority import Authority
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc.jwk import ECKey
from oidc_provider_kit import oidc_provider
from process_kit import Connection, ProcessPlane, Said, call_bytes, process_plane

from attacks.test_leased_secrets_stay_secret import Collector, asked, files, found, running
from midflight.adapters.credentials.dpop_proofs import KEY_FIELD
from servers.journal_server import TOOLS, Journal, journalling

pytestmark = [pytest.mark.anyio, pytest.mark.oidc_provider]

UPSTREAMS = ("up", "keyed", "tls", "torn")
PLACE = "{{lease:login}}"
TOKEN = {"placement": "argument", "template": "{token}"}
LOGIN = {
    "effect": "read",
    "reach": "closed",
    "arguments": [{"path": "text", "role": "credential"}],
}


def key_marks(name: str, key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    """The private value of a key, in the forms in which keys are written."""
    value = key.private_numbers().private_value.to_bytes(32, "big")
    return {
        f"{name} in a JWK": base64.urlsafe_b64encode(value).decode().rstrip("="),
        f"{name} in base64": base64.b64encode(value).decode().rstrip("="),
        f"{name} in hex": value.hex(),
        f"{name} as a number": str(key.private_numbers().private_value),
    }


def pem_marks(name: str, pem: str) -> dict[str, str]:
    """Each line of a PEM that holds something of the key."""
    return {f"{name}, line {n}": line for n, line in enumerate(pem.splitlines()[1:-1])}


def in_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_numbers().private_value.to_bytes(32, "big")


async def add(plane: ProcessPlane, name: str, upstream: str, rule: Any, **more: Any) -> None:
    body = {
        "backend": "sealed",
        "settings": {},
        "upstreams": [upstream],
        "injections": [rule],
        **more,
    }
    await asyncio.to_thread(plane.control.post, "/v1/credentials", name=name, **body)


async def pin_logins(plane: ProcessPlane, upstream: str) -> None:
    """Pin all tools, `look` with an argument that is reviewed as a credential."""
    tools = await asyncio.to_thread(plane.control.get, "/v1/tools", upstream=upstream, fresh="true")
    for tool in tools:
        await asyncio.to_thread(
            plane.control.post,
            "/v1/tools/pin",
            upstream=upstream,
            name=tool["name"],
            digest=tool["digest"],
            traits=LOGIN if tool["name"] == "look" else {**LOGIN, "arguments": []},
        )


async def use(plane: ProcessPlane, workload: str) -> str:
    """Answers of all upstreams, in every way to fail; each has the same tools."""
    _, token = await asyncio.to_thread(plane.open_run, workload)
    answers: list[str] = []
    with closing(Connection(plane.url)) as agent:

        async def call(upstream: str, tool: str, text: str) -> Said:
            path, given = f"/mcp/{upstream}", {"nonce": "hello", "text": text}
            said = await agent.exchange(call_bytes(token, tool, given, host=agent.host, path=path))
            answers.append(json.dumps(said.message))
            return said

        for upstream in UPSTREAMS:
            for tool in (tool for tool in TOOLS if tool != "hold"):
                await call(upstream, tool, PLACE if (upstream, tool) == ("up", "look") else "hello")
        # Where none may stand, it is refused, and so is another upstream's.
        for upstream, tool, text in (
            ("up", "peek", PLACE),
            ("up", "look", f"so {PLACE} it is"),
            ("tls", "look", PLACE),
        ):
            assert (await call(upstream, tool, text)).code == "lease", (upstream, tool)
        # A key that is none is said to be unusable, and not what it is.
        assert (await call("torn", "look", "hello")).code == "lease"
    return "\n".join(answers)


async def test_no_part_of_a_leased_key_or_argument_stands_anywhere(tmp_path: Path) -> None:
    login, client_secret, torn = (f"mark-{secrets.token_hex(16)}" for _ in range(3))
    proving, showing = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    (tmp_path / "authority").mkdir()
    authority = Authority(tmp_path / "authority")
    certificate, key_file = authority.issue("client", showing)
    server_pair = authority.issue("server")
    shown, pem = certificate.read_text(), key_file.read_text()
    key_file.unlink()
    bound = f"mark-{secrets.token_hex(16)}"
    jwk = json.dumps(ECKey.import_key(proving).as_dict(private=True))
    marks = {
        "login": login,
        "bound token": bound,
        "client secret": client_secret,
        "torn key": torn,
        "environment": f"mark-{secrets.token_hex(16)}",  # in nobody's: `running` looks for it
        **key_marks("proof key", proving),
        **key_marks("certificate key", showing),
        **pem_marks("certificate key", pem),
    }
    client = {
        "client_id": "midflight",
        "client_secret": client_secret,
        "token_endpoint_auth_method": "client_secret_basic",
    }
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    asking.load_cert_chain(*server_pair)
    asking.load_verify_locations(cafile=authority.file)
    # Not demanding: which tools there are is asked without a lease, since no run asks.
    asking.verify_mode = ssl.CERT_OPTIONAL
    collector = Collector()
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    bad: list[str] = []
    async with AsyncExitStack() as undo:
        nobody = {"issuer": "https://nobody.example", "jwks": {"keys": []}}
        issuer = undo.enter_context(
            oidc_provider(tmp_path.parent / "op", clients=[client], subjects=nobody)
        )
        journals: dict[str, Journal] = {}
        for name in UPSTREAMS:
            tls = asking if name in {"tls", "torn"} else None
            journals[name] = await undo.enter_async_context(
                journalling(slow_every=1_000, repeats=True, tls=tls)
            )
        ca = f'ca = "{authority.file}"\n'
        upstreams = "".join(
            f'[[upstream]]\nname = "{name}"\nurl = "{one.url}"\nreach = "closed"\n'
            + (ca if one.url.startswith("https") else "")
            for name, one in journals.items()
        )
        traces = f'[telemetry]\notlp_endpoint = "http://127.0.0.1:{collector.server_port}"\n'
        plane = undo.enter_context(process_plane(tmp_path, traces + upstreams))
        await asyncio.to_thread(plane.start)
        for name in UPSTREAMS:
            await pin_logins(plane, name)
        bind = {"placement": "dpop"}
        await add(plane, "login", "up", TOKEN, sealed={"token": login})
        await add(
            plane,
            "lent",
            "up",
            bind,
            backend="oauth",
            scopes=["reports:read"],
            settings={
                "issuer": issuer,
                "client_id": "midflight",
                "method": "client_secret_basic",
                "resource": "urn:test:opaque",
                "dpop": True,
                "scope_effects": {"reports:read": "read"},
            },
            sealed={"client_secret": client_secret},
        )
        await add(plane, "bound", "keyed", bind, sealed={"token": bound, KEY_FIELD: jwk})
        pair = {"certificate": shown, "private_key": pem}
        await add(plane, "paired", "tls", {"placement": "mtls"}, sealed=pair)
        none = {**pair, "private_key": pem.replace(pem.splitlines()[1], torn)}
        await add(plane, "torn", "torn", {"placement": "mtls"}, sealed=none)
        workload = await asyncio.to_thread(plane.register, "one")
        said = await use(plane, workload)
        assert "[credential removed]" in said
        # What was lent by the authorization server is known now: its token is a mark as well.
        heads = journals["up"].heads
        lent = {head[b"authorization"].decode().removeprefix("DPoP ") for head in heads}
        assert len(lent) == 1
        marks["lent token"] = lent.pop()
        bad += found("answers", said.encode(), marks)
        leases = await asyncio.to_thread(plane.control.get, "/v1/leases")
        assert {lease["credential"] for lease in leases} == {
            *("login", "lent", "bound", "paired", "torn")
        }
        names = ("login", "lent", "bound", "paired", "torn")
        verbs = [("credential", verb, name) for verb in ("show", "test") for name in names]
        verbs += [("lease", "list"), ("credential", "list")]
        verbs += [("lease", "show", lease["id"]) for lease in leases]
        for name, content in (await asyncio.to_thread(asked, plane, *verbs)).items():
            bad += found(name, content, marks)
        assert running(plane, marks, bad) == []
        core = Path(f"/proc/{plane.pid}/limits").read_text().split("Max core file size")[1]
        assert core.split()[:2] == ["0", "0"]
        left = dict(files(tmp_path))
        assert await asyncio.to_thread(plane.stop) == 0
        left |= {f"{name} afterwards": content for name, content in files(tmp_path).items()}
        left["the output of `midflight up`"] = bytes(plane.output)
    collector.shutdown()
    collector.server_close()
    assert collector.got
    left["traces"] = collector.got
    for name, content in left.items():
        bad += found(name, content, marks)
        bad += [f"a key in {name}" for key in (proving, showing) if in_bytes(key) in content]
    assert bad == []
    # They were in use.
    assert {given["text"] for name, given in journals["up"].calls if name == "look"} == {login}
    for name, token in (("up", marks["lent token"]), ("keyed", bound)):
        for head in journals[name].heads:
            assert head[b"authorization"] == f"DPoP {token}".encode()
            assert head[b"dpop"].count(b".") == 2
    der = ssl.PEM_cert_to_DER_cert(shown)
    assert journals["tls"].certificates == {der}
    assert journals["torn"].calls == []
