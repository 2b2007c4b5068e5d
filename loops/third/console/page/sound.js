// Sound of this browser for the models of the host: the microphone and files as samples, and WAV files that are heard.

export const RATE = 16000 // of speech
const PART_SAMPLES = 16000
const WAITING_MOST = 600 // pieces of 100 ms that were not taken yet

/** Give what the microphone hears until `signal` aborts; then it is let go. */
export async function* recorded(signal) {
  const media = await navigator.mediaDevices.getUserMedia({ audio: true }), context = new AudioContext({ sampleRate: RATE })
  const waiting = []
  let wake = () => {}
  try {
    signal.addEventListener('abort', () => wake(), { once: true })
    await context.audioWorklet.addModule('recorder.js')
    const recorder = new AudioWorkletNode(context, 'recorder', { numberOfOutputs: 0, channelCount: 1, channelCountMode: 'explicit' })
    recorder.port.onmessage = ({ data }) => {
      if (waiting.length >= WAITING_MOST) waiting.shift()
      waiting.push(new Uint8Array(data.buffer))
      wake()
    }
    context.createMediaStreamSource(media).connect(recorder)
    await context.resume()
    while (!signal.aborted || waiting.length) {
      if (waiting.length) yield waiting.shift()
      else await new Promise((resolve) => { wake = resolve })
    }
  } finally {
    for (const track of media.getTracks()) track.stop()
    context.close()
  }
}

/** Give the samples of a file of sound that this browser can read. */
export async function* decoded(file) {
  const found = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await file.arrayBuffer()).catch(() => {
    throw new Error(`${file.name} is no sound that this browser can read`)
  })
  const channels = Array.from({ length: found.numberOfChannels }, (_, at) => found.getChannelData(at))
  for (let at = 0; at < found.length; at += PART_SAMPLES) {
    const samples = new Int16Array(Math.min(PART_SAMPLES, found.length - at))
    for (let n = 0; n < samples.length; n++) samples[n] = Math.max(-1, Math.min(1, channels.reduce((sum, one) => sum + one[at + n], 0) / channels.length)) * 32767
    yield new Uint8Array(samples.buffer)
  }
}

/** Play a WAV file; resolves when it has ended, or `signal` aborts. A file that was streamed says no length: it gets one. */
export async function play(bytes, signal) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  view.setUint32(4, bytes.length - 8, true)
  view.setUint32(40, bytes.length - 44, true)
  const context = new AudioContext()
  try {
    const source = new AudioBufferSourceNode(context, { buffer: await context.decodeAudioData(bytes.buffer) })
    source.connect(context.destination)
    await new Promise((resolve) => {
      source.onended = resolve
      signal.addEventListener('abort', resolve, { once: true })
      source.start()
    })
  } finally {
    context.close()
  }
}
