"""The `midflight.toml` that `midflight init` writes: every setting, with its default.

A test keeps it in step with `apps/settings_sections.py`.
"""

TEMPLATE = """\
# Midflight. Every key is optional; those that are commented out show their defaults.
# Unknown keys are refused. Paths start at the directory of this file.
# Variables override: MIDFLIGHT_GATEWAY__LISTEN=127.0.0.1:9000 midflight up

[gateway]
# Where agents connect: /mcp for all upstreams, /mcp/NAME for one. Anything but loopback needs tls.
listen = "127.0.0.1:8600"
# How agents reach it, the audience of their tokens. Default: http(s)://<listen>.
# public_url = "https://midflight.example.org"
# Host and Origin headers accepted besides those of listen and public_url.
# allowed_hosts = []
# allowed_origins = []

# [gateway.tls]
# certificate = "tls/cert.pem"
# key = "tls/key.pem"
# client_ca = "tls/clients.pem"       # then callers must present a certificate
# svids = false                       # true: they may present an X509-SVID; not with client_ca

# [gateway.limits]                    # what strangers can cost
# header_bytes = 32768
# body_bytes = 4194304
# head_timeout = "10s"
# body_idle = "30s"
# body_total = "5m"
# keep_alive = "75s"
# connections = 4096
# connections_per_peer = 2048
# in_flight = 1024

[state]
# Database, ledger and keys. Mode 0700, owned by the user who runs Midflight.
# directory = ".midflight"

[policy]
# Cedar files; `midflight check` validates them, `midflight policy reload` activates a change.
# Its folder `observe` is a set of its own, for workloads in mode observe.
# directory = "policies"

[traits]
# What tools can do, as people reviewed it: UPSTREAM.toml, which `midflight traits propose` writes.
# directory = "traits"

[flow]
# Addresses here are colleagues': whoever takes part in a meeting that a run was asked about may be
# written to unasked if the address is at one of these. Whole host names, no wildcards.
# own_domains = ["example.org"]

[identity]
# Workloads are named spiffe://<trust_domain>/...
# trust_domain = "midflight.internal"
# issuer = "https://midflight.example.org"   # default: the gateway's public URL
# token_ttl = "10m"                   # 5m to 15m

[spiffe]
# Identities for local processes (SPIFFE Workload API). The socket of the state directory is for the
# user who runs Midflight; for others put it in a directory that all can read.
# socket = ".midflight/workload.sock"
# x509_ttl = "1h"                     # 1m to 1h
# jwt_ttl = "5m"                      # 30s to 5m
# refresh_hint = "5m"                 # how often others should look at our trust bundle
# experimental = true                 # serve what SPIFFE calls incubating: WIT-SVIDs, Broker API
# [spiffe.broker]                     # who may have SVIDs of other local processes, and of which
# [[spiffe.broker.grants]]
# broker = "spiffe://midflight.internal/proxy"
# workloads = ["spiffe://midflight.internal/agents/triage"]
# [spiffe.authority]
# kind = "own"     # or "files" (certificate, key, roots) or "openbao" (url, mount, token)

# [[ci.issuer]]                       # jobs of a CI system act as a workload: docs/ci.md
# name = "github"
# kind = "github"                     # or gitlab, kubernetes, oidc
#
# [[ci.issuer.rules]]
# workload = "spiffe://midflight.internal/ci/release"
# claims = { repository_id = "74", repository_owner_id = "65" }
#
# [[federation]]                      # another trust domain whose identities are known here
# trust_domain = "partner.example"
# url = "https://midflight.partner.example/spiffe/bundle"
# profile = "https_web"               # or https_spiffe, with endpoint_spiffe_id and bundle = FILE

[keys]
# What makes and holds keys that sign: file, pkcs11 (a hardware module) or transit (OpenBao, Vault).
# After a change here new keys take over by themselves, ten minutes or so later.
# backend = "file"
# Otherwise: access-token, transaction-token, jwt-svid, wit-svid, set, client.
# backends = { "set" = "transit" }

# [keys.pkcs11]                       # needs the extra pkcs11
# module = "/usr/lib/softhsm/libsofthsm2.so"
# token = "midflight"
# pin = "env:MIDFLIGHT_HSM_PIN"

# [keys.transit]
# url = "https://bao.example.org:8200"
# token = "file:/run/secrets/bao-token"   # read at each use, so that an agent may renew it
# mount = "transit"
# prefix = "midflight"
# namespace = ""
# ca = "tls/bao-ca.pem"               # default: the system's authorities

[oauth]
# Tokens for workloads and for people's clients, which `midflight client add` registers.
# enabled = true
# document_workload = "spiffe://midflight.internal/clients/any"   # default: they are refused
# experimental = true                 # default: false. Drafts of the IETF that may still change:
#   transaction tokens and identity assertions (ID-JAG); docs/experimental.md

# [oauth.login]                       # default: a printed code, on this machine only
# issuer = "https://login.example.org"
# client_id = "midflight"
# client_secret = "file:/run/secrets/login"
# claim = "sub"                       # or "email": what names a person to policies

# [[oauth.id_jag_issuer]]             # may let any of its people in by any registered client
# issuer = "https://login.example.org"
# algorithms = ["RS256"]
# tenant = "acme"                     # the one whose people are let in, if it has tenants

[ssf]
# Security events to others and from others (Shared Signals, CAEP): docs/shared-signals.md.
# transmit = false                    # true: registered clients may have streams of our events
# queue = 10000                       # events that wait in one stream at most
# streams_per_client = 1
# push_to_private = false             # true: events may be pushed into private networks

# [[ssf.receive]]                     # a transmitter that is listened to, and whom it may reach
# name = "idp"
# issuer = "https://idp.example.org"
# audience = "https://midflight.example.org"
# push_secret = "file:/run/secrets/idp-push"   # what it sends as Bearer to /ssf/receive/idp
# max_age = "7d"
# workloads = ["spiffe://midflight.internal/agents/*"]
# names = { "ann@example.org" = "owner ann" }  # or "workload ID", "credential NAME"
# tokens = false                      # true: it may revoke single tokens of ours
# effects = { "credential-change" = "revoke" } # or "finding", "note"
# [ssf.receive.poll]                  # for one that is polled
# endpoint = "https://idp.example.org/ssf/poll/1"
# interval = "30s"
# token_url = "https://idp.example.org/token"  # or token = REFERENCE
# client_id = "midflight"
# client_secret = "file:/run/secrets/idp-client"
# scope = "ssf.read"

[runs]
# ttl = "1h"
# idle_timeout = "15m"
# max_steps = 1000
# max_depth = 4
# implicit = true                     # a token without a run opens one, without an intent

[control]
# Operators by local user id. Default: the user who starts Midflight.
# operators = { "1000" = "alice" }
# socket = ".midflight/control.sock"
# listen = "127.0.0.1:8601"           # the control API for holders of `midflight operator token`

[approvals]
# Who may answer for an approver that policies name, or for an owner, besides the operator of that
# name. Operators are named as in [control]; "owner" stands for the owner of every workload.
# groups = { "security" = ["alice", "bob"] }
# max_pending = 20                    # questions of one run that may wait at a time
# page = true                         # /approve, where `midflight approver add` lets people answer

# [approvals.login]                   # people of the provider of [oauth.login] answer there, too
# people = { "alice@example.org" = "alice" }          # its name for a person, and the approver
# groups_claim = "groups"             # default: none is read
# groups = { "oncall@example.org" = "payments-oncall" }

# [approvals.ciba]                    # questions go to people's own devices (OpenID CIBA, poll)
# issuer = "https://login.example.org"
# client_id = "midflight-approvals"
# client_secret = "file:/run/secrets/ciba"   # default: private_key_jwt, keys at our jwks_uri
# [approvals.ciba.people.alice]
# login_hint = "alice@example.org"
# subject = "248289761001"            # the `sub` that an answer must be of

[escalation]
# Who is told of open questions that have no owner who can be reached: docs/escalation.md.
# default = "security"
# per_minute = 6                      # messages to one contact; what is more comes as a digest
# group = "60s"                       # between two messages about one kind of question of a run
# repeat = "24h"                      # when the last of all contacts is told again
# link = "https://midflight.example.org/approve"   # an approval's id is put behind it

# [channels.chat]                     # ways to tell people
# kind = "slack"                      # or webhook, email, pagerduty, opsgenie
# url = "file:/run/secrets/slack"     # whoever knows a Slack webhook's address can post
# arguments = false                   # true: messages show what an action would do
# ca = "tls/chat-ca.pem"              # default: the system's authorities
#
# [channels.page]
# kind = "pagerduty"
# key = "file:/run/secrets/pagerduty"
#
# [channels.own]
# kind = "webhook"
# url = "https://oncall.example.org/midflight"
# key = "file:/run/secrets/webhook"   # whsec_... or whsk_... (Standard Webhooks)
# previous_key = "file:/run/secrets/webhook-before"   # signs as well, while receivers change
#
# [channels.mail]
# kind = "email"
# host = "smtp.example.org"
# port = 587
# tls = "starttls"                    # or implicit; none for a server on this machine
# sender = "midflight@example.org"
# recipients = ["oncall@example.org"]
# username = "midflight"
# password = "file:/run/secrets/smtp"

# [contacts.security]                 # an owner, approver or escalation contact of this name
# channels = ["chat", "mail"]         # in order, until one takes it
# every = false                       # true: on all of them
# next = "page"                       # who is told if nobody answers
# answer_within = "15m"
#
# [contacts.page]
# channels = ["page"]

# [hooks.chat]                        # what comes back from a channel, at /hooks/chat
# kind = "slack"                      # or webhook, pagerduty
# secret = "file:/run/secrets/slack-signing"
# team = "T0123ABCD"
# may_answer = false                  # true: yes and no are taken, not only "I have it"
# people = { "U012AB3CD" = "alice" }
#
# [hooks.own]
# kind = "webhook"
# secret = "file:/run/secrets/webhook-in"    # whsec_... or a public key, whpk_...
# previous_secret = "file:/run/secrets/webhook-in-before"   # holds until
# previous_until = 2027-01-31T12:00:00Z
# people = { "u-17" = "alice" }

[break_glass]
# midflight break-glass open: for a time, what people would be asked about passes.
# max = "1h"
# four_eyes = false                   # true: nobody opens it for what he answers for
# unreviewed = 3                      # openings of a workload that may wait for their review
# review_within = "3d"

# How an agent waits while a person is asked.
# [approvals.wait]
# hold = "50s"                        # one call, at most; then it is told to come again
# forms = ["task", "round", "page", "hold"]   # tasks and rounds (2026-07-28), page (2025-11-25)
# max_of_run = 20                     # waits at a time; beyond it the answer comes at once
# max_of_workload = 200
# max_of_all = 5000

# [[signals]]                         # who may say by webhook that a run looks wrong
# name = "classifier"                 # at /signals/classifier; docs/detectors.md
# secret = "env:CLASSIFIER_SECRET"    # whsec_... or a public key, whpk_... (Standard Webhooks)
# previous_secret = "env:CLASSIFIER_SECRET_BEFORE"    # holds until
# previous_until = 2027-01-31T12:00:00Z
# workloads = ["spiffe://midflight.internal/agents/*"]
# owners = ["*"]                      # where both are given, both must match
# max_strength = "fair"               # weak, fair or strong: how much its word counts at most
# per_minute = 60

[elsewhere]
# Networks that are one place each when a token is used from several addresses.
# one_place = ["10.0.0.0/8"]

[injection_text]
# Rules that notice instructions in results: a label and a weak finding, nothing is blocked by them.
# rules = "off"                       # or "toolwall": pip install 'midflight[injection]'
# threshold = 0.6

[telemetry]
# otlp_endpoint = "http://127.0.0.1:4318"
# metrics = true

# Who is told of all that happens: a collector of security events. What it does not take waits in
# the ledger (`midflight export list`).
#
# [[export]]
# name = "siem"
# syslog = "tls://logs.example.org:6514"   # or tcp://host:601, unix:///dev/log
# ca = "tls/logs-ca.pem"              # default: the system's authorities
# form = "cef"                        # default: ocsf
# kinds = ["found", "revoked", "impact", "outcome"]   # default: all records
# whole = true                        # begin with the whole ledger; default: with what comes now
#
# [[export]]
# name = "archive"
# file = "events.jsonl"
#
# [[export]]
# name = "collector"
# otlp = "http://127.0.0.1:4318"

# One table for each tool server. Secrets are never written here, only where they are:
# env:NAME or file:PATH, with a scheme word before it if the header wants one.
# Better than one secret for all runs is one lent to each: midflight credential add --help.
#
# [[upstream]]
# name = "tickets"
# url = "https://tickets.example.org/mcp"
# headers = { Authorization = "Bearer env:TICKETS_TOKEN" }
# lists_with = "tickets"              # a credential for its lists; default: they need none
# ca = "tls/tickets-ca.pem"           # default: the system's authorities
# http2 = false
# proxy = "http://proxy.example.org:3128"
# timeout = "60s"
# reach = "closed"                    # open (default): anybody can write what its tools read
#
# [[upstream]]
# name = "git"
# command = "mcp-server-git"
# args = ["--repository", "/srv/repository"]
# env = { GIT_TOKEN = "file:/run/secrets/git-token" }
# cwd = "/srv/repository"
# stateless = false                   # true: one child may serve many runs
"""

__all__ = ["TEMPLATE"]
