// Who this browser is to a host: what a bundle is to other clients, kept in IndexedDB. The private key is a CryptoKey that
// no script can read, this one neither; it can be used only by pages of this origin.

import { TlsrtError } from './errors.js'

const DATABASE = 'tlsrt'
const STORE = 'identity'
const MINE = 'mine'
export const VERSION = 1

const ended = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result)
  request.onerror = () => reject(new TlsrtError('failed', `this browser cannot keep a key: ${request.error?.message}; leave its private mode`))
})

let opened = null
function database() {
  const request = indexedDB.open(DATABASE, VERSION)
  request.onupgradeneeded = () => request.result.createObjectStore(STORE)
  opened ??= ended(request).catch((error) => {
    opened = null
    throw error
  })
  return opened
}

/** Change what is kept in one transaction, and resolve when it is on the disk: `change` gets it and returns another, or undefined. */
async function update(change) {
  const transaction = (await database()).transaction(STORE, 'readwrite', { durability: 'strict' })
  const store = transaction.objectStore(STORE)
  const done = new Promise((resolve, reject) => {
    transaction.oncomplete = resolve
    transaction.onabort = () => reject(new TlsrtError('failed', `this browser could not keep a key: ${transaction.error?.message}`))
  })
  const next = change((await ended(store.get(MINE))) ?? null)
  if (next === null) store.delete(MINE)
  else if (next !== undefined) store.put(next, MINE)
  await done
}

/** Return the identity, or null if this browser has none. */
export async function loadIdentity() {
  const store = (await database()).transaction(STORE).objectStore(STORE)
  return (await ended(store.get(MINE))) ?? null
}

/** Keep a new identity in the place of any other. */
export const saveIdentity = (identity) => update(() => identity)

/** Forget who this browser is. The host still has its name: `tlsrt-supervisor client remove NAME`. */
export const forget = () => update(() => null)

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
