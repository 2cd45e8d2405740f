"""Tokens that others sign: what is asked of one (`Profile`), and what one says once it holds.

CI tokens, tokens of people, JWT-SVIDs, client assertions, identity assertions: all are JWTs that
Midflight did not mint. What each kind must look like is a value, so that one verifier
(`wire/tokens/verify.py`) closes every known hole for all of them. Access tokens that Midflight
mints and DPoP proofs have doors of their own. No clock, no keys, no bytes here.
"""

from __future__ import annotations

from typing import Final

from midflight.domain.value import Discreet, JSONObject, Value

MAX_LEEWAY_S: Final = 30
"""How far clocks may differ (identity.md §8)."""
DAY_S: Final = 86_400
ALGORITHMS: Final = frozenset({"ES256", "RS256", "PS256", "EdDSA", "Ed25519"})
"""What may be allowed at all: asymmetric, and nobody has to guess at a curve."""
SVID_USE: Final = "jwt-svid"
SVID_ALGORITHMS: Final = frozenset(
    {
        *("ES256", "ES384", "ES512"),
        *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    }
)
"""JWT-SVID §2.1, whole: other trust domains choose other keys. Only for keys of that use."""


class Profile(Value):
    """What a token of one kind from one issuer must be. Everything is exact.

    Attributes:
        kind: what it is called in refusals: `CI token`.
        issuer: the `iss`, exactly; None where a kind has none (JWT-SVID), and then what speaks
            for the token is whose keys it is verified with.
        audience: what `aud` must be.
        algorithms: the allow-list of this issuer, from settings and never from the token.
        types: the allowed values of `typ`, exactly; None in it stands for "without typ".
        audience_listed: whether `aud` may name others, too; else ours is the only one.
        required: claims that must be there, besides `sub`, `aud`, `exp`, and `iss` if any.
        max_age_s: seconds since `iat` after which it is refused although it still lives.
        max_lifetime_s: `exp` less `iat` at most; less now where there is no `iat`.
        leeway_s: for clocks, 0 to 30.
        use: what a key's `use` must be where the key has one (`sig`), or must be (others).
        extra_headers: further members of the header that are known to select nothing.
        kid_required: else a set of one fitting key needs none.

    Raises:
        ValueError: no algorithm or one outside `ALGORITHMS`, no audience, bounds out of range.
    """

    kind: str
    issuer: str | None
    audience: str
    algorithms: tuple[str, ...] = ("ES256",)
    types: tuple[str | None, ...] = ("JWT",)
    audience_listed: bool = False
    required: tuple[str, ...] = ("iat", "jti")
    max_age_s: int | None = 600
    max_lifetime_s: int = DAY_S
    leeway_s: int = MAX_LEEWAY_S
    use: str = "sig"
    extra_headers: frozenset[str] = frozenset()
    kid_required: bool = True

    def __post_init__(self) -> None:
        """Refuse a profile that would check less than its reader believes."""
        allowed = SVID_ALGORITHMS if self.use == SVID_USE else ALGORITHMS
        if not self.algorithms or not allowed.issuperset(self.algorithms):
            raise ValueError(f"algorithms are some of {', '.join(sorted(allowed))}")
        if not self.audience or self.issuer == "" or not self.types:
            raise ValueError("a profile names its audience, its issuer and its types")
        if not 0 <= self.leeway_s <= MAX_LEEWAY_S:
            raise ValueError(f"leeway_s is 0 to {MAX_LEEWAY_S}")
        if self.max_lifetime_s < 1 or (self.max_age_s is not None and self.max_age_s < 1):
            raise ValueError("max_age_s and max_lifetime_s are seconds above 0")
        if self.max_age_s is not None and "iat" not in self.required:
            raise ValueError("an age can only be checked where iat is required")
        if self.extra_headers & _SELECTING:
            raise ValueError("extra_headers names a member that selects a key or changes a reading")


_SELECTING = frozenset({"jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "enc", "typ", "alg"})


class OutsideToken(Discreet):
    """The claims of a token that holds.

    Attributes:
        subject: its `sub`, which is compared and never parsed.
        issuer: its `iss`, or empty where its kind has none.
        audience: its `aud`, as a tuple.
        issued_at: Unix seconds, or None without `iat`.
        expires_at: Unix seconds, rounded down.
        jti: its id, or empty.
        replay_key: digest that must be used once where a token is good for one exchange. It covers
            what is signed, since an ECDSA signature has two spellings.
        until: Unix seconds after which the replay key may be forgotten.
        claims: everything that it says.
    """

    shown = ("issuer", "jti", "expires_at")

    subject: str
    issuer: str
    audience: tuple[str, ...]
    issued_at: int | None
    expires_at: int
    jti: str
    replay_key: str
    until: int
    claims: JSONObject


class Hint(Discreet):
    """What an unverified token says of whose it is: good for a look-up in a fixed table, only.

    `kind` is its `typ`. Each is empty where the token names none.
    """

    issuer: str = ""
    subject: str = ""
    kid: str = ""
    kind: str = ""


__all__ = [
    "ALGORITHMS",
    "DAY_S",
    "MAX_LEEWAY_S",
    "SVID_ALGORITHMS",
    "SVID_USE",
    "Hint",
    "OutsideToken",
    "Profile",
]
