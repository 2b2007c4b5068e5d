"""The console as a person has it: a link, the page of the real door, its own client, and its screens."""

from __future__ import annotations

import json

import pytest
from hosts.page_browser import PageBrowser
from hosts.running_host import RunningHost

pytestmark = pytest.mark.once  # the page and the browser know no version of Python


def test_from_a_link_to_a_live_screen_and_to_the_end_by_a_revocation() -> None:
    with RunningHost(extra={"door": {"console": True}}) as host, PageBrowser() as browser:
        added = host.cli("component", "add", "third/status", "--yes", "--allow", 'client/admin: "*"')
        assert added.returncode == 0, added.stderr
        link = json.loads(host.cli("console", "looker", "--json").stdout)
        assert link["allow"]["third/status"] == ["*"] and host.cli("client", "revoke", "looker").returncode == 0
        allow = ["--allow", 'third/status: "*"', "--allow", 'primary/events: "*"', "--allow", 'secondary/store: "*"']
        made = host.cli("client", "add", "phone", *allow, "--json")
        assert made.returncode == 0, made.stderr
        browser.go(f"https://127.0.0.1:{host.port}/#{json.loads(made.stdout)['code']}")
        browser.until("document.querySelector('#enrol')")
        assert browser.run("location.hash") == ""
        browser.run("document.querySelector('#enrol').requestSubmit()")
        browser.until("document.querySelector('#verdict')?.textContent")
        assert "client/phone" in browser.run("document.querySelector('#host').textContent")
        assert f"{len(host.status()['loops'])} /" in browser.run("document.querySelector('main').innerText")
        browser.run("location.hash = '#/events'")
        browser.until("document.querySelectorAll('.row').length > 5")
        browser.run("location.hash = '#/methods'")
        browser.until("document.querySelector('.command')")
        browser.run("location.hash = '#/tree'")
        host.respawn("third")
        browser.until("document.querySelector('#tree')?.innerText.includes('1 restart')")
        assert browser.wrong == []  # no error, and no report of the content security policy
        assert host.cli("client", "revoke", "phone").returncode == 0
        browser.until("document.querySelectorAll('nav a').length === 0")
        assert "closed" in browser.run("document.querySelector('#connection').textContent")
        browser.run("document.querySelector('main .act button').click()")
        browser.until("document.querySelector('dialog[open]') && document.activeElement.id === 'no'")
        browser.run("document.querySelector('#yes').click()")
        browser.until("document.querySelector('main')?.innerText.includes('is no client of this host')")
