"""A real Chromium as one side of a call, driven over a pipe by its remote debugging protocol."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from hosts.chromium import Chromium

PAGE = """<!doctype html><meta charset=utf-8><audio id=out autoplay></audio>
<video id=seen autoplay muted playsinline></video><script>
const all = {texts: [], states: [], lastAt: 0, firstAt: 0};
let pc, channel, gain, analyser, lastStamp, context, microphone;
async function offer(hertz, iceServers = [], pictures = false) {
  context = new AudioContext({sampleRate: 48000});
  await context.resume();
  const tone = new OscillatorNode(context, {frequency: hertz});
  gain = new GainNode(context, {gain: 0.5});
  microphone = new MediaStreamAudioDestinationNode(context, {channelCount: 1});
  tone.connect(gain).connect(microphone);
  tone.start();
  pc = new RTCPeerConnection({bundlePolicy: "max-bundle", iceServers});
  channel = pc.createDataChannel("texts");
  channel.onmessage = event => all.texts.push(event.data);
  pc.onconnectionstatechange = () => all.states.push([pc.connectionState, Date.now()]);
  for (const track of microphone.stream.getTracks()) pc.addTrack(track, microphone.stream);
  if (pictures) pc.addTransceiver("video", {direction: pictures});
  pc.ontrack = event => {
    if (event.track.kind === "video") {
      document.getElementById("seen").srcObject = new MediaStream([event.track]);
      return;
    }
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
async function say(base64) {  // a sound file, instead of the tone; it returns when that is said
  gain.gain.value = 0;
  const buffer = await context.decodeAudioData(Uint8Array.from(atob(base64), one => one.charCodeAt(0)).buffer);
  const source = new AudioBufferSourceNode(context, {buffer});
  source.connect(microphone);
  source.start();
  await new Promise(resolve => { source.onended = resolve; });
}
function loudest() {
  const bins = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(bins);
  let best = 0;
  bins.forEach((one, at) => { if (one > bins[best]) best = at; });
  return {hertz: best * 48000 / 8192, decibel: Math.max(bins[best], -999)};
}
function picture() {  // its size, how many there were, and a sum and the number of colours of what is shown
  const seen = document.getElementById("seen"), canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [64, 36];
  const drawing = canvas.getContext("2d");
  drawing.drawImage(seen, 0, 0, 64, 36);
  const data = drawing.getImageData(0, 0, 64, 36).data, colours = new Set();
  for (let at = 0; at < data.length; at += 4) colours.add(data.slice(at, at + 3).map(one => one >> 5).join());
  return {width: seen.videoWidth, height: seen.videoHeight, frames: seen.getVideoPlaybackQuality().totalVideoFrames,
          sum: data.reduce((all, one, at) => (all * 31 + one * at) % 1000003, 7), colours: colours.size};
}
function watch() {  // note when the last picture was shown
  setInterval(() => {
    const frames = document.getElementById("seen").getVideoPlaybackQuality().totalVideoFrames;
    if (frames !== all.frames) [all.frames, all.seenAt] = [frames, Date.now()];
  }, 5);
}
async function received() {
  let found = {};
  (await pc.getStats()).forEach(one => {
    if (one.type === "inbound-rtp" && one.kind === "audio")
      found = {packets: one.packetsReceived, lost: one.packetsLost, jitter_s: one.jitter,
               buffer_s: one.jitterBufferDelay / Math.max(1, one.jitterBufferEmittedCount)};
  });
  return found;
}
</script>"""


class CallingBrowser(Chromium):
    """One page of a Chromium. It is started in the network namespace in which this thread is."""

    def __init__(self) -> None:
        super().__init__(
            "--autoplay-policy=no-user-gesture-required", "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream", page=PAGE,
        )  # fmt: skip
        self._session = self.first_page()
        while self.run("document.readyState") != "complete" or self.run("typeof offer") != "function":
            pass

    def run(self, words: str) -> Any:
        """Evaluate JavaScript in the page, wait for what it promises, and return it."""
        return self.evaluate(words, self._session)

    def offer(self, hertz: int = 1000, servers: Sequence[dict[str, Any]] = (), pictures: str = "") -> str:
        """Return an offer of sound, a tone, and a data channel; with STUN and TURN servers, and pictures one way."""
        return str(self.run(f"offer({hertz}, {json.dumps([*servers])}, {json.dumps(pictures)})"))

    def say(self, wav: bytes) -> None:
        """Say a WAV file instead of the tone, and be silent then; returns when it is said."""
        self.run(f"say({json.dumps(base64.b64encode(wav).decode())})")

    def silent(self) -> None:
        """Say nothing any more."""
        self.run("gain.gain.value = 0")

    def accept(self, sdp: str) -> None:
        """Take the answer to the offer."""
        self.run(f"accept({json.dumps(sdp)})")

    def fresh(self) -> None:
        """Load the page again: what was there of a call is gone."""
        self.run("pc && pc.close()")
        self.ask("Page.reload", {}, self._session)
        while (
            self.run("document.readyState == 'complete' && typeof offer == 'function' && pc === undefined") is not True
        ):
            pass

    def closed_s(self) -> float:
        """Return when the other side has closed the encrypted channel, wall s; 0.0 if it has not."""
        states = self.run("all.states")
        return next((at_ms / 1000 for state, at_ms in states if state == "dtls closed"), 0.0)
