// The files that are being sent and fetched, in one list that stays while screens change.

import { ask } from './dialog.js'
import { el } from './dom.js'
import { named, shown } from './service.js'
import { texts } from './texts.js'
import { BlobPlace, digestOf, download, FilePlace, upload } from './transfer.js'
import { bytesText } from './values.js'

const TELL_MS = 200
const list = el('ul', { class: 'transfers', 'aria-label': texts.transfers.list })
const running = new Set()
const stay = (event) => event.preventDefault()

/** The list, for the screen that is shown. */
export const transfers = () => list

/** Begin a transfer; `work({signal, told})` does it. Resolve to what it resolves to, or to null if it failed. */
async function begin(says, name, work) {
  const ends = new AbortController(), line = el('span', { role: 'status' }), bar = el('progress', { max: '1', value: '0', 'aria-label': shown(name) })
  const button = el('button', { type: 'button', click: () => (running.has(ends) ? ends.abort() : item.remove()) }, texts.transfers.cancel)
  const item = el('li', {}, el('b', {}, `${says} `, named(name)), bar, line, button)
  let toldAt = 0
  const told = (done, of) => {
    if (performance.now() - toldAt < TELL_MS && done < of) return
    toldAt = performance.now()
    bar.setAttribute('value', String(of ? done / of : 1))
    line.textContent = texts.transfers.part(bytesText(done), bytesText(of))
  }
  running.add(ends)
  addEventListener('beforeunload', stay)
  list.prepend(item)
  try {
    const done = await work({ signal: ends.signal, told })
    line.textContent = texts.transfers.done(bytesText(done.size), done.sha256)
    return done
  } catch (error) {
    line.textContent = ends.signal.aborted ? texts.transfers.cancelled : shown(texts.failed(error), 1000)
    item.classList.toggle('error', !ends.signal.aborted)
    return null
  } finally {
    running.delete(ends)
    if (!running.size) removeEventListener('beforeunload', stay)
    bar.remove()
    button.textContent = texts.transfers.forget
  }
}

function save(blob, name) {
  const url = URL.createObjectURL(blob), link = el('a', { download: name })
  link.href = url // of this page's own bytes
  link.click()
  setTimeout(() => URL.revokeObjectURL(url), 60000)
}

/** A name of others as one for a file of this machine: nothing of it leads elsewhere or looks like another ending. */
export const fileName = (name) => shown(name, 150).replace(/\\u\{[0-9a-f]+\}|[/\\:*?"<>|…]/g, '_').replace(/^[.\s]+/, '_') || '_'

/** Ask where to put a file, and fetch it there. To be called at once when a button is pressed: else the browser does not ask. */
export async function fetchFile(client, target, path, name) {
  let place
  try {
    place = globalThis.showSaveFilePicker ? new FilePlace(await showSaveFilePicker({ suggestedName: fileName(name) })) : new BlobPlace((blob) => save(blob, fileName(name)))
  } catch (error) {
    if (error.name === 'AbortError') return null // the person wants none
    place = new BlobPlace((blob) => save(blob, fileName(name)))
  }
  return begin(texts.transfers.fetch, name, (how) => download(client, target, path, place, how))
}

/** Send a file to a path of a component; resolve to {size, sha256}, or to null. */
export const sendFile = (client, target, path, file) => begin(texts.transfers.send, file.name, async (how) =>
  upload(client, target, path, file, { ...how, sha256: await digestOf(file, how) }))

/** Ask about each file that would replace one. Return those that are to be sent. */
export async function replaceAsked(files, isThere) {
  const wanted = []
  for (const file of files) if (!isThere(file.name) || (await ask(texts.transfers.sure(shown(file.name)), texts.transfers.replace, texts.methods.no))) wanted.push(file)
  return wanted
}
