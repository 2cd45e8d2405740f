"""The rules by which traits are proposed: verbs, nouns, formats, names of parameters.

General English and general JSON Schema, no names of products. Where two readings are possible the
one that protects more is proposed; annotations of the upstream raise and never lower.
Below: `naming.py`. Above: `proposal/__init__.py`.
"""

from __future__ import annotations

import re
from typing import Any, cast

from midflight.domain.flow.fields import words_of
from midflight.domain.flow.words import INSTRUCT, MONEY, RIGHTS, Family, lexicon, singular
from midflight.domain.paths import MAX_LENGTH, Place, argument_text
from midflight.domain.proposal.naming import Doing, doing
from midflight.domain.proposal.values import Evidence, Proposal, Sureness
from midflight.domain.tool import Definition
from midflight.domain.traits import Argument, Effect, Reach, Role, Traits
from midflight.domain.value import JSONObject

MAX_ARGUMENTS = 200
MAX_DEPTH = 12

# Verbs that read whatever they are used on, and those that change something whatever.
_READS = lexicon(
    """
        get list search find read fetch show view display check lookup query count
        compute calculate estimate convert verify validate retrieve describe summarize
        summarise compare diff grep cat ls pwd cd head tail wc du sort think analyze
        analyse browse preview ping watch translate inspect examine investigate look
        monitor scan detect classify rank filter navigate locate explain measure assess
        evaluate predict recommend suggest determine identify know see
    """
)
_DELETES = lexicon(
    """
        delete remove cancel erase clear drop discard terminate rm rmdir wipe purge
        destroy trash uninstall void abort
    """
)
_SENDS = lexicon(
    """
        send email mail text notify reply respond forward invite post tweet publish
        comment retweet mention dm message announce broadcast contact escalate
    """
)
_PAYS = lexicon(
    """
        pay refund reimburse wire donate buy purchase order settle deposit withdraw tip
        invest trade sell checkout charge fund
    """
)
_EXECUTES = lexicon(
    """
        run execute launch deploy trigger invoke start restart reboot stop kill lock
        unlock press release activate deactivate
    """
)
_SESSION = lexicon("login logout authenticate signin signout")
_MOVES = lexicon("send make transfer schedule create place update")
_BOOKS = lexicon("book reserve rent hire subscribe")
_OUTSIDE = lexicon(
    """
        web webpage website internet url http https google tweet twitter social public
        online site page news wikipedia weather feed rss blog crawl scrape
    """
)

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
    reach = _reach(does, frozenset(roles.values()), effect, body, evidence)
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
    destroys = hinted.get("destructiveHint") is True and hinted.get("readOnlyHint") is not True
    if effect is Effect.READ and destroys:
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
    moves = bool(nouns & MONEY) and bool({Role.AMOUNT, Role.ACCOUNT} & has)
    if verb in _PAYS or pays or (moves and verb in _MOVES):
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
    if kinds == frozenset({Family.READ}):
        return Effect.READ, named, Sureness.MEDIUM
    return Effect.EXECUTE, f"{named}, which is not a word for reading or writing", Sureness.LOW


def _reach(
    does: Doing, has: frozenset[Role], effect: Effect, body: JSONObject, evidence: list[Evidence]
) -> Reach:
    hints = body.get("annotations")
    hinted: JSONObject = cast("JSONObject", hints) if isinstance(hints, dict) else {}
    reach, why, sure = Reach.OPEN, "", Sureness.HIGH
    if hinted.get("openWorldHint") is True:
        why = "it says that it reaches the open world"
    elif Role.URL in has:
        why = "it takes an address to go to"
    elif effect in (Effect.SEND, Effect.PAY):
        why = "what it sends leaves"
    elif Role.RECIPIENT in has and effect is not Effect.READ:
        why, sure = "somebody receives what it writes", Sureness.MEDIUM
    elif does.nouns & _OUTSIDE:
        why, sure = "its name speaks of the outside", Sureness.MEDIUM
    else:
        reach, why, sure = Reach.CLOSED, "nothing says that it leaves the upstream", Sureness.LOW
    evidence.append(
        Evidence(about="reach", says=reach.value, why=why, sure=sure, confirm=reach is Reach.CLOSED)
    )
    return reach


def _arguments(schema: Any) -> list[tuple[Argument, str]]:
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


def _matched(field: str) -> Role | None:
    if field in _WHOLE:
        return _WHOLE[field]
    for role, pattern in _ROLES:
        if pattern.search(field) is not None:
            return role
    return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


__all__ = ["MAX_ARGUMENTS", "propose", "role_of"]
