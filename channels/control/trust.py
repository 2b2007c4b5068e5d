"""The trust protocol: authority <-> one loop; and the office protocol: supervisor <-> authority.

Everything the authority says to a loop is an upsert, so every message may be sent again: a respawned authority says
all of it anew on the same descriptor, and nothing breaks. Lists are paged below the cap.

State of a conversation: "new" until the loop has joined, then "joined"; "locked" with the Primary of a locked host.
`primary` messages are refused from others by the authority, which knows whom it gave which descriptor.
"""

from __future__ import annotations

from tlsrt.channels.control.seqpacket import Message, MessageTable

TRUST_CAP = 64 * 1024
RIGHTS_PER_PAGE = 64
REVOKED_PER_PAGE = 512  # with subjects of the longest names, in two thirds of the cap

_ANY = frozenset({"new", "joined"})
_JOINED = frozenset({"joined"})
_ALWAYS = frozenset({"new", "joined", "locked"})
_AT_THE_DOOR = frozenset({"joined", "locked"})
_LOCKED = frozenset({"locked"})

TRUST = MessageTable(
    "trust",
    TRUST_CAP,
    (
        # from a loop
        Message(1, "join", "loop", (), _ALWAYS),
        Message(2, "prepared", "loop", (int,), _JOINED),  # epoch whose keys have arrived
        # from the Primary loop only
        Message(3, "challenge", "loop", (int,), _AT_THE_DOOR),  # connection number
        Message(4, "open", "loop", (int, bytes, bytes), _JOINED),  # connection, open, signature
        Message(5, "close", "loop", (bytes,), _JOINED),  # session id of a connection that ended
        Message(32, "came_from", "loop", (bytes, str), _JOINED),  # session id of a client, its address: for a list
        Message(40, "lend", "loop", (int, bytes), _JOINED),  # connection, certificate (DER) of an HTTP client
        # what gate and door refused: [kind, value, word, how often, about] each; read by the authority's
        # detection/gate_reports.py
        Message(53, "offences", "loop", (list,), _ALWAYS),
        # from any loop but Primary: frames that the gate let through and it refused: [session id, word, how often] each
        Message(55, "witnessed", "loop", (list,), _ALWAYS),
        # generation, 1 if the door can serve with it, else 0 and why
        Message(42, "tried", "loop", (int, int, str), _AT_THE_DOOR),
        # connection, its address, id of a join code, signing request (DER), MAC: of a client without a certificate
        Message(48, "enrol", "loop", (int, str, bytes, bytes, bytes), _JOINED),
        Message(51, "renew", "loop", (int, bytes, bytes), _JOINED),  # connection, signing request, signature
        # from the authority, to every loop
        # install id, boot id, issuer public key, key version
        Message(16, "welcome", "authority", (bytes, bytes, bytes, int), _ANY),
        # epoch, token key, gate incarnation, gate root (empty but for Primary), key version of its tokens
        Message(17, "epoch", "authority", (int, bytes, int, bytes, int), _ANY),
        # epoch, component, session id, own mailbox incarnation, mailbox root, gate incarnation, proof key, token,
        # token expires (ms), session ends (ms)
        Message(18, "session", "authority", (int, str, bytes, int, bytes, int, bytes, bytes, int, int), _ANY),
        # epoch, component, [[target, mailbox incarnation, request key, [methods]], ...]
        Message(19, "rights", "authority", (int, str, list), _ANY),
        Message(20, "prepare", "authority", (int,), _ANY),  # everything of this epoch was sent: acknowledge
        Message(21, "commit", "authority", (int, int), _ANY),  # epoch to seal with from now on, grace of the old (ms)
        Message(22, "revoked", "authority", (int, str, bytes), _ANY),  # number, "session"|"token"|"subject", value
        # number of the last revocation, epoch, when this is said (BOOTTIME, ms): every 0.5 s
        Message(23, "feed", "authority", (int, int, int), _ANY),
        # from the authority, to Primary only
        Message(24, "member", "authority", (str, int, int), _ANY),  # loop, incarnation (0: gone), attested for epoch
        Message(25, "challenged", "authority", (int, bytes), _ANY),  # connection, challenge
        # connection, number, ciphertext, signature, session id, subject, token
        Message(26, "granted", "authority", (int, int, bytes, bytes, bytes, str, bytes), _ANY),
        # connection, a grant's plaintext: the session of an HTTP client, for Primary to hold
        Message(41, "lent", "authority", (int, bytes), _ANY),
        # step ("limit" or "block"), kind, value, for how long (ms; 0: not any more)
        Message(54, "shut_out", "authority", (str, str, str, int), _ANY),
        Message(27, "refused", "authority", (int, str), _ANY),  # connection, word
        Message(49, "enrolled", "authority", (int, bytes, bytes), _ANY),  # connection, answer, MAC
        Message(50, "not_enrolled", "authority", (int,), _ANY),  # connection
        Message(52, "renewed", "authority", (int, bytes, bytes), _ANY),  # connection, certificate, signature; empty: no
        # session id of a client whose connection must close; empty: of all clients, as an authority that came again
        # knows none of them
        Message(28, "ended", "authority", (bytes,), _ANY),
        # which issuer keys follow which, as clients are to know it: see config/issuer_chain.py
        Message(33, "succession", "authority", (bytes,), _ANY),
        # from Primary: address, word, how often: connections that ended at the door, of one word since its last beat
        Message(37, "turned_away", "loop", (str, str, int), _ALWAYS),
        Message(38, "took_events", "loop", (), _ANY),  # from Primary: the next page may come
        # from Primary: what sessions did in the last window, a row each: see channels/control/telemetry.py
        Message(65, "telemetry", "loop", (list,), _JOINED),
        # events of the host, a line of JSON each; Primary passes over those that it knows
        Message(36, "events", "authority", (list,), _ANY),
        # door certificate, key, client CA as descriptors of sealed memfds; generation: to be tried
        Message(29, "door", "authority", (int,), _ANY, descriptors=3),
        Message(43, "serve", "authority", (int,), _ANY),  # generation of the door: accept with it from now on
        Message(59, "touched", "loop", (bytes, str, str), _ANY),  # from Primary: session id, and the decoy it asked for
        # from Primary: a canary or decoy of another kind was used: what, by which loop, session (may be empty), address
        Message(61, "canary", "loop", (str, str, bytes, str), _ANY),
        Message(62, "canaries", "authority", (list, list), _ANY),  # to Primary: hashes of tokens, and of client keys
        Message(60, "try_decoy", "authority", (str,), _ANY),  # to Primary: touch it, to show that it would tell us
        # serial (above 0), page, pages, number of the last revocation, when (BOOTTIME, ms), [[kind, value], ...]: all
        # that is revoked. Only this synchronises a verifier
        Message(30, "snapshot", "authority", (int, int, int, int, int, list), _ANY),
        Message(31, "restored", "authority", (int, bytes), _ANY),  # number, subject that is no longer revoked
        # to Primary, instead of keys: install id, boot id, lock id, epoch; the host is locked
        Message(45, "unlock", "loop", (int, bytes, bytes), _LOCKED),  # from Primary: connection, certificate, signature
        # from Primary: connection, certificate, reason, signature
        Message(46, "lock", "loop", (int, bytes, str, bytes), _JOINED),
        Message(47, "answered", "authority", (int, str), _ANY),  # connection, what became of its lock or unlock
        Message(44, "locked", "authority", (bytes, bytes, bytes, int), _ANY),
    ),
)

OFFICE_CAP = 64 * 1024
# "new" until the supervisor has looked at the sealed authority from outside and found no difference, then "attested";
# the authority itself waits for `boot` in "new".
_OFFICE = frozenset({"new", "booted"})
_LOOKED_AT = frozenset({"attested", "booted"})

OFFICE = MessageTable(
    "office",
    OFFICE_CAP,
    (
        # from the supervisor
        # boot nonce, install id; descriptors: master key, boot token, measurement (memfd), state folder,
        # certificate, key, client CA, CRL (empty: none), client CA's key (empty: none); then the configuration is known
        # by fork
        Message(1, "boot", "supervisor", (bytes,), _OFFICE, descriptors=9),
        Message(2, "spawned", "supervisor", (str, int), _OFFICE, descriptors=1),  # loop, incarnation; its trust end
        Message(3, "attested", "supervisor", (str, int, int), _OFFICE),  # loop, incarnation, epoch
        Message(4, "gone", "supervisor", (str, int), _OFFICE),  # loop, incarnation
        Message(5, "stop", "supervisor", (), _OFFICE),
        # number, 1 if a move follows; descriptors: boot token, measurement (memfd), to be checked as at a boot, and
        # policy (memfd), which holds from the epoch of the move on; certificate, key, client CA, CRL of the door
        Message(8, "reload", "supervisor", (int, int), frozenset({"booted"}), descriptors=7),
        Message(6, "taken", "supervisor", (int,), frozenset({"booted"})),  # number: the reload is in force
        Message(9, "move", "supervisor", (int,), frozenset({"booted"})),  # number: to an epoch without grace
        # number, 1 if with the master_key that was checked under it: to an epoch now, with grace
        Message(14, "rotate", "supervisor", (int, int), frozenset({"booted"})),
        # number; descriptors: another master_key, its boot token, measurement (memfd): to be checked as at a boot
        Message(15, "rekey", "supervisor", (int,), frozenset({"booted"}), descriptors=3),
        # loop, incarnation, detector, how often, what it did: for its anomaly score
        Message(10, "charge", "supervisor", (str, int, str, int, str), _OFFICE),
        # number, session id: which sessions there are after that one
        Message(11, "sessions", "supervisor", (int, bytes), frozenset({"booted"})),
        Message(51, "anomalies", "supervisor", (int,), frozenset({"booted"})),  # number
        Message(52, "release", "supervisor", (int, str), frozenset({"booted"})),  # number, whom
        # number, "session"|"token"|"component"|"client"|"loop"|"all", id or name, for how long (ms; 0: until restored)
        Message(12, "revoke", "supervisor", (int, str, str, int), frozenset({"booted"})),
        # number, "component"|"client"|"loop", name
        Message(13, "restore", "supervisor", (int, str, str), frozenset({"booted"})),
        # number, lock id, reason, by, since (wall, ms): lock with this id, if there is no lock yet
        Message(35, "lock", "supervisor", (int, bytes, str, str, int), frozenset({"booted"})),
        Message(36, "unlock", "supervisor", (int, str), frozenset({"booted"})),  # number, by
        # events of the host, a line of JSON each, for Primary
        Message(32, "events", "supervisor", (list,), frozenset({"booted"})),
        # from the authority: part of the trusted base, so it may speak in words
        Message(26, "sealed", "authority", (), frozenset({"new"})),  # its first: may be looked at, and then have keys
        Message(16, "booted", "authority", (int, list), _LOOKED_AT),  # epoch, warnings
        Message(17, "refused", "authority", (list,), _LOOKED_AT),  # sentences
        Message(18, "beat", "authority", (int, int, dict), frozenset({"booted"})),  # lateness us, epoch, sessions/loop
        Message(19, "joined", "authority", (str, int), frozenset({"booted"})),  # loop, incarnation got its keys
        Message(20, "event", "authority", (str, str), frozenset({"booted"})),  # word, sentence
        # number, 1 or 0, sentences, what will change at the door
        Message(24, "checked", "authority", (int, int, list, str), frozenset({"booted"})),
        # sealed memfds for the next authority's boot: certificate, key, client CA, CRL
        Message(34, "kept", "authority", (), frozenset({"booted"}), descriptors=4),
        # the audit log has a signed head: file, entries, Merkle root, sequence of the checkpoint
        Message(45, "checkpointed", "authority", (int, int, bytes, int), frozenset({"booted"})),
        # why the audit log cannot be written; empty: it can again
        Message(46, "unrecorded", "authority", (str,), frozenset({"booted"})),
        # how it stands: file, last sequence, bytes of all files, records that were dropped, and the same why
        Message(47, "audited", "authority", (int, int, int, int, str), frozenset({"booted"})),
        Message(25, "moved", "authority", (int, int), frozenset({"booted"})),  # number, epoch that is committed
        # what happened: [name of the event, subject, words, {field: value}] each
        Message(33, "noted", "authority", (list,), frozenset({"booted"})),
        # number of a request, how it went, 1 if more follows, rows (see session_desk.py)
        Message(27, "answer", "authority", (int, int, int, list), frozenset({"booted"})),
        # number, name, [[target, [methods]], ...], ttl (ms), 1 for HTTP, signing request (DER): enrol a client
        Message(40, "client_add", "supervisor", (int, str, list, int, int, bytes), frozenset({"booted"})),
        Message(41, "client_list", "supervisor", (int, str), frozenset({"booted"})),  # number, after which name
        # number, name, ttl (ms; 0: as before), signing request (DER)
        Message(42, "client_renew", "supervisor", (int, str, int, bytes), frozenset({"booted"})),
        Message(43, "client_revoke", "supervisor", (int, str), frozenset({"booted"})),  # number, name
        # number, name, [[target, [methods]], ...] (none: as before), 1 if the last counts, what it may do to the host
        Message(44, "client_set", "supervisor", (int, str, list, int, list), frozenset({"booted"})),
        # why the authority's state is not on the disk as it should be; empty: it is
        Message(28, "storage", "authority", (str,), frozenset({"booted"})),
        Message(23, "score", "authority", (str, int), frozenset({"booted"})),  # loop, its anomaly score
        Message(53, "quarantine", "authority", (list,), frozenset({"booted"})),  # who is in it, for status
        Message(50, "respawn", "authority", (str, int, str), frozenset({"booted"})),  # loop, incarnation, why
        Message(29, "rekeyed", "authority", (int, int, list), frozenset({"booted"})),  # number, 1 or 0, sentences
        # number, epoch that is committed (0: none, see the sentences), ms since its begin, who was late, sentences
        Message(30, "rotated", "authority", (int, int, int, list, list), frozenset({"booted"})),
        Message(57, "file_touched", "supervisor", (str, str), frozenset({"booted"})),  # loop, the canary file it opened
        Message(56, "try_decoys", "supervisor", (), frozenset({"booted"})),  # have one touched now: `decoys` answers
        Message(55, "decoys", "authority", (str,), frozenset({"booted"})),  # why nobody hears of touches; empty: proved
        # version of master_key, and for how many ms the version before still verifies
        Message(31, "keys", "authority", (int, int), frozenset({"booted"})),
        # lock id (empty: the host is not locked), reason, by, since (wall, ms); Primary has to be another process now
        Message(37, "lock_state", "authority", (bytes, str, str, int), _LOOKED_AT),
    ),
)
