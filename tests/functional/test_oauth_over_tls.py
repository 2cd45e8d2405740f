"""The authorization server over real mutual TLS: an X509-SVID gets a token bound to itself."""

from __future__ import annotations

from pathlib import Path

import jwt as pyjwt
import pytest
from authority import trusting

from functional.test_gateway_svids import client, gateway_of, shown, svid_of
from gateways import AGENT
from midflight.wire.tokens.certificate import certificate_thumbprint

pytestmark = pytest.mark.anyio


async def test_an_svid_in_the_handshake_is_the_proof_of_the_client(tmp_path: Path) -> None:
    async with gateway_of(tmp_path) as (gateway, authority):
        svid = await svid_of(gateway)
        form = {"grant_type": "client_credentials"}
        async with client(shown(trusting(authority), svid)) as http:
            answer = await http.post(f"{gateway.url}/oauth/token", data=form)
            assert answer.status_code == 200, answer.text
            claims = pyjwt.decode(
                answer.json()["access_token"], options={"verify_signature": False}
            )
            assert claims["sub"] == AGENT
            assert claims["cnf"] == {"x5t#S256": certificate_thumbprint(svid.chain[0])}
        async with client(trusting(authority)) as http:
            refused = await http.post(f"{gateway.url}/oauth/token", data=form)
            assert refused.status_code == 401
            assert refused.json()["error"] == "invalid_client"
