"""Pages of the console that call: a Chromium whose microphone says a tone, and what a page hears."""

from __future__ import annotations

import json
import math
import struct
import wave
from pathlib import Path

from hosts.console_browser import ConsoleBrowser, Tab
from hosts.running_host import RunningHost

HERTZ, RATE = 1000, 48000
# Runs before the page: what its policy reports, the state of its connections, and how loud what it hears is.
FIRST = """
globalThis.wrong = []
addEventListener('securitypolicyviolation', event => wrong.push(event.violatedDirective + ' ' + event.blockedURI))
addEventListener('error', event => wrong.push(event.message))
addEventListener('unhandledrejection', event => wrong.push(String(event.reason)))
globalThis.pcs = []
globalThis.tracks = []
globalThis.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...words) { super(...words); pcs.push(this) }
  close() { super.close(); this.closedAt = Date.now() }
}
const ask = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices)
if (ask) navigator.mediaDevices.getUserMedia = async (...words) => {
  const media = await ask(...words)
  tracks.push(...media.getTracks())
  return media
}
globalThis.listen = async () => {
  const context = new AudioContext({ sampleRate: 48000 })
  await context.resume()
  globalThis.analyser = new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0 })
  globalThis.loud = { first: 0, last: 0 }
  const mediaStream = document.querySelector('#call-sound').srcObject
  new MediaStreamAudioSourceNode(context, { mediaStream }).connect(analyser)
  const samples = new Float32Array(8192)
  setInterval(() => {
    analyser.getFloatTimeDomainData(samples)
    const now = samples.subarray(-480)
    if (Math.sqrt(now.reduce((sum, one) => sum + one * one, 0) / now.length) < 0.02) return
    loud.last = Date.now()
    loud.first ||= Date.now()
  }, 5)
}
globalThis.hertz = () => {
  const bins = new Float32Array(analyser.frequencyBinCount)
  analyser.getFloatFrequencyData(bins)
  const best = bins.reduce((most, one, at) => (one > bins[most] ? at : most), 0)
  return bins[best] > -60 ? best * 48000 / 8192 : 0
}
"""


def tone_file(folder: Path) -> Path:
    """Write bursts of a tone, as a browser takes a steady one for noise that it is to suppress."""
    path = folder / "tone.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        for n in range(RATE):
            loud = 16000 if n % 24000 < 14400 else 0
            file.writeframes(struct.pack("<h", round(loud * math.sin(2 * math.pi * HERTZ * n / RATE))))
    return path


def talking_browser(host: RunningHost, *flags: str) -> ConsoleBrowser:
    """Start a browser that lets every page have the microphone, which says the tone."""
    return ConsoleBrowser(
        host.admin.ca_pem, "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={tone_file(host.base)}", *flags,
    )  # fmt: skip


def enrolled(host: RunningHost, browser: ConsoleBrowser, name: str, *allow: str) -> tuple[Tab, str]:
    """Make a browser's profile the client NAME by a link, as a person does; return its page and the profile."""
    words = [word for one in allow for word in ("--allow", one)]
    made = host.cli("client", "add", name, *words, "--json")
    assert made.returncode == 0, made.stderr
    profile = browser.profile()
    tab = browser.tab(f"https://127.0.0.1:{host.port}/#{json.loads(made.stdout)['code']}", profile, FIRST)
    tab.click("document.querySelector('#enrol button')")
    tab.until("document.querySelector('nav a')")
    return tab, profile
