"""Keys in a hardware module (PKCS #11 2.40): made there, never out of there, signing there.

One session, used by one thread: sessions may not be shared, and one is as fast as the module. When
the module loses it (removed, reset, logged out elsewhere) the session is opened again once.
The package `python-pkcs11` is imported when the first such key is used, and is an extra.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.serialization import load_der_public_key

from midflight.adapters.keys.public_keys import MIN_RSA_BITS, PublicKey, proven, public_jwk
from midflight.adapters.keys.remote_signer import RemoteSigner
from midflight.domain.errors import MidflightError, Misconfigured, Unavailable
from midflight.domain.key_ring import RingKey
from midflight.services.ports.key_rings import MadeKey
from midflight.services.ports.keys import Purpose, Signer

T = TypeVar("T")


class Pkcs11KeySource:
    """`KeySource` over one token of one module.

    Args:
        module: path of the module's shared library.
        token: label of the token in it.
        pin: gives the user PIN, asked each time a session is opened and kept nowhere.
    """

    def __init__(self, *, module: Path, token: str, pin: Callable[[], str]) -> None:
        """Nothing is loaded yet."""
        self._module = module
        self._token = token
        self._pin = pin
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pkcs11")
        self._session: Any = None
        self._found: dict[tuple[bytes, str], Any] = {}  # private keys, by handles of this session

    async def make(self, purpose: Purpose) -> MadeKey:
        """A key pair made in the module: sensitive, not extractable, for signing alone."""
        name = secrets.token_bytes(16)
        public = await self._do(lambda session: _generate(session, purpose, name))
        return MadeKey(jwk=public_jwk(public, purpose), handle={"id": name.hex()})

    async def open(self, purpose: Purpose, key: RingKey) -> Signer:
        """See `KeySource.open`."""
        signer = RemoteSigner(key, purpose, partial(self.sign, _name(key), purpose.algorithm))
        return await proven(signer, key, purpose)

    async def discard(self, key: RingKey) -> None:
        """Destroy both halves in the module."""
        name = _name(key)
        await self._do(lambda session: _destroy(session, name))

    async def close(self) -> None:
        """Log out, and end the thread."""
        if self._session is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)
        self._thread.shutdown(wait=False)

    async def sign(self, name: bytes, algorithm: str, message: bytes) -> bytes:
        """The JWS signature by the private key of that id."""

        def work(session: Any) -> bytes:
            key = self._found.get((name, algorithm))
            if key is None:
                key = self._found[name, algorithm] = _private(session, name, algorithm)
            return _sign(key, algorithm, message)

        return await self._do(work)

    # In the thread

    async def _do(self, work: Callable[[Any], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._twice, work)

    def _twice(self, work: Callable[[Any], T]) -> T:
        """Do it; if the module has lost the session, once more over a new one."""
        pkcs11 = _package()
        for last in (False, True):
            try:
                return work(self._opened())
            except pkcs11.PKCS11Error as error:
                self._drop()
                if last or type(error).__name__ not in _PASSING:
                    raise self._told(error) from None
        raise AssertionError

    def _opened(self) -> Any:
        if self._session is None:
            pkcs11 = _package()
            try:
                library = pkcs11.lib(str(self._module))
            except RuntimeError:
                raise Misconfigured(
                    f"{self._module} cannot be loaded as a PKCS #11 module.",
                    hint="Check keys.pkcs11.module.",
                ) from None
            token = library.get_token(token_label=self._token)
            self._session = token.open(rw=True, user_pin=self._pin())
        return self._session

    def _drop(self) -> None:
        session, self._session = self._session, None
        self._found.clear()
        if session is not None:
            try:
                session.close()
            except _package().PKCS11Error:
                return

    def _told(self, error: Exception) -> MidflightError:
        """In our words: the module's own text may say anything."""
        kind = type(error).__name__
        match kind:
            case "PinIncorrect" | "PinLocked" | "PinInvalid" | "PinLenRange" | "PinExpired":
                text = f"The PIN of token {self._token} is not accepted ({kind})."
                return Misconfigured(text, hint="Check keys.pkcs11.pin before the token locks.")
            case "NoSuchToken":
                text = f"The module has no token {self._token}."
                return Unavailable(text, hint="Check keys.pkcs11.token, and that it is plugged in.")
            case "NoSuchKey":
                return Misconfigured(
                    f"A key of the rings is not in token {self._token}.",
                    hint="Use the token that it was made in.",
                )
            case _:
                return Unavailable(f"The hardware module did not do what was asked ({kind}).")


def _generate(session: Any, purpose: Purpose, name: bytes) -> PublicKey:
    pkcs11 = _package()
    a = pkcs11.Attribute
    private = {
        a.SENSITIVE: True,
        a.EXTRACTABLE: False,
        a.SIGN: True,
        a.DECRYPT: False,
        a.UNWRAP: False,
        a.DERIVE: False,
        a.PRIVATE: True,
    }
    common: dict[str, Any] = {
        "id": name,
        "label": f"midflight {purpose.value}",
        "store": True,
        "capabilities": pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY,
        "private_template": private,
    }
    if purpose.algorithm == "RS256":
        public, made = session.generate_keypair(pkcs11.KeyType.RSA, MIN_RSA_BITS, **common)
    else:
        from pkcs11.util.ec import encode_named_curve_parameters  # noqa: PLC0415 -- an extra

        parameters = session.create_domain_parameters(
            pkcs11.KeyType.EC,
            {a.EC_PARAMS: encode_named_curve_parameters("secp256r1")},
            local=True,
        )
        public, made = parameters.generate_keypair(**common)
    # A module may ignore a template; a key that can leave it is not what was asked for.
    if not made[a.SENSITIVE] or made[a.EXTRACTABLE]:
        made.destroy()
        public.destroy()
        raise Misconfigured(
            "The hardware module makes keys that can be taken out of it.",
            hint="Set it up so that private keys are sensitive and not extractable.",
        )
    return _public(public)


def _public(key: Any) -> PublicKey:
    pkcs11 = _package()
    if key.key_type is pkcs11.KeyType.RSA:
        from pkcs11.util.rsa import encode_rsa_public_key  # noqa: PLC0415 -- an extra

        # PKCS #1, which the loader takes beside SubjectPublicKeyInfo.
        loaded = load_der_public_key(encode_rsa_public_key(key))
    else:
        from pkcs11.util.ec import encode_ec_public_key  # noqa: PLC0415 -- an extra

        loaded = load_der_public_key(encode_ec_public_key(key))
    return loaded  # type: ignore[return-value] -- `public_jwk` refuses every other kind


def _private(session: Any, name: bytes, algorithm: str) -> Any:
    pkcs11 = _package()
    kind = pkcs11.KeyType.RSA if algorithm == "RS256" else pkcs11.KeyType.EC
    return session.get_key(id=name, object_class=pkcs11.ObjectClass.PRIVATE_KEY, key_type=kind)


def _sign(key: Any, algorithm: str, message: bytes) -> bytes:
    mechanism = _package().Mechanism
    if algorithm == "RS256":
        return bytes(key.sign(message, mechanism=mechanism.SHA256_RSA_PKCS))
    # CKM_ECDSA takes the digest and gives r || s, which is what JWS wants (RFC 7518 §3.4). Modules
    # know it where they may not know CKM_ECDSA_SHA256.
    return bytes(key.sign(hashlib.sha256(message).digest(), mechanism=mechanism.ECDSA))


def _destroy(session: Any, name: bytes) -> None:
    pkcs11 = _package()
    for found in list(session.get_objects({pkcs11.Attribute.ID: name})):
        found.destroy()


def _name(key: RingKey) -> bytes:
    try:
        return bytes.fromhex(key.handle["id"])
    except (KeyError, TypeError, ValueError):
        raise Misconfigured(
            f"Key {key.kid} names no key in a hardware module.",
            hint="Restore the rings from a backup; without one, remove them.",
        ) from None


# What a new session may mend: the module was reset, or plugged in again.
_PASSING = frozenset(
    {
        "DeviceError",
        "DeviceRemoved",
        "GeneralError",
        "KeyHandleInvalid",
        "ObjectHandleInvalid",
        "SessionClosed",
        "SessionHandleInvalid",
        "TokenNotPresent",
        "UserNotLoggedIn",
    }
)


def _package() -> Any:
    try:
        import pkcs11  # noqa: PLC0415 -- an extra
    except ImportError:
        raise Misconfigured(
            "Keys are to be in a hardware module, and python-pkcs11 is not installed.",
            hint="Install midflight with the extra pkcs11.",
        ) from None
    return pkcs11


__all__ = ["Pkcs11KeySource"]
