"""The peers of a class, read from its source: what is seen, and what is not guessed."""

from __future__ import annotations

from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.declared_peers import peers_of

SOURCE = dedent(
    """
    import tlsrt
    from tlsrt import Component, handler, peer

    class Base(Component):
        store = peer("secondary/store")

        async def keep(this, value):
            await this.store.put("a", value)

    class Report(Base, Mixin):
        kernel: Kernel = peer("primary/kernel", Kernel, wait_s=2)
        camera = tlsrt.peer(address="third/camera")
        given = peer("third/given")
        unused = peer("third/unused")
        other = peer(ADDRESS)

        async def start(self):
            self.spawn(self.watch)
            helper(self.given)

        async def watch(self):
            async for event in self.follow("primary/events", "lifecycle"):
                await self.kernel.uname()
            async for event in self.follow("third/notes", topic="added"):
                pass

        @handler
        async def all(self):
            async def inner():
                return [frame async for frame in self.camera.frames(rate=2)]

            await self.kernel.processes()
            await self.call("external/mqtt", "send", 1)
            await self.stream(target="external/mqtt", method="messages")
            await self.call("external/any", self.method)
            await self.call(self.target, "x")
            self.subscribe("external/news", "hot")

    class Other(Component):
        elsewhere = peer("third/elsewhere")
    """
)


def test_methods_are_seen_where_they_are_called_and_the_address_alone_where_not() -> None:
    assert peers_of(SOURCE, "Report") == {
        "primary/kernel": {"uname", "processes"}, "third/camera": {"frames"}, "third/given": None,
        "third/unused": frozenset(), "secondary/store": {"put"}, "primary/events": {"lifecycle"},
        "third/notes": {"subscribe"}, "external/mqtt": {"send", "messages"}, "external/any": None,
        "external/news": {"subscribe"},
    }  # fmt: skip
    assert peers_of(SOURCE, "Other") == {"third/elsewhere": frozenset()}
    assert peers_of(SOURCE, "None") == {}


@pytest.mark.parametrize("use", ["f = self.a.b", "g(self.a)", "self.a, x = 1, 2", "getattr(self.a, name)()"])
def test_a_peer_that_is_used_in_another_way_has_the_address_alone(use: str) -> None:
    source = f"class A:\n    a = peer('x/y')\n    def m(self):\n        self.a.seen()\n        {use}\n"
    assert peers_of(source, "A") == {"x/y": None}


def test_classes_that_are_bases_of_each_other_end() -> None:
    assert peers_of("class A(B):\n    a = peer('x/y')\nclass B(A): ...\n", "A") == {"x/y": frozenset()}


@given(st.lists(st.sampled_from([
    "class A:", " a = peer('x/y')", " def m(self):", "  self.a.b()", "  self.call('x/y', 'z')", "  self.call()",
    "  self.follow('x/y')", "  self.a", " def s(): ...", " b: int", " a += peer('q/r')", "  (self.a)(1)(2)",
]), max_size=12))  # fmt: skip
def test_any_source_is_read_or_a_syntax_error(lines: list[str]) -> None:
    try:
        found = peers_of("\n".join(lines), "A")
    except SyntaxError:
        return
    assert set(found) <= {"x/y", "q/r"}
