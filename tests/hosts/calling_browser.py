"""A real Chromium as one side of a call, driven over a pipe by its remote debugging protocol."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PAGE = """<!doctype html><meta charset=utf-8><audio id=out autoplay></audio><script>
const all = {texts: [], states: [], lastAt: 0, firstAt: 0};
let pc, channel, gain, analyser, lastStamp;
async function offer(hertz, iceServers = []) {
  const context = new AudioContext({sampleRate: 48000});
  await context.resume();
  const tone = new OscillatorNode(context, {frequency: hertz});
  gain = new GainNode(context, {gain: 0.5});
  const microphone = new MediaStreamAudioDestinationNode(context, {channelCount: 1});
  tone.connect(gain).connect(microphone);
  tone.start();
  pc = new RTCPeerConnection({bundlePolicy: "max-bundle", iceServers});
  channel = pc.createDataChannel("texts");
  channel.onmessage = event => all.texts.push(event.data);
  pc.onconnectionstatechange = () => all.states.push([pc.connectionState, Date.now()]);
  for (const track of microphone.stream.getTracks()) pc.addTrack(track, microphone.stream);
  pc.ontrack = event => {
    document.getElementById("out").srcObject = event.streams[0];
    analyser = new AnalyserNode(context, {fftSize: 8192, smoothingTimeConstant: 0});
    new MediaStreamAudioSourceNode(context, {mediaStream: event.streams[0]}).connect(analyser);
  };
  setInterval(() => {
    const [source] = pc.getReceivers()[0]?.getSynchronizationSources() ?? [];
    if (source && source.rtpTimestamp !== lastStamp) {
      lastStamp = source.rtpTimestamp;
      all.lastAt = Date.now();
      if (source.audioLevel > 0.05 && !all.firstAt) all.firstAt = Date.now();
    }
  }, 5);
  await pc.setLocalDescription(await pc.createOffer());
  return pc.localDescription.sdp;
}
async function accept(sdp) {
  await pc.setRemoteDescription({type: "answer", sdp});
  const way = pc.getSenders()[0].transport;
  way.onstatechange = () => all.states.push([`dtls ${way.state}`, Date.now()]);
}
function loudest() {
  const bins = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(bins);
  let best = 0;
  bins.forEach((one, at) => { if (one > bins[best]) best = at; });
  return {hertz: best * 48000 / 8192, decibel: Math.max(bins[best], -999)};
}
async function received() {
  let found = {};
  (await pc.getStats()).forEach(one => {
    if (one.type === "inbound-rtp")
      found = {packets: one.packetsReceived, lost: one.packetsLost, jitter_s: one.jitter,
               buffer_s: one.jitterBufferDelay / Math.max(1, one.jitterBufferEmittedCount)};
  });
  return found;
}
</script>"""


class CallingBrowser:
    """One page of a Chromium. It is started in the network namespace in which this thread is."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tlsrt-browser."))
        page = self._folder / "page.html"
        page.write_text(PAGE)
        there, self._to = os.pipe()
        self._from, back = os.pipe()
        program = shutil.which("chromium-headless-shell")
        assert program is not None
        words = [
            program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
            "--autoplay-policy=no-user-gesture-required", "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream", f"--user-data-dir={self._folder / 'profile'}", page.as_uri(),
        ]  # fmt: skip

        def place() -> None:
            first, second = os.dup(there), os.dup(back)
            os.dup2(first, 3)
            os.dup2(second, 4)

        self._process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=place, close_fds=False, env={**os.environ, "HOME": str(self._folder)},
        )  # fmt: skip
        os.close(there)
        os.close(back)
        self._number = 0
        self._read = b""
        self._session = ""
        while not self._session:
            targets = self._ask("Target.getTargets")["targetInfos"]
            for target in targets:
                if target["type"] == "page" and target["url"].startswith("file:"):
                    asked = {"targetId": target["targetId"], "flatten": True}
                    self._session = self._ask("Target.attachToTarget", asked)["sessionId"]
        while self.run("document.readyState") != "complete" or self.run("typeof offer") != "function":
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, words: str) -> Any:
        """Evaluate JavaScript in the page, wait for what it promises, and return it."""
        asked = {"expression": words, "awaitPromise": True, "returnByValue": True}
        answer = self._ask("Runtime.evaluate", asked, self._session)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def offer(self, hertz: int = 1000, servers: Sequence[dict[str, Any]] = ()) -> str:
        """Return an offer of sound, a tone, and a data channel; with STUN and TURN servers."""
        return str(self.run(f"offer({hertz}, {json.dumps([*servers])})"))

    def accept(self, sdp: str) -> None:
        """Take the answer to the offer."""
        self.run(f"accept({json.dumps(sdp)})")

    def fresh(self) -> None:
        """Load the page again: what was there of a call is gone."""
        self.run("pc && pc.close()")
        self._ask("Page.reload", {}, self._session)
        while (
            self.run("document.readyState == 'complete' && typeof offer == 'function' && pc === undefined") is not True
        ):
            pass

    def closed_s(self) -> float:
        """Return when the other side has closed the encrypted channel, wall s; 0.0 if it has not."""
        states = self.run("all.states")
        return next((at_ms / 1000 for state, at_ms in states if state == "dtls closed"), 0.0)

    def kill(self) -> None:
        """Kill the browser's first process, as a crash does."""
        self._process.kill()

    def close(self) -> None:
        """End it and remove its files."""
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _ask(self, method: str, more: dict[str, Any] | None = None, session: str = "") -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": more or {}}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._read:
                piece = os.read(self._from, 65536)
                assert piece, "the browser has ended"
                self._read += piece
            line, self._read = self._read.split(b"\0", 1)
            answer = json.loads(line)
            if answer.get("id") == self._number:
                if "error" in answer and session and "context" in str(answer["error"]):
                    return {"result": {}}  # the page is being loaded
                assert "error" not in answer, answer
                return dict(answer["result"])
