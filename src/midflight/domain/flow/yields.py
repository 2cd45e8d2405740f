"""Whose words the fields of one tool's results are: what its traits say, and the safe default.

What a person has reviewed holds where it speaks; where it is silent, a closed upstream that was
reviewed without any `yields` returns the owner's own words, and everything else is taken by shape
(`fields.py`). What comes from the open world is somebody's words, whatever it looks like.
Below: `fields.py`, `paths.py`. Above: `services/flow.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import msgspec

from midflight.domain.flow.atoms import CONTACTS, Shape, address_host
from midflight.domain.flow.fields import MAX_DEPTH, Leaf, words_of
from midflight.domain.labels import BOTTOM, UNTRUSTED, Confidentiality, Labels
from midflight.domain.paths import JSONPath, result_path
from midflight.domain.traits import Effect, FieldKind, Reach, Traits, Yield

# By these somebody is reached or paid; a number that is called an id is the upstream's own.
_CHOSEN = frozenset({Shape.EMAIL, Shape.LINK, Shape.HANDLE, Shape.ACCOUNT})
# See `atoms.py`: members of an enum by name are slow.
_BY_SYSTEM, _BY_CONTACT, _BY_TEXT, _BY_OWN = (
    FieldKind.SYSTEM,
    FieldKind.CONTACT,
    FieldKind.TEXT,
    FieldKind.OWN,
)
_SECRET = Confidentiality.SECRET
_NUMBER = re.compile(r"(?:^|_)(?:id|ids|uuid|key|number|ref)$")


class Reviewed:
    """The `yields` of one tool, compiled once."""

    __slots__ = ("_confined", "_open", "_own", "_rules")

    def __init__(self, traits: Traits) -> None:
        """`Malformed` if a path is none: the traits file refuses those before."""
        self._rules: tuple[tuple[JSONPath, Yield], ...] = tuple(
            (result_path(entry.path), entry) for entry in traits.yields
        )
        self._confined: tuple[tuple[JSONPath, Labels], ...] = tuple(
            (path, Labels(confidentiality=e.confidentiality, compartments=e.compartments))
            for path, e in self._rules
            if e.confidentiality is not Confidentiality.PUBLIC or e.compartments
        )
        said = traits.reviewed or traits.proposed
        # What a sending tool answers is its own word; what a reading one brings is not.
        fetches = traits.effect in (Effect.READ, Effect.EXECUTE)
        self._open = not said or (traits.reach is Reach.OPEN and fetches)
        self._own = traits.reach is Reach.CLOSED and (
            traits.first_party or (traits.reviewed and not traits.yields)
        )

    @property
    def floor(self) -> Labels:
        """The labels that every answer brings, an empty one too."""
        return UNTRUSTED if self._open else BOTTOM

    def apply(self, found: Iterable[Leaf]) -> list[tuple[Leaf, Labels]]:
        """Each value with whose words it is and its labels."""
        leaves = list(found)
        told = [self._told(leaf, leaves) for leaf in leaves]
        # An address beside somebody's words is his: he can have chosen it.
        written = {
            leaf.records[-1]
            for leaf, _ in told
            if leaf.kind is _BY_TEXT and leaf.records and leaf.name
        }
        if not written:
            return told
        return [
            (msgspec.structs.replace(leaf, kind=_BY_CONTACT), labels)
            if leaf.kind is _BY_SYSTEM
            and leaf.shape in _CHOSEN
            and leaf.records
            and leaf.records[-1] in written
            and self._rule(leaf) is None
            and not _NUMBER.search(words_of(leaf.name))
            else (leaf, labels)
            for leaf, labels in told
        ]

    def _told(self, leaf: Leaf, leaves: list[Leaf]) -> tuple[Leaf, Labels]:
        if len(leaf.path) > MAX_DEPTH:
            labels = self._whole()
            secret = leaf.secret or labels.confidentiality is _SECRET
            return msgspec.structs.replace(leaf, kind=_BY_TEXT, secret=secret), labels
        if not self._rules:
            kind = self._kind(leaf)
            told = leaf if kind is leaf.kind else msgspec.structs.replace(leaf, kind=kind)
            return told, self._labels(kind)
        rule = self._rule(leaf)
        around = self._around(leaf) if self._confined else BOTTOM
        if rule is not None:
            kind = _BY_OWN if _vouched(rule, leaf, leaves) else rule.kind
            labels = Labels(
                untrusted=kind is _BY_TEXT,
                confidentiality=rule.confidentiality,
                compartments=rule.compartments,
            ).join(around)
            secret = leaf.secret or labels.confidentiality is _SECRET
            return msgspec.structs.replace(leaf, kind=kind, secret=secret), labels
        kind = self._kind(leaf)
        secret = leaf.secret or around.confidentiality is _SECRET
        told = leaf
        if kind is not leaf.kind or secret is not leaf.secret:
            told = msgspec.structs.replace(leaf, kind=kind, secret=secret)
        labels = self._labels(kind)
        return told, labels if around is BOTTOM else labels.join(around)

    def _labels(self, kind: FieldKind) -> Labels:
        # From the open world even what looks like an id was chosen by somebody.
        return UNTRUSTED if kind is _BY_TEXT or self._open else BOTTOM

    def confines(self, wanted: Callable[[Labels], bool]) -> tuple[JSONPath, ...]:
        """The places whose labels are wanted: where a text does not say where its parts belong."""
        return tuple(path for path, entry in self._rules if wanted(entry.labels()))

    def _around(self, leaf: Leaf) -> Labels:
        """How confidential what it is in is: what is said of a whole holds for its parts."""
        labels = BOTTOM
        for path, entry in self._confined:
            if any(path.matches(leaf.path[:end]) for end in range(len(leaf.path))):
                labels = labels.join(entry)
        return labels

    def _whole(self) -> Labels:
        """All that any rule speaks of: for what was too deep to tell its parts apart."""
        labels = UNTRUSTED
        for _, entry in self._rules:
            labels = labels.join(
                Labels(confidentiality=entry.confidentiality, compartments=entry.compartments)
            )
        return labels

    def _rule(self, leaf: Leaf) -> Yield | None:
        for path, entry in self._rules:
            if path.matches(leaf.path):
                return entry
        return None

    def _kind(self, leaf: Leaf) -> FieldKind:
        kind = leaf.kind
        if self._own:
            return kind if kind is _BY_CONTACT else _BY_OWN
        if self._open and (kind is not _BY_SYSTEM or leaf.shape in CONTACTS):
            return _BY_TEXT
        return kind


def _vouched(rule: Yield, leaf: Leaf, leaves: Iterable[Leaf]) -> bool:
    """Whether the field beside it holds an address of one of the rule's domains."""
    if not rule.domains or not rule.unless_field:
        return False
    beside = [
        other
        for other in leaves
        if other.name == rule.unless_field and other.records == leaf.records
    ]
    return bool(beside) and all(
        address_host(other.text.strip()) in rule.domains for other in beside
    )


__all__ = ["Reviewed"]
