"""Reads the XML that the query APIs of AWS (STS, IAM) answer with.

A flat reading: the text of each element by its name. No document type is read, so nothing expands;
what does not parse is `Malformed`. Above: `aws.py`.
"""

from __future__ import annotations

from xml.parsers import expat

from midflight.domain.errors import Malformed

MAX_ELEMENTS = 10_000

KNOWN_CODES = frozenset({
    "AccessDenied", "AccessDeniedException", "ExpiredToken", "ExpiredTokenException",
    "IncompleteSignature", "InvalidAccessKeyId", "InvalidClientTokenId", "LimitExceeded",
    "MalformedPolicyDocument", "NoSuchEntity", "PackedPolicyTooLarge", "RegionDisabledException",
    "RequestExpired", "RequestTimeTooSkewed", "ServiceUnavailable", "SignatureDoesNotMatch",
    "Throttling", "ThrottlingException", "UnrecognizedClientException", "ValidationError",
})  # fmt: skip
"""Codes of errors that are repeated to people; any other text of an answer is not."""


class _Refused(Exception):
    """A document of a kind that is not read."""


def elements(raw: bytes) -> dict[str, list[str]]:
    """Texts of all elements that hold nothing but text, by local name, in their order.

    Raises:
        Malformed: not well-formed XML, a document type, or too many elements.
    """
    found: dict[str, list[str]] = {}
    text: list[str] = []
    count = 0

    def start(*_: object) -> None:
        nonlocal count
        count += 1
        if count > MAX_ELEMENTS:
            raise _Refused
        text.clear()

    def end(name: str) -> None:
        value = "".join(text).strip()
        if value:
            found.setdefault(name.rpartition(":")[2], []).append(value)
        text.clear()

    def refuse(*_: object) -> None:
        raise _Refused

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(raw, True)
    # ValueError and LookupError: an encoding that there is not.
    except (expat.ExpatError, _Refused, ValueError, LookupError):
        raise Malformed("The answer is not plain XML.") from None
    return found


def code_of(found: dict[str, list[str]]) -> str:
    """The error's code if it is a known one, or an empty text."""
    return next((code for code in found.get("Code", ()) if code in KNOWN_CODES), "")


__all__ = ["KNOWN_CODES", "code_of", "elements"]
