// Who this browser is to a host: what a bundle is to other clients, kept in IndexedDB. The private key is a CryptoKey that
// no script can read, this one neither; it can be used only by pages of this origin.

import { TlsrtError } from './errors.js'

const DATABASE = 'tlsrt'
const STORE = 'identity'
const MINE = 'mine'
const TRIAL = 'trial'
const FORGOTTEN = 'forgotten'
export const VERSION = 1

const unkept = (error) => new TlsrtError('failed', `this browser cannot keep a key here (${error?.message}): leave its private mode, and allow this page to keep data`)

const ended = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result)
  request.onerror = () => reject(unkept(request.error))
})

let opened = null
function database() {
  opened ??= connected().catch((error) => {
    opened = null
    throw error
  })
  return opened
}

async function connected() {
  let request
  try {
    request = indexedDB.open(DATABASE, VERSION)
  } catch (error) {
    throw unkept(error)
  }
  request.onupgradeneeded = () => request.result.createObjectStore(STORE)
  const found = await ended(request)
  found.onclose = () => { opened = null } // its data was cleared
  found.onversionchange = () => {
    found.close()
    opened = null
  }
  return found
}

/** Change what is kept in one transaction, and resolve when it is on the disk: `change` gets it and returns another, or undefined. */
async function update(change, place = MINE) {
  const transaction = (await database()).transaction(STORE, 'readwrite', { durability: 'strict' })
  const store = transaction.objectStore(STORE)
  const done = new Promise((resolve, reject) => {
    transaction.oncomplete = resolve
    transaction.onabort = () => reject(unkept(transaction.error))
  })
  done.catch(() => {}) // it is awaited below, if nothing fails before
  const next = change((await ended(store.get(place))) ?? null)
  try {
    if (next === null) store.delete(place)
    else if (next !== undefined) store.put(next, place)
  } catch (error) {
    throw unkept(error) // a browser that makes keys and cannot keep them
  }
  await done
}

/** Throw TlsrtError (failed) unless this browser can keep a key and have it again; do it before a link is used up. */
export async function tryToKeep(privateKey) {
  await update(() => privateKey, TRIAL)
  const store = (await database()).transaction(STORE).objectStore(STORE)
  const kept = await ended(store.get(TRIAL))
  await update(() => null, TRIAL)
  if (kept?.extractable !== false) throw unkept(new Error('what it gives back is no key'))
}

/** Return the identity, or null if this browser has none. */
export async function loadIdentity() {
  const store = (await database()).transaction(STORE).objectStore(STORE)
  return (await ended(store.get(MINE))) ?? null
}

/** Keep a new identity; in the place of another one only with `replace`. */
export async function saveIdentity(identity, replace = false) {
  let other = false
  await update((kept) => {
    other = kept !== null && !replace
    return other ? undefined : identity
  })
  if (other) throw new TlsrtError('conflict', `this browser was enrolled in another tab meanwhile: the operator should remove client ${identity.name}`)
}

/** Forget who this browser is, in all of its tabs. The host still has its name: `tlsrt-supervisor client remove NAME`. */
export async function forget() {
  await update(() => null)
  const channel = new BroadcastChannel(DATABASE)
  channel.postMessage(FORGOTTEN)
  channel.close()
}

/** Call `then` when another tab has forgotten it, until `signal` is aborted. */
export function onForgotten(signal, then) {
  const channel = new BroadcastChannel(DATABASE)
  channel.onmessage = ({ data }) => data === FORGOTTEN && then()
  signal.addEventListener('abort', () => channel.close(), { once: true })
}

/** Keep the issuer key that follows ours; another tab may have gone further. */
export const savePin = (install, { issuer, version }) => update((kept) => {
  const isOurs = kept !== null && indexedDB.cmp(kept.install, install) === 0
  return isOurs && kept.issuerVersion < version ? { ...kept, issuer, issuerVersion: version } : undefined
})

/** Keep another certificate and its key, in the place of this one alone; whether it was that one. */
export async function saveCertificate(before, renewed) {
  let isOurs = false
  await update((kept) => {
    isOurs = kept !== null && indexedDB.cmp(kept.certificate, before) === 0
    return isOurs ? { ...kept, ...renewed } : undefined
  })
  return isOurs
}
