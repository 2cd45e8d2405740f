"""Certificates that no honest authority makes, and honest ones to compare them with."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = 1_800_000_000
DOMAIN = "example.test"
TRIAGE = "spiffe://example.test/agents/triage"
BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def usage(*, sign: bool = True, certificates: bool = False, lists: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=lists,
        encipher_only=False,
        decipher_only=False,
    )


class Forge:
    """Makes one certificate; `...` leaves a part out."""

    def __init__(self, issuer: Forge | None = None, **parts: Any) -> None:
        values: dict[str, Any] = {
            "subject": "leaf",
            "names": (TRIAGE,),
            "authority": False,
            "path_length": None,
            "usage": ...,
            "usage_critical": True,
            "purposes": BOTH,
            "begins": NOW - 60,
            "ends": NOW + 3_600,
            "key": None,
            "hash": hashes.SHA256(),
            "extra": (),
            "issuer_name": None,
            "signer": None,
        } | parts
        self.key: Any = values["key"] or ec.generate_private_key(ec.SECP256R1())
        self.name = name(values["subject"])
        above = self if issuer is None else issuer
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(
                above.name if values["issuer_name"] is None else name(values["issuer_name"])
            )
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(dt.datetime.fromtimestamp(values["begins"], dt.UTC))
            .not_valid_after(dt.datetime.fromtimestamp(values["ends"], dt.UTC))
        )
        for extension, critical in self._extensions(values):
            builder = builder.add_extension(extension, critical=critical)
        signer = values["signer"] or above.key
        self.certificate = builder.sign(signer, values["hash"])
        self.der = self.certificate.public_bytes(Encoding.DER)

    def _extensions(self, values: dict[str, Any]) -> Sequence[tuple[Any, bool]]:
        found: list[tuple[Any, bool]] = []
        authority = values["authority"]
        if authority is not ...:
            constraints = x509.BasicConstraints(ca=authority, path_length=values["path_length"])
            found.append((constraints, True))
        told = values["usage"]
        if told is ...:
            told = usage(sign=authority is not True, certificates=authority is True)
        if told is not None:
            found.append((told, values["usage_critical"]))
        if values["purposes"]:
            found.append((x509.ExtendedKeyUsage(values["purposes"]), False))
        if values["names"]:
            uris = [x509.UniformResourceIdentifier(one) for one in values["names"]]
            found.append((x509.SubjectAlternativeName(uris), False))
        found.extend(values["extra"])
        return found


def authority(issuer: Forge | None = None, **parts: Any) -> Forge:
    """An authority: a root, or one under `issuer`."""
    values: dict[str, Any] = {
        "subject": "root" if issuer is None else "intermediate",
        "names": (f"spiffe://{DOMAIN}",),
        "authority": True,
        "purposes": (),
        "ends": NOW + 86_400,
    }
    return Forge(issuer, **(values | parts))


def small_rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 1_024)  # the attack: too small a key


__all__ = ["BOTH", "DOMAIN", "NOW", "TRIAGE", "Forge", "authority", "name", "small_rsa", "usage"]
