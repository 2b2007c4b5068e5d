"""The plan of a minimal root: links as on the host, binds that never lie in one another. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tlsrt.errors import SandboxError
from tlsrt.sandbox.apply.root_filesystem import RootPlan, plan_root

HOST = {
    "/lib": "usr/lib",
    "/lib64": "usr/lib64",
    "/usr/python": "/opt/python/current",
    "/opt/python/current": "../p3.13",
}


def plan(paths: list[str], links: Mapping[str, str] = HOST) -> RootPlan:
    return plan_root(paths, links.get)


def test_a_link_is_reproduced_and_its_target_bound() -> None:
    assert plan(["/lib"]) == RootPlan((("/lib", "usr/lib"),), ("/usr/lib",))


def test_chains_of_links_absolute_and_upwards() -> None:
    expected = (("/opt/python/current", "../p3.13"), ("/usr/python", "/opt/python/current"))
    assert plan(["/usr/python/bin"]) == RootPlan(expected, ("/opt/p3.13/bin",))


def test_a_path_below_another_is_covered() -> None:
    assert plan(["/code/site-packages", "/code", "/code/a/b"]).binds == ("/code",)


def test_names_that_only_begin_alike_are_not_covered() -> None:
    assert plan(["/usr/lib", "/usr/lib-extra", "/usr/lib/x", "/usr/libx"]).binds == (
        "/usr/lib", "/usr/lib-extra", "/usr/libx",
    )  # fmt: skip


def test_links_inside_a_bound_folder_come_with_it() -> None:
    links = {"/code/rooms": "../other"}
    assert plan(["/code", "/code/rooms"], links) == RootPlan((), ("/code", "/other"))


def test_blank_parts_and_dots_do_not_matter() -> None:
    assert plan(["//usr/./share/../lib/"]).binds == ("/usr/lib",)


def test_the_same_path_twice_is_bound_once() -> None:
    assert plan(["/lib/a", "/usr/lib/a", "/lib/a"]) == RootPlan((("/lib", "usr/lib"),), ("/usr/lib/a",))


@pytest.mark.parametrize("links", [{"/a": "/b", "/b": "/a"}, {"/a": "a"}])
def test_a_circle_of_links_is_refused(links: Mapping[str, str]) -> None:
    with pytest.raises(SandboxError, match="too many symbolic links"):
        plan(["/a"], links)


@pytest.mark.parametrize(("path", "links"), [("/", {}), ("/x/..", {}), ("/host", {"/host": "/"})])
def test_the_whole_host_is_refused(path: str, links: Mapping[str, str]) -> None:
    with pytest.raises(SandboxError, match="whole root"):
        plan([path], links)
