"""Whether there is room for one message more: in all, of its sender, in a mailbox, for another host."""

from __future__ import annotations

from tlsrt import Failed, Transaction
from tlsrt.loops.external.message_schema import Bounds


class MessageRoom:
    """The bounds of this host. Each check raises Failed with a sentence."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds

    def is_full(self, transaction: Transaction, size: int) -> bool:
        """Tell whether so many bytes more are too many, or one message more is."""
        [total] = transaction.read("SELECT messages, bytes FROM totals")
        return bool(total["messages"] + 1 > self._bounds.messages or total["bytes"] + size > self._bounds.total_bytes)

    def check_all(self, transaction: Transaction, source: str, size: int) -> None:
        """Refuse what is too much for this host, or of one caller or host."""
        if self.is_full(transaction, size):
            raise Failed("this host keeps as many messages as it may: try again later, or raise `messages`, `total_mb`")
        [own] = transaction.read(
            "SELECT count(*) AS messages, coalesce(sum(bytes), 0) AS bytes FROM messages WHERE source = ? "
            "AND is_done = 0", source,
        )  # fmt: skip
        [files] = transaction.read("SELECT coalesce(sum(size), 0) AS bytes FROM contents WHERE owner = ?", source)
        most, most_bytes = max(1, self._bounds.messages // 4), self._bounds.total_bytes // 4
        if own["messages"] + 1 > most or own["bytes"] + files["bytes"] + size > most_bytes:
            raise Failed(
                f"{own['messages']} messages of {source.removeprefix('@')} wait to be acknowledged, and it may have a "
                "quarter of all: try again later"
            )

    def check_box(self, transaction: Transaction, box: str, source: str, size: int) -> None:
        """Refuse what is too much for a mailbox, and make one that is new."""
        most, most_bytes = self._bounds.mailbox_messages, self._bounds.mailbox_bytes
        if not transaction.read("SELECT 1 FROM mailboxes WHERE name = ?", box):
            [own] = transaction.read(
                "SELECT count(*) AS boxes FROM mailboxes WHERE opened_ms IS NULL AND EXISTS (SELECT 1 FROM mail "
                "WHERE mailbox = name AND source = ? AND state != 'done')", source,
            )  # fmt: skip
            if own["boxes"] >= max(1, self._bounds.mailboxes // 4):
                raise Failed(
                    f"{own['boxes']} mailboxes with messages of {source.removeprefix('@')} were never looked into, a "
                    f"quarter of all there may be: is {box} the right name? Else wait, or raise `mailboxes`"
                )
            [row] = transaction.read("SELECT count(*) AS boxes FROM mailboxes")
            if row["boxes"] >= self._bounds.mailboxes:
                gone = transaction.execute(
                    "DELETE FROM mailboxes WHERE name IN (SELECT name FROM mailboxes WHERE NOT EXISTS (SELECT 1 FROM "
                    "mail WHERE mailbox = name AND state != 'done') ORDER BY opened_ms LIMIT 1)"
                )
                if not gone.count:
                    raise Failed(f"there are {row['boxes']} mailboxes and none is empty: raise `mailboxes`")
            transaction.execute("INSERT INTO mailboxes VALUES (?, NULL)", box)
        [held] = transaction.read(
            "SELECT count(*) AS messages, coalesce(sum(bytes), 0) AS bytes, coalesce(sum(source = ?), 0) AS own, "
            "coalesce(sum(CASE WHEN source = ? THEN bytes END), 0) AS own_bytes FROM mail "
            "WHERE mailbox = ? AND state != 'done'", source, source, box,
        )  # fmt: skip
        if held["own"] + 1 > most // 2 or held["own_bytes"] + size > most_bytes // 2:
            raise Failed(
                f"{held['own']} messages of {source.removeprefix('@')} are in the mailbox of {box}, half of what it "
                "may hold: wait until it acknowledges some"
            )
        if held["messages"] + 1 > most or held["bytes"] + size > most_bytes:
            raise Failed(f"the mailbox of {box} is full ({held['messages']} messages): it has to acknowledge some")

    def check_outgoing(self, transaction: Transaction, host: str, source: str) -> None:
        """Refuse what is too much for the way to another host."""
        [held] = transaction.read(
            "SELECT count(*) AS messages, coalesce(sum(source = ?), 0) AS own FROM outgoing WHERE host = ? "
            "AND state IN ('waiting', 'dead')", source, host,
        )  # fmt: skip
        most = self._bounds.outgoing
        if held["messages"] + 1 > most or held["own"] + 1 > max(1, most // 2):
            raise Failed(
                f"{held['messages']} messages wait for the host {host}, {held['own']} of them yours: see "
                "`tlsrt outbox` for why, and try again later"
            )
