"""Proof of possession by X.509: a chain to a configured authority, and a signature by its leaf.

The algorithm follows from the key: `ed25519`, `ecdsa-p256-sha256`, `ecdsa-p384-sha384`,
`rsa-pss-sha256` (2,048 to 8,192 bits); what the holder says only has to agree. Selectors as SPIRE
names them, with SHA-256: `x509pop:ca:fingerprint:…` of the authority that the chain leads to,
`x509pop:subject:cn:…`, `x509pop:serialnumber:…` (which is one authority's; add its fingerprint).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import (
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from midflight.adapters.attestation.proc import fact
from midflight.domain.attestation import Selector
from midflight.domain.errors import Misconfigured, Unauthenticated
from midflight.wire.tokens.certificate import UNREADABLE

MAX_CHAIN = 5
MAX_CERTIFICATE = 16_384
MIN_RSA_BITS, MAX_RSA_BITS = 2_048, 8_192
_CURVES: dict[str, tuple[str, hashes.HashAlgorithm]] = {
    "secp256r1": ("ecdsa-p256-sha256", hashes.SHA256()),
    "secp384r1": ("ecdsa-p384-sha384", hashes.SHA384()),
}
# What a leaf may have that is critical and is understood here.
_KNOWN = (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.SubjectAlternativeName)


class X509Possession:
    """See the module, and `Possession`."""

    def __init__(self, authorities: Path) -> None:
        """`authorities` is a PEM file. `Misconfigured` if it holds none."""
        try:
            found = x509.load_pem_x509_certificates(authorities.read_bytes())
            store = Store(found)
        except (OSError, ValueError) as error:
            raise Misconfigured(
                f"{authorities} holds no certificates of authorities ({type(error).__name__}).",
                hint="Set [attestation.x509pop] ca to a PEM file.",
            ) from None
        self._builder = PolicyBuilder().store(store)

    def prove(
        self,
        chain: Sequence[bytes],
        *,
        algorithm: str,
        message: bytes,
        signature: bytes,
        now: float,
    ) -> Sequence[Selector]:
        """Facts about the holder of the leaf's key. `Unauthenticated` if it does not hold."""
        if not 0 < len(chain) <= MAX_CHAIN or any(len(each) > MAX_CERTIFICATE for each in chain):
            _refuse(f"the chain has not 1 to {MAX_CHAIN} certificates of usual size")
        try:
            leaf, *above = [x509.load_der_x509_certificate(each) for each in chain]
            _check_leaf(leaf)
            verifier = (
                self._builder.time(dt.datetime.fromtimestamp(now, dt.UTC))
                .max_chain_depth(MAX_CHAIN)
                .extension_policies(
                    ca_policy=ExtensionPolicy.webpki_defaults_ca(),
                    ee_policy=ExtensionPolicy.permit_all(),
                )
                .build_client_verifier()
            )
            root = verifier.verify(leaf, above).chain[-1]
            _check_signature(leaf, algorithm, message, signature)
        except (VerificationError, *UNREADABLE):
            # Which of the checks it was says something about the authority to strangers.
            _refuse("its certificate is not one of a configured authority that holds now")
        selectors = [
            *fact("x509pop", "ca:fingerprint", root.fingerprint(hashes.SHA256()).hex()),
            *fact("x509pop", "serialnumber", f"{leaf.serial_number:x}"),
        ]
        names = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if len(names) == 1:  # of several, one could be read by us and another by the issuer
            selectors += fact("x509pop", "subject:cn", str(names[0].value))
        return selectors


def _check_leaf(leaf: x509.Certificate) -> None:
    for extension in leaf.extensions:
        value = extension.value
        if extension.critical and not isinstance(value, _KNOWN):
            _refuse("its certificate has a critical extension that is not understood here")
        if isinstance(value, x509.BasicConstraints) and value.ca:
            _refuse("its certificate is an authority's")
        if isinstance(value, x509.KeyUsage) and not value.digital_signature:
            _refuse("its key is not for signatures")
    key = leaf.public_key()
    if isinstance(key, rsa.RSAPublicKey) and not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        _refuse(f"its RSA key has not {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")


def _check_signature(
    leaf: x509.Certificate, algorithm: str, message: bytes, signature: bytes
) -> None:
    key = leaf.public_key()
    try:
        match key:
            case ed25519.Ed25519PublicKey():
                _same(algorithm, "ed25519")
                key.verify(signature, message)
            case ec.EllipticCurvePublicKey() if key.curve.name in _CURVES:
                name, digest = _CURVES[key.curve.name]
                _same(algorithm, name)
                key.verify(signature, message, ec.ECDSA(digest))
            case rsa.RSAPublicKey():
                _same(algorithm, "rsa-pss-sha256")
                salted = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
                key.verify(signature, message, salted, hashes.SHA256())
            case _:
                _refuse("its key is of a kind that is not accepted")
    except InvalidSignature:
        _refuse("its signature does not hold")


def _same(said: str, is_: str) -> None:
    if said != is_:
        _refuse(f"its key signs with {is_}, and it says another algorithm")


def _refuse(why: str) -> NoReturn:
    raise Unauthenticated(
        f"The proof of possession does not hold: {why}.",
        hint="Sign the challenge with the key of a certificate that the configured authority made.",
    )


__all__ = ["MAX_CHAIN", "X509Possession"]
