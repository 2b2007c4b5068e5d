// Runs where sound is made (AudioWorklet): passes on what the microphone hears, 100 ms at a time, as samples of 16 bits.

registerProcessor('recorder', class extends AudioWorkletProcessor {
  #samples = new Int16Array(1600)
  #count = 0

  process([[sound]]) {
    for (const one of sound ?? []) {
      this.#samples[this.#count++] = Math.max(-1, Math.min(1, one)) * 32767
      if (this.#count < this.#samples.length) continue
      this.port.postMessage(this.#samples)
      this.#count = 0
    }
    return true
  }
})
