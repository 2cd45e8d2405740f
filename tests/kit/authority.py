"""A certificate authority of its own, for listeners and clients over TLS."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Makes certificates in a folder, valid now, or as told."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.file = folder / "authority.pem"
        self._certificate = self._sign(self._name, self._key.public_key(), authority=True)
        self.file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self, name: str, key: Any = None, *, until: dt.datetime | None = None
    ) -> tuple[Path, Path]:
        """(certificate, key) files, the key's with mode 0600."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(subject, key.public_key(), until=until)
        places = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        places[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        places[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        places[1].chmod(0o600)
        return places

    def _sign(
        self, subject: x509.Name, key: Any, *, authority: bool = False, until: Any = None
    ) -> x509.Certificate:
        # Verification in a handshake goes by the real clock, checks of files by the one given.
        from_, to = dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.datetime(2090, 1, 1, tzinfo=dt.UTC)
        own = self._key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(from_)
            .not_valid_after(until or to)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=not authority,
                    key_cert_sign=authority,
                    crl_sign=authority,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(own), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def trusting(authority: Authority, identity: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """A client's context that trusts the authority, and shows a certificate if it has one."""
    made = ssl.create_default_context(cafile=authority.file)
    if identity is not None:
        made.load_cert_chain(*identity)
    return made


__all__ = ["Authority", "trusting"]
