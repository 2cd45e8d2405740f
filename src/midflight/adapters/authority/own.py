"""Intermediates under our own root. The root's key may be elsewhere until the next one is due.

    x509-root.key   the root's private key and its certificate, PEM. Take it away once the plane has
                    started; bring it back when an intermediate is due.
    x509-root.pem   the root's certificate alone, which stays.

While the key is away nothing else signs in its place: when the intermediate ends, no SVID is made.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from midflight.adapters.authority.certificates import (
    DER,
    key_bytes,
    new_intermediate,
    new_key,
    new_root,
)
from midflight.adapters.authority.rolling import Generation
from midflight.adapters.keys.private_files import PrivateDirectory
from midflight.domain.errors import Misconfigured, Unavailable

ROOT_KEY_FILE = "x509-root.key"
ROOT_FILE = "x509-root.pem"
ROOT_LIFE_S = 10 * 365 * 86_400
INTERMEDIATE_LIFE_S = 30 * 86_400

_PEM = serialization.Encoding.PEM


class OwnRoot:
    """`Source`: a root of our own, made at first use."""

    def __init__(
        self, directory: Path, *, trust_domain: str, life_s: int = INTERMEDIATE_LIFE_S
    ) -> None:
        """`directory` is private (0700)."""
        self._directory = directory
        self._trust_domain = trust_domain
        self._life_s = life_s

    async def obtain(self, *, now: float, root: bool) -> Generation:
        """A new intermediate under the root; under a new one if asked for.

        Raises:
            Unavailable: the root's key is not here.
            Misconfigured: key or certificate are not private, damaged, or do not fit.
        """
        return await asyncio.to_thread(self._obtain, now, root)

    def differs(self, signing: Generation) -> bool:
        """Never: nobody puts intermediates in place here."""
        del signing
        return False

    def _obtain(self, now: float, renew: bool) -> Generation:
        with PrivateDirectory(self._directory) as files, files.locked():
            secret = files.read(ROOT_KEY_FILE)
            if secret is None and files.read(ROOT_FILE) is not None and not renew:
                raise Unavailable(
                    "The key of the root authority is offline.",
                    hint=f"Bring {ROOT_KEY_FILE} back until the next intermediate is signed.",
                )
            if secret is None or renew:
                key = new_key()
                root = new_root(self._trust_domain, key, now=now, life_s=ROOT_LIFE_S)
                certificate = root.public_bytes(_PEM)
                files.write(ROOT_KEY_FILE, _pem(key) + certificate)
            else:
                root, key = _read(secret)
                certificate = root.public_bytes(_PEM)
            if files.read(ROOT_FILE) != certificate:  # or a crash came between the two
                files.write(ROOT_FILE, certificate)
        own = new_key()
        made = new_intermediate(
            self._trust_domain,
            own.public_key(),
            root=root,
            root_key=key,
            now=now,
            life_s=self._life_s,
        )
        return Generation(
            roots=(root.public_bytes(DER),),
            chain=(made.public_bytes(DER),),
            key=key_bytes(own),
            begins=int(now),
            ends=int(made.not_valid_after_utc.timestamp()),
        )


def _read(content: bytes) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        root = x509.load_pem_x509_certificate(content)
        key = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError):
        root = key = None
    fits = root is not None and key is not None and key.public_key() == root.public_key()
    if root is None or not isinstance(key, ec.EllipticCurvePrivateKey) or not fits:
        raise Misconfigured(f"{ROOT_KEY_FILE} is damaged.", hint="Restore it from a backup.")
    return root, key


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


__all__ = ["INTERMEDIATE_LIFE_S", "ROOT_FILE", "ROOT_KEY_FILE", "ROOT_LIFE_S", "OwnRoot"]
