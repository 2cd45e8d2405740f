"""Every requirement of the CAEP Interoperability Profile 1.0, and the test that stands for it.

The profile is openid-caep-interoperability-profile-1_0 as of 2026 (draft 02, with the use case
device-compliance-change). Sections are numbered as there; each row is one sentence with MUST, MUST
NOT or SHALL, in our words. `COUNTS` is how many such sentences a section has, so that none is left
out unnoticed. A row without a test says why, and docs/shared-signals.md says it, too.
"""

from __future__ import annotations

from typing import NamedTuple

SENDS = "functional/test_ssf_transmitter.py"
EVENTS = "functional/test_ssf_events.py"
TAKES = "functional/test_ssf_receiver.py"
FORGED = "attacks/test_forged_security_events.py"
OTHERS = "attacks/test_reading_another_receivers_stream.py"
TLS = "functional/test_ssf_tls.py"
PEERS = "conformance/test_ssf_jose.py"
DOCUMENT = f"{SENDS}::test_the_document_says_what_the_profile_asks_for"


class Requirement(NamedTuple):
    section: str
    what: str
    tests: tuple[str, ...] = ()
    gap: str = ""


COUNTS = {
    "2.1": 5, "2.3": 1, "2.3.1": 2, "2.3.2": 1, "2.3.3": 2, "2.3.4": 2, "2.3.5": 4, "2.3.6": 2,
    "2.3.7": 2, "2.3.8": 1, "2.3.8.1": 3, "2.3.8.2": 5, "2.4": 1, "2.4.1": 1, "2.4.2": 1,
    "2.5": 3, "2.6": 1, "2.7.1": 1, "2.7.2": 6, "2.7.3": 5, "2.8.1": 1, "3.1": 2, "3.2": 4,
    "3.3": 5,
}  # fmt: skip

PROFILE = [
    # Network layer protection
    Requirement("2.1", "the transmitter offers TLS", (
        f"{PEERS}::test_a_plane_polls_another_over_tls_and_does_what_it_says",
        "unit/test_server_serve.py::test_other_machines_are_only_served_over_tls",
    )),
    Requirement("2.1", "and connects to others by TLS", (
        "attacks/test_pushing_to_inside_addresses.py::test_no_stream_is_made_for_an_address_inside",
        f"{TLS}::test_a_push_goes_by_tls_to_who_shows_a_certificate_that_verifies",
    )),
    Requirement("2.1", "TLS 1.2 or later", (
        "unit/test_server_serve.py::test_old_tls_is_refused",
        f"{TLS}::test_old_tls_is_not_spoken_with_receivers_and_transmitters",
    )),
    Requirement("2.1", "as RFC 9325 recommends", (
        "unit/test_server_serve.py::test_old_tls_is_refused",
    )),
    Requirement("2.1", "the receiver checks the transmitter's certificate", (
        f"{TLS}::test_a_poll_asks_nobody_whose_certificate_does_not_verify",
    ), gap="name, chain and expiry are checked; whether the certificate was revoked is not asked"),
    # Transmitters
    Requirement("2.3", "a transmitter implements all of this", (DOCUMENT,)),
    Requirement("2.3.1", "spec_version is there", (DOCUMENT,)),
    Requirement("2.3.1", "and is 1_0", (DOCUMENT,)),
    Requirement("2.3.2", "delivery_methods_supported is there", (DOCUMENT,)),
    Requirement("2.3.3", "jwks_uri is there", (DOCUMENT,)),
    Requirement("2.3.3", "and has the key that signs", (
        f"{SENDS}::test_the_key_that_signs_is_published_and_is_no_key_of_tokens",
        f"{PEERS}::test_jose_verifies_what_is_sent_and_nothing_that_was_altered",
    )),
    Requirement("2.3.4", "configuration_endpoint is there", (DOCUMENT,)),
    Requirement("2.3.4", "and makes a stream by POST", (
        f"{SENDS}::test_a_stream_is_created_read_changed_replaced_and_deleted",
    )),
    Requirement("2.3.5", "status_endpoint is there", (DOCUMENT,)),
    Requirement("2.3.5", "and takes GET and POST", (
        f"{SENDS}::test_the_status_is_read_and_set",
    )),
    Requirement("2.3.5", "enabled, paused and disabled", (
        f"{SENDS}::test_the_status_is_read_and_set",
        f"{SENDS}::test_a_paused_stream_keeps_events_and_gives_them_in_order_afterwards",
        f"{SENDS}::test_a_disabled_stream_keeps_nothing",
    )),
    Requirement("2.3.5", "what a paused stream keeps is said", (
        f"{SENDS}::test_what_finds_no_room_is_counted_recorded_and_said",
        "conformance/test_caep_profile.py::test_what_receivers_are_promised_is_documented",
    )),
    Requirement("2.3.6", "verification_endpoint is there", (DOCUMENT,)),
    Requirement("2.3.6", "and sends verification events", (
        f"{SENDS}::test_a_verification_repeats_the_state_and_names_the_stream",
    )),
    Requirement("2.3.7", "authorization_schemes is there", (DOCUMENT,)),
    Requirement("2.3.7", "and names OAuth 2.0", (DOCUMENT,)),
    Requirement("2.3.8", "what follows is true of every stream", (
        f"{SENDS}::test_a_stream_is_created_read_changed_replaced_and_deleted",
    )),
    Requirement("2.3.8.1", "push and poll are both taken", (
        f"{EVENTS}::test_a_stream_that_was_polled_can_be_pushed_and_the_other_way_round",
        f"{EVENTS}::test_events_are_pushed_in_order_with_the_header_of_the_receiver",
    )),
    Requirement("2.3.8.1", "delivery is there", (
        f"{SENDS}::test_a_stream_without_a_delivery_is_polled",
    )),
    Requirement("2.3.8.1", "and is one of the two", (
        f"{SENDS}::test_a_request_that_cannot_be_read_makes_no_stream",
    )),
    Requirement("2.3.8.2", "these verbs are there", (
        f"{SENDS}::test_a_stream_is_created_read_changed_replaced_and_deleted",
    )),
    Requirement("2.3.8.2", "create", (
        f"{SENDS}::test_a_stream_is_created_read_changed_replaced_and_deleted",
    )),
    Requirement("2.3.8.2", "read", (
        f"{SENDS}::test_reading_asks_for_read_and_changing_for_manage",
    )),
    Requirement("2.3.8.2", "get the status", (f"{SENDS}::test_the_status_is_read_and_set",)),
    Requirement("2.3.8.2", "verify", (
        f"{SENDS}::test_a_verification_repeats_the_state_and_names_the_stream",
    )),
    # Receivers
    Requirement("2.4", "a receiver implements all of this", (
        f"{TAKES}::test_a_session_that_is_revoked_elsewhere_is_revoked_here",
    )),
    Requirement("2.4.1", "events are taken by push and by poll", (
        f"{TAKES}::test_a_session_that_is_revoked_elsewhere_is_revoked_here",
        f"{PEERS}::test_a_plane_polls_another_over_tls_and_does_what_it_says",
    )),
    Requirement("2.4.2", "nobody is added, and everybody is in", (
        f"{PEERS}::test_a_plane_polls_another_over_tls_and_does_what_it_says",
    )),
    # Subjects, signatures
    Requirement("2.5", "email, iss_sub and opaque are supported", (
        f"{TAKES}::test_a_subject_is_who_settings_say",
    )),
    Requirement("2.5", "receivers take events with any of them", (
        f"{TAKES}::test_a_subject_is_who_settings_say",
        f"{TAKES}::test_a_verification_that_nobody_asked_for_is_taken",
    )),
    Requirement("2.5", "transmitters send at least one of them", (
        f"{EVENTS}::test_what_is_revoked_is_said_with_its_reason_and_its_subject",
    )),
    Requirement("2.6", "RS256 with at least 2,048 bits", (
        f"{SENDS}::test_the_key_that_signs_is_published_and_is_no_key_of_tokens",
        f"{FORGED}::test_a_weak_key_of_the_issuer_itself",
        f"{FORGED}::test_a_set_of_another_key_or_algorithm",
    )),
    # OAuth
    Requirement("2.7.1", "client credentials give a token of at most an hour", (
        f"{SENDS}::test_reading_asks_for_read_and_changing_for_manage",
    )),
    Requirement("2.7.2", "scopes are found as follows", (
        f"{SENDS}::test_a_token_for_streams_is_good_for_no_tool",
    )),
    Requirement("2.7.2", "by resource metadata where there is some", (
        f"{SENDS}::test_a_token_for_streams_is_good_for_no_tool",
    ), gap="there is no resource metadata of /ssf, so the fixed scopes below are the ones"),
    Requirement("2.7.2", "else these scopes are there", (
        f"{SENDS}::test_a_token_for_streams_is_good_for_no_tool",
    )),
    Requirement("2.7.2", "scopes that begin with ssf are reserved", (
        f"{SENDS}::test_scopes_of_streams_are_only_for_clients_that_are_registered_with_them",
    )),
    Requirement("2.7.2", "managing takes ssf.manage", (
        f"{SENDS}::test_reading_asks_for_read_and_changing_for_manage",
    )),
    Requirement("2.7.2", "reading takes ssf.read", (
        f"{SENDS}::test_reading_asks_for_read_and_changing_for_manage",
    )),
    Requirement("2.7.3", "a token is taken in the header", (
        f"{SENDS}::test_without_a_good_token_there_is_nothing",
    )),
    Requirement("2.7.3", "and not in the query", (
        f"{SENDS}::test_a_token_in_the_query_is_not_taken",
    )),
    Requirement("2.7.3", "integrity, expiry and revocation are checked", (
        f"{SENDS}::test_without_a_good_token_there_is_nothing",
        f"{SENDS}::test_a_token_that_is_revoked_is_good_for_nothing",
    )),
    Requirement("2.7.3", "and whether it is enough", (
        f"{SENDS}::test_reading_asks_for_read_and_changing_for_manage",
        f"{OTHERS}::test_another_receivers_stream_is_not_there",
    )),
    Requirement("2.7.3", "errors as RFC 6750 says", (
        f"{SENDS}::test_reading_asks_for_read_and_changing_for_manage",
        f"{SENDS}::test_without_a_good_token_there_is_nothing",
    )),
    Requirement("2.8.1", "exactly one event", (
        f"{EVENTS}::test_what_is_revoked_is_said_with_its_reason_and_its_subject",
        f"{FORGED}::test_claims_that_belong_to_another_issuer_receiver_or_kind_of_token",
    )),
    # Use cases
    Requirement("3.1", "session-revoked is supported", (
        f"{EVENTS}::test_what_is_revoked_is_said_with_its_reason_and_its_subject",
        f"{TAKES}::test_a_session_that_is_revoked_elsewhere_is_revoked_here",
    )),
    Requirement("3.1", "its reason_admin is not empty", (
        f"{EVENTS}::test_what_is_revoked_is_said_with_its_reason_and_its_subject",
    )),
    Requirement("3.2", "credential-change is supported", (
        f"{EVENTS}::test_a_credential_that_is_revoked_is_a_credential_change",
        f"{TAKES}::test_every_event_and_each_of_its_values_has_the_effect_of_its_settings",
    )),
    Requirement("3.2", "every change_type is understood", (
        f"{TAKES}::test_every_event_and_each_of_its_values_has_the_effect_of_its_settings",
    )),
    Requirement("3.2", "every credential_type is understood", (
        f"{TAKES}::test_every_event_and_each_of_its_values_has_the_effect_of_its_settings",
    )),
    Requirement("3.2", "its reason_admin is not empty", (
        f"{EVENTS}::test_a_credential_that_is_revoked_is_a_credential_change",
    )),
    Requirement("3.3", "device-compliance-change is supported", (
        f"{TAKES}::test_every_event_and_each_of_its_values_has_the_effect_of_its_settings",
    ), gap="it is received; Midflight knows of no devices, and sends none"),
    Requirement("3.3", "these members are supported", (
        f"{TAKES}::test_an_event_that_lacks_what_it_must_say_is_refused",
    )),
    Requirement("3.3", "every previous_status is understood", (
        f"{TAKES}::test_every_event_and_each_of_its_values_has_the_effect_of_its_settings",
    )),
    Requirement("3.3", "every current_status is understood", (
        f"{TAKES}::test_every_event_and_each_of_its_values_has_the_effect_of_its_settings",
    )),
    Requirement("3.3", "its reason_admin is not empty", (
        f"{TAKES}::test_every_event_and_each_of_its_values_has_the_effect_of_its_settings",
    ), gap="asked of transmitters of this event, and none is sent"),
]  # fmt: skip
