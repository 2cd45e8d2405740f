"""Roles of arguments: what a parameter is for, by its format, its name and its description.

Where two readings are possible, the one that is judged more strictly is proposed: text of no
known meaning is something that is acted upon. Above: `rules.py`, and `flow/judge.py` for arguments
that no traits name. Below: `flow/fields.py`, `flow/words.py`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, cast

from midflight.domain.flow.fields import words_of
from midflight.domain.flow.words import lexicon, singular
from midflight.domain.paths import MAX_LENGTH, Place, argument_text
from midflight.domain.proposal.naming import Doing
from midflight.domain.traits import Argument, Effect, Role
from midflight.domain.value import JSONObject

MAX_ARGUMENTS = 200
MAX_DEPTH = 12
"""Steps of a path, elements of arrays among them."""

# By the last words of a name; the first row that has them counts.
_ROLES: tuple[tuple[Role, re.Pattern[str]], ...] = tuple(
    (role, re.compile(rf"(?:^|_)(?:{'|'.join(names.split())})$"))
    for role, names in (
        (
            Role.CREDENTIAL,
            """
                password passwd passphrase passcode secret client_secret
                api_?key access_?key private_?key token pin otp cvv cvc
                credential credentials verification_number card_number
            """,
        ),
        (
            Role.SCOPE,
            """
                permission permissions role roles scope scopes privilege
                privileges access access_level visibility grant acl
            """,
        ),
        (
            Role.ACCOUNT,
            """
                iban bic swift account account_number account_no routing_number
                wallet wallet_address payee beneficiary destination_account
                to_account crypto_address
            """,
        ),
        (
            Role.RECIPIENT,
            """
                recipient recipients email emails e_mail email_address mail
                participant participants attendee attendees invitee invitees
                guest guests receiver receivers receiver_id recipient_id to_user
                phone phone_number channel channels channel_id mentions
                mentioned_usernames assignee assignees share_with shared_with
                member members collaborator collaborators addressee contact
                forward_to reply_to
            """,
        ),
        (
            Role.URL,
            """
                url urls uri link links href host hostname domain endpoint
                webhook webhook_url callback website address_url redirect_uri
            """,
        ),
        (
            Role.AMOUNT,
            """
                amount sum price cost value total fee quantity qty shares
                amount_cents cents budget limit_amount budget_limit salary
            """,
        ),
        (
            Role.COMMAND,
            "command cmd code script sql statement shell program expression eval source_code",
        ),
        (
            Role.QUERY,
            """
                query q search search_term keyword keywords term terms filter
                pattern regex search_query question
            """,
        ),
        (
            Role.PATH,
            r"""
                path paths file_path filepath directory dir folder folder_name
                dir_name source destination src dst dest file_name\d*
                filename\d* file source_path target_path
            """,
        ),
        (
            Role.TIME,
            """
                date time day start end start_time end_time start_date end_date
                deadline due due_date duration timestamp when at until since
                month year hour start_day end_day timezone date_of_birth dob
                expiration_date travel_date
            """,
        ),
        (
            Role.CONTENT,
            """
                body content contents text message messages description comment
                comment_content note notes summary resolution html markdown
                reply reason thought instructions prompt memory post caption
                details data payload updates review
            """,
        ),
        (
            Role.TITLE,
            """
                title subject name label tags tag headline heading topic
                new_name location venue place
            """,
        ),
        (
            Role.OBJECT,
            """
                id ids uuid key number ref reference slug user users username
                user_name order item ticket event hotel restaurant company repo
                repository branch issue
            """,
        ),
    )
)
# Short words that mean a recipient only as a whole name: `travel_to` is a place.
_WHOLE = {"to": Role.RECIPIENT, "cc": Role.RECIPIENT, "bcc": Role.RECIPIENT, "from": Role.OBJECT}
# A switch by one of these names changes who can see or do something, or undoes a safeguard.
_RISKY = lexicon("""
    public anyone everyone external force forced recursive admin administrator permanent permanently
    bypass override insecure unsafe skip allow disable sudo root overwrite hard unlisted guest
""")
_GUARDS = lexicon("""
    private protected protection secure restricted verify verified confirm encrypted encryption
    safe dry approval readonly internal locked
""")
_PEOPLE_NOUNS = lexicon("""
    user customer chat contact vendor member recipient channel group conversation client employee
    friend team payee receiver counterparty person supplier merchant peer audience
""")
_PLACES = lexicon("location place")
_ABOUT_PEOPLE = lexicon("""
    first_name last_name full_name middle_name given_name family_name display_name nickname
    cardholder_name user_first_name user_last_name
""")
_MAKES = lexicon("""
    create add make new register draft compose generate upload save write open insert schedule
    mkdir touch init build prepare start store put echo
""")
_FORMATS: dict[str, Role] = {
    "email": Role.RECIPIENT, "idn-email": Role.RECIPIENT, "uri": Role.URL, "iri": Role.URL,
    "uri-reference": Role.URL, "hostname": Role.URL, "date": Role.TIME, "date-time": Role.TIME,
    "time": Role.TIME, "duration": Role.TIME, "password": Role.CREDENTIAL, "uuid": Role.OBJECT,
}  # fmt: skip
_ACCOUNTS = re.compile(r"\b(?:iban|bank account|account number|wallet)\b", re.IGNORECASE)
_PEOPLE = re.compile(r"\b(?:e-?mail address|recipients?|invitees?|participants?)\b", re.IGNORECASE)


def arguments(schema: Any) -> list[tuple[Argument, str]]:
    """Every argument of an input schema with its role, and why. Total: any JSON will do."""
    found: list[tuple[Argument, str]] = []
    if isinstance(schema, dict):
        _collect(cast("JSONObject", schema), cast("JSONObject", schema), (), found)
    return found[:MAX_ARGUMENTS]


def _collect(
    root: JSONObject, schema: JSONObject, above: Place, found: list[tuple[Argument, str]]
) -> None:
    properties = schema.get("properties")
    if len(above) > MAX_DEPTH or not isinstance(properties, dict):
        return
    for name, given in cast("JSONObject", properties).items():
        if len(found) >= MAX_ARGUMENTS:
            return
        inner = _resolve(root, given)
        place = (*above, name)
        kind = inner.get("type")
        items = inner.get("items")
        if kind == "array" or isinstance(items, dict):
            element = _resolve(root, items)
            if isinstance(element.get("properties"), dict):
                _collect(root, element, (*place, None), found)
                continue
        if isinstance(inner.get("properties"), dict):
            _collect(root, inner, place, found)
            continue
        path = argument_text(place)
        if len(path) > MAX_LENGTH:
            continue  # what cannot be written is guessed when it is used
        role, why = role_of(name, inner)
        found.append((Argument(path=path, role=role), why))


def _resolve(root: JSONObject, given: Any) -> JSONObject:
    """A schema without its local references and without the alternative `null`."""
    schema: Any = given
    for _ in range(8):
        if not isinstance(schema, dict):
            return {}
        inner = cast("JSONObject", schema)
        reference = inner.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/"):
            target: Any = root
            for part in reference[2:].split("/"):
                target = cast("JSONObject", target).get(part) if isinstance(target, dict) else None
            schema = target
            continue
        options = inner.get("anyOf") or inner.get("oneOf")
        if isinstance(options, list):
            real: list[JSONObject] = [
                cast("JSONObject", option)
                for option in cast("list[Any]", options)
                if isinstance(option, dict) and cast("JSONObject", option).get("type") != "null"
            ]
            if len(real) == 1:
                outer = {k: v for k, v in inner.items() if k not in ("anyOf", "oneOf")}
                schema = outer | real[0]
                continue
        return inner
    return {}


def role_of(name: str, schema: JSONObject) -> tuple[Role, str]:  # noqa: PLR0911 -- by strength
    """The role of an argument by its format, its description and its name, and why."""
    description = _text(schema.get("description"))
    field = words_of(name)
    wanted = schema.get("format")
    if not isinstance(wanted, str):
        items = schema.get("items")
        wanted = cast("JSONObject", items).get("format") if isinstance(items, dict) else None
    if isinstance(wanted, str) and wanted in _FORMATS:
        return _FORMATS[wanted], f"its format is {wanted}"
    if _ACCOUNTS.search(description) is not None:
        return Role.ACCOUNT, "its description speaks of an account"
    if schema.get("type") == "boolean" and risky(name):
        return Role.SCOPE, "it is a switch that lets more happen"
    if schema.get("type") == "boolean" or (
        "enum" in schema and _matched(field) not in (Role.SCOPE, Role.RECIPIENT)
    ):
        return Role.SETTING, "it is a choice among few"
    role = _matched(field)
    if role is None or role in (Role.OBJECT, Role.TITLE):
        people = _PEOPLE.search(description) is not None and not field.endswith(("id", "ids"))
        if people and schema.get("type") in ("string", "array"):
            return Role.RECIPIENT, "its description speaks of recipients"
        if role is None and schema.get("type") in ("integer", "number"):
            return Role.SETTING, "it is a number of no known meaning"
    if role is not None:
        return role, f"it is called `{field}`"
    return Role.OBJECT, "it is text of no known meaning, so its origin is judged"


def role_by_name(name: str, kind: str) -> Role:
    """The role of an argument that nobody has declared, by its name and the JSON type of its value.

    Remembered for names as people give them, which costs a twentieth.
    """
    return _by_name(name, kind) if len(name) <= _REMEMBERED else _by_name.__wrapped__(name, kind)


_REMEMBERED = 64
"""Characters of a name: whoever makes longer ones up fills no memory with them."""


@lru_cache(maxsize=4_096)
def _by_name(name: str, kind: str) -> Role:
    return role_of(name, {"type": kind})[0]


def guards(name: str) -> bool:
    """Whether a switch of this name keeps something from happening while it is on."""
    return bool(_GUARDS & set(words_of(name).split("_")))


def risky(name: str) -> bool:
    """Whether a switch of this name lets more happen when it is on."""
    return bool(_RISKY & set(words_of(name).split("_")))


def settled(argument: Argument, does: Doing, effect: Effect) -> tuple[Role, str] | None:
    """What the tool's verb and effect say of an argument that its name alone does not; or None."""
    field = words_of(argument.path.rpartition(".")[2])
    if argument.role is Role.TITLE and field not in _ABOUT_PEOPLE:
        names = field == "name" or field.endswith(("_name", "_label", "_topic"))
        if names and does.verb not in _MAKES and effect is not Effect.READ:
            return Role.OBJECT, "what it names is there already"
    if argument.role is Role.TITLE and field in _PLACES and effect is Effect.EXECUTE:
        return Role.OBJECT, "it says where something goes"
    if argument.role in (Role.OBJECT, Role.RECIPIENT) and effect in _REACHES_PEOPLE:
        parts = [singular(part) for part in field.split("_")]
        if _PEOPLE_NOUNS & set(parts) or field.startswith("to_"):
            role = Role.ACCOUNT if effect is Effect.PAY else Role.RECIPIENT
            return (role, "it says who gets it") if role is not argument.role else None
    return None


_REACHES_PEOPLE = frozenset({Effect.SEND, Effect.GRANT, Effect.PAY})


def _matched(field: str) -> Role | None:
    if field in _WHOLE:
        return _WHOLE[field]
    for role, pattern in _ROLES:
        if pattern.search(field) is not None:
            return role
    return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


__all__ = ["MAX_ARGUMENTS", "arguments", "guards", "risky", "role_by_name", "role_of", "settled"]
