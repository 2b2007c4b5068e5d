"""The tables of messages, and the bounds that hold for them."""

from __future__ import annotations

from dataclasses import dataclass

STEPS = (
    """
    CREATE TABLE messages (
        number INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL,
        sender TEXT NOT NULL, recipient TEXT NOT NULL, topic TEXT NOT NULL, content_type TEXT NOT NULL,
        body ANY NOT NULL, created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, priority INTEGER NOT NULL,
        in_reply_to TEXT NOT NULL, hops INTEGER NOT NULL, origin TEXT NOT NULL, bytes INTEGER NOT NULL,
        is_done INTEGER NOT NULL, is_heard INTEGER NOT NULL DEFAULT 0, UNIQUE (source, id)
    ) STRICT;
    CREATE INDEX messages_that_expire ON messages (expires_ms);
    CREATE INDEX messages_of_source ON messages (source, is_done, bytes);
    CREATE INDEX messages_by_id ON messages (id);
    CREATE TABLE mail (
        position INTEGER PRIMARY KEY AUTOINCREMENT, message INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE,
        mailbox TEXT NOT NULL, source TEXT NOT NULL, state TEXT NOT NULL, kept_ms INTEGER NOT NULL, read_ms INTEGER,
        done_ms INTEGER, bytes INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX mail_of_message ON mail (message);
    CREATE INDEX mail_in_mailbox ON mail (mailbox, source, bytes) WHERE state != 'done';
    CREATE INDEX mail_by_arrival ON mail (mailbox, position) WHERE state != 'done';
    CREATE TABLE outgoing (
        position INTEGER PRIMARY KEY AUTOINCREMENT, message INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE,
        host TEXT NOT NULL, source TEXT NOT NULL, recipient TEXT NOT NULL, speaker TEXT NOT NULL, state TEXT NOT NULL,
        priority INTEGER NOT NULL, begun_ms INTEGER NOT NULL, due_ms INTEGER NOT NULL, attempts INTEGER NOT NULL,
        done_ms INTEGER, error TEXT
    ) STRICT;
    CREATE INDEX outgoing_of_message ON outgoing (message);
    CREATE INDEX outgoing_that_waits ON outgoing (host, priority DESC, position) WHERE state = 'waiting';
    CREATE INDEX outgoing_of_source ON outgoing (host, source) WHERE state IN ('waiting', 'dead');
    CREATE TABLE seen (
        source TEXT NOT NULL, id TEXT NOT NULL, hops INTEGER NOT NULL, until_ms INTEGER NOT NULL,
        is_sent_on INTEGER NOT NULL,
        PRIMARY KEY (source, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX seen_until ON seen (source, until_ms);
    CREATE TABLE contents (
        number INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL,
        sha256 TEXT NOT NULL, have INTEGER NOT NULL, is_whole INTEGER NOT NULL, changed_ms INTEGER NOT NULL,
        UNIQUE (owner, name, size, sha256)
    ) STRICT;
    CREATE TABLE pieces (
        content INTEGER NOT NULL REFERENCES contents ON DELETE CASCADE, at INTEGER NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (content, at)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE attached (
        message INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE, content INTEGER NOT NULL REFERENCES contents,
        name TEXT NOT NULL, PRIMARY KEY (message, name)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX attached_content ON attached (content);
    CREATE TABLE mailboxes (name TEXT PRIMARY KEY, opened_ms INTEGER) STRICT, WITHOUT ROWID;
    CREATE TABLE totals (only INTEGER PRIMARY KEY CHECK (only = 1), messages INTEGER NOT NULL, bytes INTEGER NOT NULL)
        STRICT;
    INSERT INTO totals VALUES (1, 0, 0);
    """,
)
ROW_BYTES = 512  # what a message takes beside its body


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much there may be. A sender, and a host, has half of one mailbox and a quarter of all."""

    messages: int  # of all
    total_bytes: int  # of all, attachments included
    mailboxes: int
    mailbox_messages: int
    mailbox_bytes: int
    outgoing: int  # that wait for one host
    attachment_bytes: int  # of one
