"""TLS with our X509-SVIDs: `spiffe-tls` at both ends, and Python's own `ssl` against it."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from counterpart_kit import in_child
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from spiffe_kit import REPORTS, TRIAGE, ServedApi, served

from midflight.domain.attestation import Entry
from midflight.domain.spiffe import X509Svid

pytestmark = [pytest.mark.spiffe, pytest.mark.conformance]

BOTH_ENDS = """
import json, sys, threading
from spiffe import SpiffeId, X509Source
from spiffetls import ListenOptions, dial, listen
from spiffetls.mode import ClientTlsMode, ServerTlsMode
from spiffetls.tlsconfig.authorize import authorize_id
address, server_wants, client_wants = sys.argv[1:4]
with X509Source(socket_path=address) as source:
    listening = listen("127.0.0.1:0", source, ListenOptions(
        tls_mode=ServerTlsMode.MTLS, authorize_fn=authorize_id(SpiffeId(server_wants))))
    port = listening.getsockname()[1]
    outcome = {}
    def serve():
        try:
            connection, _ = listening.accept()
            connection.do_handshake()
            connection.sendall(b"hello")
            outcome["server"] = "good"
        except Exception as error:
            outcome["server"] = type(error).__name__
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        connection = dial(f"127.0.0.1:{port}", source, ClientTlsMode.TLS,
                          authorize_fn=authorize_id(SpiffeId(client_wants)))
        outcome["client"] = connection.recv(5).decode()
    except Exception as error:
        outcome["client"] = type(error).__name__
    thread.join(10)
print(json.dumps([outcome.get("server"), outcome["client"]]))
"""

CLIENT = """
import sys
from spiffe import SpiffeId, X509Source
from spiffetls import dial
from spiffetls.mode import ClientTlsMode
from spiffetls.tlsconfig.authorize import authorize_id
with X509Source(socket_path=sys.argv[1]) as source:
    try:
        connection = dial(f"127.0.0.1:{sys.argv[2]}", source, ClientTlsMode.TLS,
                          authorize_fn=authorize_id(SpiffeId(sys.argv[3])))
        print(connection.recv(100).decode())
    except Exception as error:
        print(type(error).__name__)
"""


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ServedApi]:
    with served(tmp_path) as one:
        one.do(lambda: one.mint.register(uid=os.geteuid()))
        yield one


@pytest.mark.parametrize(
    ("server_wants", "client_wants", "good"),
    [(TRIAGE, TRIAGE, True), (REPORTS, TRIAGE, False), (TRIAGE, REPORTS, False)],
)
def test_both_ends_know_each_other_or_there_is_no_connection(
    api: ServedApi, server_wants: str, client_wants: str, good: bool
) -> None:
    done = in_child(BOTH_ENDS, api.address, server_wants, client_wants)
    assert done.returncode == 0, done.stderr[-2_000:]
    server, client = json.loads(done.stdout)
    if good:
        assert (server, client) == ("good", "hello")
    else:
        assert client != "hello"
        assert server != "good" or client_wants == REPORTS


def context_of(svid: X509Svid, roots: tuple[bytes, ...], folder: Path) -> ssl.SSLContext:
    """What a server in Python makes of an SVID and a bundle."""
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(
        b"".join(
            x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in svid.chain
        )
    )
    loaded = load_der_private_key(svid.key, None)
    key.write_bytes(loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_cert_chain(chain, key)
    for der in roots:
        pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
        made.load_verify_locations(cadata=pem.decode("ascii"))
    return made


@pytest.mark.parametrize(("wanted", "good"), [(REPORTS, True), (TRIAGE, False)])
def test_python_serves_what_the_client_dials_and_sees_who_it_is(
    api: ServedApi, tmp_path: Path, wanted: str, good: bool
) -> None:
    api.do(lambda: api.mint.register(REPORTS))
    entry = Entry(id="e", spiffe_id=REPORTS, selectors=frozenset())
    svid = api.do(lambda: api.mint.svids.x509(entry, proof="test"))
    context = context_of(svid, api.mint.authority.roots, tmp_path)
    names: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                try:
                    with context.wrap_socket(connection, server_side=True) as secured:
                        peer: Any = secured.getpeercert()
                        names.append(peer["subjectAltName"])
                        secured.sendall(b"served")
                except (ssl.SSLError, OSError):
                    names.append("refused")

        thread = threading.Thread(target=serve)
        thread.start()
        done = in_child(CLIENT, api.address, str(listening.getsockname()[1]), wanted)
        thread.join(30)
    assert done.returncode == 0, done.stderr[-2_000:]
    if good:
        assert done.stdout.strip() == "served"
        assert names == [(("URI", TRIAGE),)]
    else:
        assert done.stdout.strip() == "TLSConnectionError"
        assert names == ["refused"]
