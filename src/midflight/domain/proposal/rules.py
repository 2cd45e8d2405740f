"""The rules by which traits are proposed: verbs, nouns, formats, names of parameters.

General English and general JSON Schema, no names of products. Where two readings are possible the
one that protects more is proposed; annotations of the upstream raise and never lower.
Below: `naming.py`. Above: `proposal/__init__.py`.
"""

from __future__ import annotations

import re
from typing import Any, cast

from midflight.domain.flow.fields import words_of
from midflight.domain.flow.words import INSTRUCT, MONEY, RIGHTS, Family, singular
from midflight.domain.proposal.naming import Doing, doing
from midflight.domain.proposal.values import Evidence, Proposal, Sureness
from midflight.domain.tool import Definition
from midflight.domain.traits import Argument, Effect, Reach, Role, Traits
from midflight.domain.value import JSONObject

MAX_ARGUMENTS = 200
MAX_DEPTH = 6

# Verbs that read whatever they are used on, and those that change something whatever.
_READS = frozenset(
    "get list search find read fetch show view display check lookup query count compute calculate"
    " estimate convert verify validate retrieve describe summarize summarise compare diff grep cat"
    " ls pwd cd head tail wc du sort think analyze analyse browse preview ping watch translate"
    " inspect examine investigate look monitor scan detect classify rank filter navigate locate"
    " explain measure assess evaluate predict recommend suggest determine identify know see".split()
)
_DELETES = frozenset(
    "delete remove cancel erase clear drop discard terminate rm rmdir wipe purge destroy trash"
    " uninstall void abort".split()
)
_SENDS = frozenset(
    "send email mail text notify reply respond forward invite post tweet publish comment retweet"
    " mention dm message announce broadcast contact escalate".split()
)
_PAYS = frozenset(
    "pay refund reimburse wire donate buy purchase order settle deposit withdraw tip invest trade"
    " sell checkout charge fund".split()
)
_EXECUTES = frozenset(
    "run execute launch deploy trigger invoke start restart reboot stop kill lock unlock press"
    " release activate deactivate".split()
)
_SESSION = frozenset("login logout authenticate signin signout".split())
_BOOKS = frozenset("book reserve rent hire subscribe".split())
_OUTSIDE = frozenset(
    "web webpage website internet url http https google tweet twitter social public online site"
    " page news wikipedia weather feed rss blog crawl scrape".split()
)

_ROLES: tuple[tuple[Role, re.Pattern[str]], ...] = (
    (
        Role.CREDENTIAL,
        re.compile(
            r"(?:^|_)(?:password|passwd|passphrase|secret|api_?key|access_?key|private_?key|token|pin"
            r"|otp|cvv|cvc|credential|credentials|verification_number|card_number|client_secret"
            r"|passcode)(?:$|_)"
        ),
    ),
    (Role.SCOPE, re.compile(r"(?:^|_)(?:permission|permissions|role|roles|scope|scopes|privilege|privileges|access|access_level|visibility|grant|acl)$")),
    (
        Role.ACCOUNT,
        re.compile(
            r"(?:^|_)(?:iban|bic|swift|account|account_number|account_no|routing_number|wallet"
            r"|wallet_address|payee|beneficiary|destination_account|to_account|crypto_address)$"
        ),
    ),
    (
        Role.RECIPIENT,
        re.compile(
            r"(?:^to$|^cc$|^bcc$|(?:^|_)(?:recipient|recipients|email|emails|e_mail|email_address|mail"
            r"|participant|participants|attendee|attendees|invitee|invitees|guest|guests|receiver"
            r"|receivers|receiver_id|recipient_id|to_user|phone|phone_number|channel|channels"
            r"|channel_id|mentions|mentioned_usernames|assignee|assignees|share_with|shared_with"
            r"|member|members|collaborator|collaborators|addressee|contact|forward_to|reply_to)$)"
        ),
    ),
    (Role.URL, re.compile(r"(?:^|_)(?:url|urls|uri|link|links|href|host|hostname|domain|endpoint|webhook|webhook_url|callback|website|address_url|redirect_uri)$")),
    (Role.AMOUNT, re.compile(r"(?:^|_)(?:amount|sum|price|cost|value|total|fee|quantity|qty|shares|amount_cents|cents|budget|limit_amount|budget_limit|salary)$")),
    (Role.COMMAND, re.compile(r"(?:^|_)(?:command|cmd|code|script|sql|statement|shell|program|expression|eval|source_code)$")),
    (Role.QUERY, re.compile(r"(?:^|_)(?:query|q|search|search_term|keyword|keywords|term|terms|filter|pattern|regex|search_query|question)$")),
    (
        Role.PATH,
        re.compile(
            r"(?:^|_)(?:path|paths|file_path|filepath|directory|dir|folder|folder_name|dir_name"
            r"|source|destination|src|dst|dest|file_name\d*|filename\d*|file|source_path|target_path)$"
        ),
    ),
    (Role.TIME, re.compile(r"(?:^|_)(?:date|time|day|start|end|start_time|end_time|start_date|end_date|deadline|due|due_date|duration|timestamp|when|at|until|since|month|year|hour|start_day|end_day|timezone|date_of_birth|expiration_date|travel_date)$")),
    (
        Role.CONTENT,
        re.compile(
            r"(?:^|_)(?:body|content|contents|text|message|messages|description|comment"
            r"|comment_content|note|notes|summary|resolution|html|markdown|reply|reason|thought"
            r"|instructions|prompt|memory|post|caption|details|data|payload|updates|review)$"
        ),
    ),
    (Role.TITLE, re.compile(r"(?:^|_)(?:title|subject|name|label|tags|tag|headline|heading|topic|new_name|location|venue|place)$")),
    (Role.OBJECT, re.compile(r"(?:^|_)(?:id|ids|uuid|key|number|ref|reference|slug|user|users|username|user_name|order|item|ticket|event|hotel|restaurant|company|repo|repository|branch|issue)$")),
)
_FORMATS: dict[str, Role] = {
    "email": Role.RECIPIENT, "idn-email": Role.RECIPIENT, "uri": Role.URL, "iri": Role.URL,
    "uri-reference": Role.URL, "hostname": Role.URL, "date": Role.TIME, "date-time": Role.TIME,
    "time": Role.TIME, "duration": Role.TIME, "password": Role.CREDENTIAL, "uuid": Role.OBJECT,
}  # fmt: skip
_ACCOUNTS = re.compile(r"\b(?:iban|bank account|account number|wallet)\b", re.IGNORECASE)
_PEOPLE = re.compile(r"\b(?:e-?mail address|recipients?|invitees?|participants?)\b", re.IGNORECASE)


def propose(definition: Definition) -> Proposal:
    """Propose traits for a tool from its definition as served. Total: any JSON will do."""
    body = definition.body
    description = _text(body.get("description")) + " " + _text(body.get("title"))
    does = doing(definition.name, description)
    arguments = _arguments(body.get("inputSchema"))
    roles = {argument.path: argument.role for argument, _ in arguments}
    evidence: list[Evidence] = []
    effect = _effect(does, roles, body, evidence)
    for argument, why in arguments:
        evidence.append(
            Evidence(
                about=f"argument {argument.path}",
                says=argument.role.value,
                why=why,
                sure=Sureness.MEDIUM,
                confirm=effect is not Effect.READ and argument.role in (Role.SETTING, Role.TITLE),
            )
        )
    reach = _reach(does, roles, effect, description, body, evidence)
    return Proposal(
        traits=Traits(
            effect=effect,
            reach=reach,
            proposed=True,
            arguments=tuple(argument for argument, _ in arguments),
        ),
        evidence=tuple(evidence),
    )


def _effect(
    does: Doing, roles: dict[str, Role], body: JSONObject, evidence: list[Evidence]
) -> Effect:
    effect, why, sure = _effect_of(does, roles)
    hints = body.get("annotations")
    hinted: JSONObject = cast("JSONObject", hints) if isinstance(hints, dict) else {}
    if effect is Effect.READ and hinted.get("destructiveHint") is True and hinted.get("readOnlyHint") is not True:
        effect, why, sure = Effect.DELETE, "it calls itself destructive", Sureness.HIGH
    elif effect is Effect.READ and hinted.get("readOnlyHint") is False:
        effect, why, sure = Effect.WRITE, "it says that it does not only read", Sureness.HIGH
    evidence.append(
        Evidence(
            about="effect", says=effect.value, why=why, sure=sure, confirm=effect is Effect.READ
        )
    )
    return effect


def _effect_of(does: Doing, roles: dict[str, Role]) -> tuple[Effect, str, Sureness]:  # noqa: PLR0911, C901, PLR0912 -- one return a rule, in order
    verb = does.verb
    nouns = does.nouns | does.described_nouns
    has = frozenset(roles.values())
    pays = Role.AMOUNT in has and bool({Role.ACCOUNT, Role.RECIPIENT} & has)
    if not verb and not does.described_verb:
        return Effect.EXECUTE, "nothing says what it does, so the worst is assumed", Sureness.LOW
    if not verb:
        verb = does.described_verb
    named = f"its verb is `{verb}`"
    if verb in _READS:
        # A reading name over a description that acts: the description is believed.
        told = does.described_verb
        if told in _DELETES | _SENDS | _PAYS and told not in _READS:
            effect = (
                Effect.DELETE if told in _DELETES else Effect.SEND if told in _SENDS else Effect.PAY
            )
            return effect, f"its name reads and its description says `{told}`", Sureness.LOW
        if Role.COMMAND in has and verb in ("execute", "run", "query"):
            return Effect.EXECUTE, "it takes a command", Sureness.MEDIUM
        return Effect.READ, named, Sureness.HIGH if told in _READS or not told else Sureness.MEDIUM
    if verb in _SESSION:
        return Effect.WRITE, f"{named}, which opens or ends a session", Sureness.MEDIUM
    if verb in _DELETES:
        return Effect.DELETE, named, Sureness.HIGH
    if does.nouns & INSTRUCT:
        return Effect.INSTRUCT, "it writes what other runs obey", Sureness.MEDIUM
    if does.nouns & RIGHTS or verb in ("grant", "authorize", "authorise", "share", "permit"):
        return Effect.GRANT, "it changes who may do what", Sureness.HIGH
    if verb in ("add", "invite", "assign", "enroll") and {singular(n) for n in does.nouns} & {
        "user", "member", "collaborator", "people", "admin",
    }:  # fmt: skip
        return Effect.GRANT, "it lets somebody in", Sureness.MEDIUM
    if verb in _PAYS or pays or (verb in ("send", "make", "transfer", "schedule", "create", "place", "update") and nouns & MONEY and (Role.AMOUNT in has or Role.ACCOUNT in has)):
        return Effect.PAY, f"{named} and it moves money", Sureness.HIGH
    if verb in _BOOKS:
        return Effect.PAY, f"{named}, which somebody pays for", Sureness.MEDIUM
    if verb in _SENDS:
        return Effect.SEND, named, Sureness.HIGH
    if verb in _EXECUTES or Role.COMMAND in has:
        return Effect.EXECUTE, named if verb in _EXECUTES else "it takes a command", Sureness.MEDIUM
    kinds = does.families or does.described
    if kinds & {Family.CREATE, Family.UPDATE}:
        return Effect.WRITE, named, Sureness.HIGH
    if kinds & {Family.DELETE}:
        return Effect.DELETE, named, Sureness.MEDIUM
    if kinds & {Family.SEND}:
        return Effect.SEND, named, Sureness.MEDIUM
    if kinds == {Family.READ}:
        return Effect.READ, named, Sureness.MEDIUM
    return Effect.EXECUTE, f"{named}, which is not a word for reading or writing", Sureness.LOW


def _reach(
    does: Doing,
    roles: dict[str, Role],
    effect: Effect,
    description: str,
    body: JSONObject,
    evidence: list[Evidence],
) -> Reach:
    has = frozenset(roles.values())
    hints = body.get("annotations")
    hinted: JSONObject = cast("JSONObject", hints) if isinstance(hints, dict) else {}
    reach, why, sure = Reach.CLOSED, "nothing says that it leaves the upstream", Sureness.LOW
    if hinted.get("openWorldHint") is True:
        reach, why, sure = Reach.OPEN, "it says that it reaches the open world", Sureness.HIGH
    elif Role.URL in has:
        reach, why, sure = Reach.OPEN, "it takes an address to go to", Sureness.HIGH
    elif effect in (Effect.SEND, Effect.PAY):
        reach, why, sure = Reach.OPEN, "what it sends leaves", Sureness.HIGH
    elif Role.RECIPIENT in has and effect is not Effect.READ:
        reach, why, sure = Reach.OPEN, "somebody receives what it writes", Sureness.MEDIUM
    elif does.nouns & _OUTSIDE:
        reach, why, sure = Reach.OPEN, "its name speaks of the outside", Sureness.MEDIUM
    del description
    evidence.append(
        Evidence(
            about="reach", says=reach.value, why=why, sure=sure, confirm=reach is Reach.CLOSED
        )
    )
    return reach


def _arguments(schema: Any) -> list[tuple[Argument, str]]:
    found: list[tuple[Argument, str]] = []
    if isinstance(schema, dict):
        _collect(cast("JSONObject", schema), cast("JSONObject", schema), "", 0, found)
    return found[:MAX_ARGUMENTS]


def _collect(
    root: JSONObject, schema: JSONObject, prefix: str, depth: int, found: list[tuple[Argument, str]]
) -> None:
    properties = schema.get("properties")
    if depth > MAX_DEPTH or not isinstance(properties, dict):
        return
    for name, given in cast("JSONObject", properties).items():
        if len(found) >= MAX_ARGUMENTS:
            return
        inner = _resolve(root, given)
        path = f"{prefix}{name}"
        kind = inner.get("type")
        items = inner.get("items")
        if kind == "array" or isinstance(items, dict):
            element = _resolve(root, items)
            if isinstance(element.get("properties"), dict):
                _collect(root, element, f"{path}[*].", depth + 1, found)
                continue
        if isinstance(inner.get("properties"), dict):
            _collect(root, inner, f"{path}.", depth + 1, found)
            continue
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
            real = [
                o
                for o in cast("list[Any]", options)
                if isinstance(o, dict) and cast("JSONObject", o).get("type") != "null"
            ]
            if len(real) == 1:
                schema = {**inner, **cast("JSONObject", real[0])}
                cast("JSONObject", schema).pop("anyOf", None)
                cast("JSONObject", schema).pop("oneOf", None)
                continue
        return inner
    return {}


def role_of(name: str, schema: JSONObject) -> tuple[Role, str]:
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
    if schema.get("type") == "boolean" or (
        "enum" in schema and _matched(field) not in (Role.SCOPE, Role.RECIPIENT)
    ):
        return Role.SETTING, "it is a choice among few"
    role = _matched(field)
    if role is None or role in (Role.OBJECT, Role.TITLE):
        if not field.endswith(("id", "ids")) and _PEOPLE.search(description) is not None and schema.get("type") in ("string", "array"):
            return Role.RECIPIENT, "its description speaks of recipients"
        if role is None and schema.get("type") in ("integer", "number"):
            return Role.SETTING, "it is a number of no known meaning"
    if role is not None:
        return role, f"it is called `{field}`"
    return Role.OBJECT, "it is text of no known meaning, so its origin is judged"


def _matched(field: str) -> Role | None:
    for role, pattern in _ROLES:
        if pattern.search(field) is not None:
            return role
    return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


__all__ = ["MAX_ARGUMENTS", "propose", "role_of"]
