// Files of any size between this browser and a component that keeps files (`stat`, `read_stream`, `begin_put` and
// `go_on_put`, as third/files and external/messages have them). A transfer goes on where a lost connection has left it,
// and is done when the SHA-256 of all bytes is the one that was announced. Pure: nothing here knows of a page.

import { TlsrtError } from './errors.js'
import { Sha256 } from './sha256.js'
import { plain } from './values.js'

const PIECE = 128 * 1024
const SEGMENT = 8 * 1024 * 1024 // of one call, which has to end within its 300 s
const PATIENCE_MS = 60000 // in which no byte moves
const PAUSE_MS = 200
const PAUSE_MAX_MS = 4000
const PASSING = new Set(['unavailable', 'away', 'busy', 'deadline', 'outcome_unknown', 'stale', 'stream_broken', 'locked'])
export const BLOB_MAX = 256 * 1024 * 1024 // where the browser cannot write to a file while it comes

const failed = (sentence, code = 'failed') => new TlsrtError(code, sentence)
const isSize = (value) => Number.isSafeInteger(value) && value >= 0

/** Where a file is put that is not written as it comes: `finish` gives it to `save`, once it is whole. */
export class BlobPlace {
  #blob = new Blob([])
  #save

  constructor(save) {
    this.#save = save
  }

  begin(size) {
    if (size > BLOB_MAX) throw failed(`this browser cannot write to a file while it comes, so that ${BLOB_MAX >> 20} MiB are the most: use tlsrt get`, 'too_large')
  }

  write(bytes) {
    this.#blob = new Blob([this.#blob, bytes])
  }

  finish() {
    this.#save(this.#blob)
  }

  abort() {
    this.#blob = null
  }
}

/** A file of this machine, by its FileSystemFileHandle: the browser writes it beside, and `finish` puts it in its place. */
export class FilePlace {
  #handle
  #writer = null

  constructor(handle) {
    this.#handle = handle
  }

  async begin() {
    this.#writer ??= await this.#handle.createWritable()
  }

  write(bytes) {
    return this.#writer.write(bytes)
  }

  finish() {
    return this.#writer.close()
  }

  abort() {
    return this.#writer?.abort()
  }
}

const pause = (ms, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, ms)
  signal.addEventListener('abort', () => { clearTimeout(timer); resolve() }, { once: true })
})

/** Repeat a step until it ends well or with what will not pass; it calls its argument whenever bytes have moved. */
async function steadily(step, signal) {
  let movedAt = performance.now(), pauseMs = PAUSE_MS
  const moved = () => {
    movedAt = performance.now()
    pauseMs = PAUSE_MS
  }
  for (;;) {
    try {
      return await step(moved)
    } catch (error) {
      if (signal.aborted || !PASSING.has(error.code) || performance.now() - movedAt > PATIENCE_MS) throw error
    }
    await pause(pauseMs, signal)
    if (signal.aborted) throw failed('the transfer was cancelled', 'cancelled')
    pauseMs = Math.min(2 * pauseMs, PAUSE_MAX_MS)
  }
}

/** Fetch a file into a place, as a whole or not at all. `told(bytes, of)` hears how far it is. */
export async function download(client, target, path, place, { signal, told }) {
  const hash = new Sha256()
  let size = null, sha256 = null, done = 0
  try {
    await steadily(async (moved) => {
      const about = plain(await client.call(target, 'stat', [path], { signal, timeoutMs: 300000 }))
      if (!isSize(about?.size_bytes) || !/^[0-9a-f]{64}$/.test(about.sha256 ?? '')) throw failed(`${target} says of it neither size nor SHA-256: it is no file`)
      if (size === null) await place.begin(about.size_bytes)
      else if (about.size_bytes !== size || about.sha256 !== sha256) throw failed('the file was changed meanwhile: fetch it again', 'conflict')
      size = about.size_bytes
      sha256 = about.sha256
      told(done, size)
      for await (const part of client.stream(target, 'read_stream', [path, done], { signal })) {
        if (!(part instanceof Uint8Array)) throw failed(`${target} sends what are no bytes`)
        if (done + part.length > size) throw failed('more bytes came than were announced: nothing is kept')
        hash.update(part)
        await place.write(part)
        done += part.length
        moved()
        told(done, size)
      }
      if (done < size) throw failed('fewer bytes came than were announced', 'stream_broken')
    }, signal)
    if (hash.hex() !== sha256) throw failed('what came is not what was announced (other SHA-256): nothing is kept')
    await place.finish()
  } catch (error) {
    await Promise.resolve(place.abort()).catch(() => {})
    throw error
  }
  return { size, sha256 }
}

async function* pieces(file, from, to, told) {
  for (let at = from; at < to; at += PIECE) {
    const end = Math.min(at + PIECE, to)
    let bytes
    try {
      bytes = new Uint8Array(await file.slice(at, end).arrayBuffer())
    } catch {
      throw failed('this file cannot be read any more: it was changed, removed, or is a folder')
    }
    yield bytes
    told(end)
  }
}

/** Return the SHA-256 of a file, in hexadecimal digits. */
export async function digestOf(file, { signal, told }) {
  const hash = new Sha256()
  for await (const bytes of pieces(file, 0, file.size, (at) => told(at, file.size))) {
    if (signal.aborted) throw failed('the transfer was cancelled', 'cancelled')
    hash.update(bytes)
  }
  return hash.hex()
}

/** Send a file; resolve once it is on the disk of the host. `told(bytes, of)` hears how far it is. */
export async function upload(client, target, path, file, { signal, told, sha256 }) {
  const about = [path, file.size, sha256]
  await steadily(async (moved) => {
    let { offset, done } = plain(await client.call(target, 'begin_put', about, { signal, timeoutMs: 300000 }))
    const take = (at) => {
      if (!isSize(at) || at > file.size) throw failed(`${target} says an impossible size of what it has`)
      offset = at
    }
    take(offset)
    while (!done) {
      told(offset, file.size)
      const before = offset, count = (at) => { moved(); told(at, file.size) }
      const parts = pieces(file, offset, Math.min(offset + SEGMENT, file.size), count)
      const answer = plain(await client.upload(target, 'go_on_put', [...about, offset], parts, { signal }))
      take(answer.offset)
      done = answer.done
      if (!done && offset <= before) throw failed(`${target} takes no bytes`)
    }
    told(file.size, file.size)
  }, signal)
  return { size: file.size, sha256 }
}
