"""Keys in the transit engine of OpenBao (or Vault): made there, not exportable, signing there.

One named key of the engine for each key of a ring, so that a withdrawn one can be destroyed alone.
The engine's policy for Midflight's token needs `create`, `read`, `update` and `delete` under
`<mount>/keys/<prefix>-*` and `update` under `<mount>/sign/<prefix>-*`.
Nothing that the service says is repeated, and its token is in no message.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import httpx2
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from midflight.adapters.keys.public_keys import proven, public_jwk
from midflight.adapters.keys.remote_signer import RemoteSigner
from midflight.domain import jose
from midflight.domain.errors import Misconfigured, Unavailable
from midflight.domain.key_ring import RingKey
from midflight.services.ports.key_rings import MadeKey
from midflight.services.ports.keys import Purpose, Signer

TIMEOUT_S = 5.0
"""For one call, whole. A mint waits for it, and whoever asked for a token waits for the mint."""
_MAX_ANSWER = 65_536
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,127}\Z")
_TYPES = {"ES256": "ecdsa-p256", "RS256": "rsa-2048"}


class TransitKeySource:
    """`KeySource` over one transit mount.

    Args:
        url: of the service, without `/v1`.
        token: gives its token, asked at each call, so that an agent may renew it in its file.
        mount: path of the engine.
        prefix: what names of keys begin with.
        namespace: of the service, where it has several.
        tls: context for https; the default verifies against the system's authorities.
    """

    def __init__(
        self,
        *,
        url: str,
        token: Callable[[], str],
        mount: str = "transit",
        prefix: str = "midflight",
        namespace: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Nothing is sent yet."""
        self._token = token
        self._mount = mount
        self._prefix = prefix
        self._headers = {"X-Vault-Namespace": namespace} if namespace else {}
        self._client = httpx2.AsyncClient(
            base_url=f"{url.rstrip('/')}/v1/{mount}/",
            timeout=TIMEOUT_S,
            trust_env=False,  # a proxy of the environment would see what is signed, and the token
            follow_redirects=False,
            verify=tls or True,
        )

    async def make(self, purpose: Purpose) -> MadeKey:
        """A new named key, neither exportable nor in plaintext backups."""
        name = f"{self._prefix}-{purpose.value}-{secrets.token_hex(8)}"
        await self._call(
            "POST",
            f"keys/{name}",
            {
                "type": _TYPES[purpose.algorithm],
                "exportable": False,
                "allow_plaintext_backup": False,
            },
        )
        data = await self._call("GET", f"keys/{name}")
        if data.get("exportable") is not False or data.get("allow_plaintext_backup") is not False:
            raise Misconfigured("The key service makes keys that can be taken out of it.")
        return MadeKey(jwk=public_jwk(_public(data), purpose), handle={"name": name})

    async def open(self, purpose: Purpose, key: RingKey) -> Signer:
        """See `KeySource.open`."""
        return await proven(
            RemoteSigner(key, purpose, partial(self.sign, _name(key), purpose.algorithm)),
            key,
            purpose,
        )

    async def discard(self, key: RingKey) -> None:
        """Delete the named key, after allowing that."""
        name = _name(key)
        if await self._call("POST", f"keys/{name}/config", {"deletion_allowed": True}, gone=True):
            await self._call("DELETE", f"keys/{name}", gone=True)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def sign(self, name: str, algorithm: str, message: bytes) -> bytes:
        """The JWS signature by the named key."""
        body = {
            "input": base64.b64encode(message).decode("ascii"),
            "hash_algorithm": "sha2-256",
            "marshaling_algorithm": "jws",
            # Never another version than the one that was made: its public half is in the ring.
            "key_version": 1,
        }
        if algorithm == "RS256":
            body["signature_algorithm"] = "pkcs1v15"
        data = await self._call("POST", f"sign/{name}", body)
        try:
            label, version, text = cast("str", data["signature"]).split(":")
            if (label, version) == ("vault", "v1"):
                return jose.from_base64url(text.rstrip("=").translate(_URL_SAFE))
        except (KeyError, ValueError, AttributeError):
            pass
        raise Unavailable("The key service answered without a signature.")

    async def _call(
        self, method: str, path: str, body: Any = None, *, gone: bool = False
    ) -> dict[str, Any]:
        """`data` of the answer. With `gone`, a key that is not there is an empty answer."""
        headers = {**self._headers, "X-Vault-Token": self._token(), "X-Vault-Request": "true"}
        try:
            answer = await self._client.request(method, path, json=body, headers=headers)
        except (httpx2.HTTPError, ValueError) as error:
            raise Unavailable(
                f"The key service does not answer ({type(error).__name__}).",
                hint="Check keys.transit.url, and that it runs and is unsealed.",
            ) from None
        status = answer.status_code
        if gone and status in {400, 404}:
            return {}
        if status in {401, 403}:
            raise Unavailable(
                "The key service does not accept the token, or its policy refuses this.",
                hint=f"It needs create, read, update and delete under {self._mount}/keys/"
                f"{self._prefix}-* and update under {self._mount}/sign/{self._prefix}-*.",
            )
        if status == 404:
            raise Misconfigured(
                "The key service has no such engine or key.",
                hint="Check keys.transit.mount; a key that was deleted there is lost.",
            )
        if status >= 300 or len(answer.content) > _MAX_ANSWER:
            raise Unavailable(f"The key service refused ({status}).")
        return _data(answer.content) or {"": status}


# ECDSA comes in base64url under `jws`, RSA in plain base64 all the same.
_URL_SAFE = str.maketrans("+/", "-_")


def _data(content: bytes) -> dict[str, Any]:
    if not content:
        return {}
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    data = cast("Any", document).get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict):
        raise Unavailable("The key service answered what is no answer of its API.")
    return cast("dict[str, Any]", data)


def _public(data: dict[str, Any]) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    key: Any = None
    try:
        key = load_pem_public_key(data["keys"]["1"]["public_key"].encode("ascii"))
    except (KeyError, TypeError, ValueError, AttributeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise Unavailable("The key service does not state the public half of its key.")
    return key


def _name(key: RingKey) -> str:
    name = key.handle.get("name")
    # Part of a URL; what stands in a file is not taken on trust.
    if not isinstance(name, str) or _NAME.match(name) is None:
        raise Misconfigured(
            f"Key {key.kid} names no key of a key service.",
            hint="Restore the rings from a backup; without one, remove them.",
        )
    return name


__all__ = ["TIMEOUT_S", "TransitKeySource"]
