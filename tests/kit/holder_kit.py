"""Holders of certificates, honest and not, for proofs of possession."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
END = dt.datetime(2090, 1, 1, tzinfo=dt.UTC)


class PopAuthority:
    """An authority, and the certificates that it makes."""

    def __init__(self, folder: Path, name: str = "pop") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        own = self._key.public_key()
        self.certificate = (
            self._builder(self._name, own, START, END)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(own), critical=False)
            .add_extension(usage(cert_sign=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    @property
    def fingerprint(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def issue(
        self,
        key: Any,
        *,
        name: str = "machine-1",
        until: dt.datetime = END,
        authority: bool = False,
        extension: x509.ExtensionType | None = None,
    ) -> x509.Certificate:
        """A certificate for a key."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._builder(subject, key.public_key(), START, until)
        made = made.add_extension(x509.BasicConstraints(ca=authority, path_length=None), True)
        own = self._key.public_key()
        made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(own), False)
        made = made.add_extension(usage(cert_sign=authority), True)
        if extension is not None:
            made = made.add_extension(extension, critical=True)
        return made.sign(self._key, hashes.SHA256())

    def _builder(
        self, subject: x509.Name, key: Any, start: dt.datetime, end: dt.datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
        )


def usage(*, cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not cert_sign,
        key_cert_sign=cert_sign,
        crl_sign=cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def sign(key: Any, message: bytes) -> tuple[str, bytes]:
    """(algorithm, signature) as an honest holder makes them."""
    match key:
        case ed25519.Ed25519PrivateKey():
            return "ed25519", key.sign(message)
        case rsa.RSAPrivateKey():
            salted = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
            return "rsa-pss-sha256", key.sign(message, salted, hashes.SHA256())
        case _ if key.curve.name == "secp384r1":
            return "ecdsa-p384-sha384", key.sign(message, ec.ECDSA(hashes.SHA384()))
        case _:
            return "ecdsa-p256-sha256", key.sign(message, ec.ECDSA(hashes.SHA256()))


__all__ = ["END", "START", "PopAuthority", "der", "sign", "usage"]
