// The sound of one call, both ways, and the picture of a camera (WebRTC). It ends once.

const TEXT_MOST = 4096
const STATISTICS_MS = 2000
const LOST_MS = 1000

export class Line extends EventTarget {
  #ends = new AbortController()
  #pc = null
  #microphone = null
  #channel = null
  #timer
  #audio = document.createElement('audio')
  heard = null // {packets, lost, bufferMs, tripMs} of what was heard
  picture = null // the element of the number's camera, once that gives some
  mayNotPlay = false // the browser wants to be pressed first

  /** Aborted when it has ended. */
  get signal() {
    return this.#ends.signal
  }

  /** Ask for the microphone, and return an offer of sound and texts. `servers` are STUN and TURN servers, or a promise. */
  async open(servers) {
    const asked = navigator.mediaDevices.getUserMedia({ audio: true }).then((one) => {
      this.#microphone = one
      if (this.signal.aborted) this.#release() // while the person was asked
      return one
    })
    const [microphone, iceServers] = await Promise.all([asked, servers])
    this.signal.throwIfAborted()
    const pc = this.#pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle', iceServers })
    for (const track of microphone.getAudioTracks()) pc.addTrack(track, microphone)
    pc.addTransceiver('video', { direction: 'recvonly' })
    pc.ontrack = ({ track }) => {
      if (track.kind === 'video') return void (track.onunmute = () => this.#see(track))
      this.#audio.id = 'call-sound'
      document.body.append(this.#audio)
      this.#audio.srcObject = new MediaStream([track])
      this.play()
    }
    this.#channel = pc.createDataChannel('texts')
    this.#channel.onmessage = ({ data }) => typeof data === 'string' && this.dispatchEvent(new CustomEvent('text', { detail: data.slice(0, TEXT_MOST) }))
    pc.onconnectionstatechange = () => { // the host says why over the session, a moment later or earlier
      if (pc.connectionState === 'failed') setTimeout(() => this.signal.aborted || this.dispatchEvent(new Event('lost')), LOST_MS)
    }
    await pc.setLocalDescription(await pc.createOffer())
    return pc.localDescription.sdp
  }

  #see(track) {
    this.picture ??= Object.assign(document.createElement('video'), { id: 'call-picture', autoplay: true, muted: true, playsInline: true, srcObject: new MediaStream([track]) })
    this.dispatchEvent(new Event('change'))
  }

  /** Take the answer of the host. */
  async accept(sdp) {
    await this.#pc?.setRemoteDescription({ type: 'answer', sdp })
    this.#timer = setInterval(() => this.#measure(), STATISTICS_MS)
  }

  /** Let it be heard; a browser on whose page nothing was pressed yet refuses that, and can be asked again. */
  async play() {
    try {
      await this.#audio.play()
      this.mayNotPlay = false
    } catch (error) {
      this.mayNotPlay = error.name === 'NotAllowedError'
    }
    this.dispatchEvent(new Event('change'))
  }

  /** Send nothing of the microphone, or send it again. */
  mute(isOn) {
    for (const track of this.#microphone?.getAudioTracks() ?? []) track.enabled = !isOn
  }

  /** Send a text to the other side; whether it went. */
  say(text) {
    if (this.#channel?.readyState !== 'open') return false
    this.#channel.send(text)
    return true
  }

  #release() {
    for (const track of this.#microphone?.getTracks() ?? []) track.stop()
  }

  async #measure() {
    const found = { packets: 0, lost: 0, bufferMs: null, tripMs: null }
    for (const one of (await this.#pc.getStats()).values()) {
      if (one.type === 'inbound-rtp' && one.kind === 'audio') {
        Object.assign(found, { packets: one.packetsReceived, lost: one.packetsLost })
        if (one.jitterBufferEmittedCount) found.bufferMs = Math.round((1000 * one.jitterBufferDelay) / one.jitterBufferEmittedCount)
      }
      if (one.type === 'candidate-pair' && one.nominated && one.currentRoundTripTime !== undefined) found.tripMs = Math.round(1000 * one.currentRoundTripTime)
    }
    this.heard = found
    this.dispatchEvent(new Event('change'))
  }

  /** End it: the microphone is let go, and no more is heard, at once and whatever the host does. */
  close() {
    if (this.signal.aborted) return
    clearInterval(this.#timer)
    this.#release()
    if (this.#pc) this.#pc.onconnectionstatechange = null
    this.#pc?.close()
    this.#audio.srcObject = null
    if (this.picture) this.picture.srcObject = null
    this.#audio.remove()
    this.#ends.abort()
  }
}
