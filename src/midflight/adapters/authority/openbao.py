"""Intermediates signed by the PKI engine of OpenBao or Vault.

The key is made here and never leaves; the engine sees a signing request
(`root` of the mount, `sign-intermediate`). That is one call a rotation: while the engine is away,
SVIDs are made as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
from cryptography import x509

from midflight.adapters.authority.certificates import (
    DER,
    intermediate_request,
    key_bytes,
    new_key,
)
from midflight.adapters.authority.own import INTERMEDIATE_LIFE_S
from midflight.adapters.authority.rolling import Generation
from midflight.domain.errors import Conflict, Unavailable

TIMEOUT_S = 10.0
_SIGN = "root/sign-intermediate"
MAX_ANSWER_BYTES = 262_144


class OpenBaoPki:
    """`Source`: a PKI engine. `token` is read at each call, so that it can be renewed beside us."""

    def __init__(
        self,
        url: str,
        *,
        mount: str,
        token: Callable[[], str],
        trust_domain: str,
        life_s: int = INTERMEDIATE_LIFE_S,
    ) -> None:
        """`url` without a path, such as https://bao.example.org:8200."""
        self._url = f"{url}/v1/{mount}/{_SIGN}"
        self._token = token
        self._trust_domain = trust_domain
        self._life_s = life_s

    async def obtain(self, *, now: float, root: bool) -> Generation:
        """Have a new intermediate signed.

        Raises:
            Unavailable: the engine does not answer, refuses, or answers what is not usable.
            Conflict: a new root was asked for, which is not ours to make.
        """
        if root:
            raise Conflict(
                "The root belongs to OpenBao.", hint="Rotate it there, then rotate here."
            )
        key = new_key()
        answer = await self._ask(
            {
                "csr": intermediate_request(self._trust_domain, key),
                "common_name": "intermediate",
                "use_csr_values": True,
                "max_path_length": 0,
                "format": "pem",
                "ttl": f"{self._life_s}s",
            }
        )
        own, above = _certificates(answer)
        if own.public_key() != key.public_key() or not above:
            raise Unavailable("OpenBao signed another key than the one that was sent.")
        roots = [one for one in above if one.subject == one.issuer] or above[-1:]
        chain = [own, *(one for one in above if one not in roots)]
        return Generation(
            roots=tuple(one.public_bytes(DER) for one in roots),
            chain=tuple(one.public_bytes(DER) for one in chain),
            key=key_bytes(key),
            begins=int(now),
            ends=int(min(one.not_valid_after_utc.timestamp() for one in (*chain, *roots))),
        )

    def differs(self, signing: Generation) -> bool:
        """Never: the engine is asked when a new one is due."""
        del signing
        return False

    async def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        try:
            async with httpx2.AsyncClient(
                trust_env=False, follow_redirects=False, timeout=TIMEOUT_S
            ) as client:
                reply = await client.post(
                    self._url, json=body, headers={"X-Vault-Token": self._token()}
                )
            answer: Any = reply.json() if len(reply.content) <= MAX_ANSWER_BYTES else None
        except (httpx2.HTTPError, ValueError):
            raise Unavailable("OpenBao does not answer.", hint="Look at its address.") from None
        if not reply.is_success or not isinstance(answer, dict):
            raise Unavailable(
                f"OpenBao refuses to sign an intermediate (status {reply.status_code}).",
                hint="Its token needs update on the path root/sign-intermediate of the mount.",
            )
        data: Any = answer.get("data")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] -- JSON
        if not isinstance(data, dict):
            raise Unavailable("OpenBao answers what is no certificate.")
        return data  # pyright: ignore[reportUnknownVariableType] -- JSON

    def __repr__(self) -> str:
        return f"OpenBaoPki({self._url!r})"


def _certificates(data: dict[str, Any]) -> tuple[x509.Certificate, list[x509.Certificate]]:
    """The signed certificate, and those above it."""
    try:
        own = x509.load_pem_x509_certificate(str(data["certificate"]).encode("ascii"))
        listed = data.get("ca_chain") or [data["issuing_ca"]]
        above = [x509.load_pem_x509_certificate(str(one).encode("ascii")) for one in listed]
    except (KeyError, ValueError, TypeError):
        raise Unavailable("OpenBao answers what is no certificate.") from None
    return own, [one for one in above if one != own]


__all__ = ["OpenBaoPki"]
