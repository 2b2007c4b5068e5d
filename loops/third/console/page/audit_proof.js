// The proof of the audit log, as `tlsrt-supervisor audit verify --key` checks it: sequence, chain, Merkle tree and signatures, with
// public keys alone. MACs need master_key, and are passed over. Of parts that are not read the header comes, as the keys lead
// through it. No check here sees an end that was cut off behind the last signed head: for that there is the head that was
// seen before (audit_seen.js).

import { AuditFault, chainAfter, CHECKPOINT, entryIn, hashOf, HEADER, LEAF, RECORD, signedBytes } from './audit_entry.js'
import { hex, join, NONE, same } from './bytes.js'
import { isSigned } from './primitives.js'

const LEAF_MARK = Uint8Array.of(0), NODE_MARK = Uint8Array.of(1)
const node = (left, right) => hashOf(NODE_MARK, left, right)

export class AuditProof {
  /** What is found. `signed` is the last signed head: {file, size, sequence, tree, wall}; nothing behind it is proven. */
  report = { parts: 0, headers: 0, entries: 0, records: 0, heads: 0, first: 0, last: 0, from: null, signed: null, unsigned: 0, torn: 0,
    roots: [], next: null, install: null, isBound: false, isClosed: false, fault: null }
  /** Heads that were signed, `file/size` -> the tree in hex: what was seen before is looked for here. */
  trees = new Map()
  #told
  #install
  #file = null // the part that is being read
  #link = null // how the part before ended
  #key = null // that signs the next checkpoint
  #headerKey = null
  #named = new Set() // root keys that a checkpoint has named, in hex

  /** `told` hears each record with its sequence; `install` is the id of the host, in hex, or null for any. */
  constructor(told = () => {}, install = null) {
    this.#told = told
    this.#install = install
  }

  /** Take bytes of a part; those of one part follow each other. Rejects with AuditFault, after which nothing more is taken. */
  async take(part, isWhole, bytes) {
    const { report } = this
    if (report.fault) throw report.fault
    try {
      if (this.#file?.part !== part) await this.#begin(part, isWhole)
      this.#file.rest = join(this.#file.rest, bytes)
      await this.#read()
    } catch (error) {
      if (error instanceof AuditFault) report.fault = error
      throw error
    }
  }

  /** End it: return the report. */
  async end() {
    const { report } = this
    if (report.fault) return report
    try {
      await this.#close()
      if (!report.parts) throw new AuditFault(0, 0, 'none')
    } catch (error) {
      if (!(error instanceof AuditFault)) throw error
      report.fault = error
    }
    return report
  }

  #wrong(sequence, word, more) {
    return new AuditFault(this.#file.part, sequence, word, more)
  }

  async #begin(part, isWhole) {
    await this.#close()
    this.#file = { part, isWhole, rest: NONE, header: null, sequence: 0, chain: null, size: 0, bytes: 0, peaks: [], leaves: [], hasHead: false, end: '' }
  }

  async #close() {
    const file = this.#file, { report } = this
    if (!file) return
    if (!file.header) throw this.#wrong(0, 'empty')
    if (file.end && file.rest.length) throw this.#wrong(file.sequence + 1, 'after')
    report.torn = file.isWhole ? file.rest.length : 0
    report.unsigned = file.isWhole ? file.leaves.length - (file.hasHead ? 1 : 0) : 0
    report.isClosed = file.end !== ''
    this.#link = { file: file.part, isWhole: file.isWhole, sequence: file.sequence, chain: file.chain, bytes: file.bytes, end: file.end ? 'final' : 'cut' }
    this.#file = null
  }

  async #read() {
    const file = this.#file
    let at = 0
    for (;;) {
      const entry = entryIn(file.rest.subarray(at))
      if (entry === null) break
      if (entry === undefined) throw this.#wrong(file.header ? file.sequence + 1 : 0, 'unread')
      if (file.header && !file.isWhole) throw this.#wrong(entry.sequence, 'header')
      at += entry.size
      file.bytes += entry.size
      if (!file.header) await this.#header(entry)
      await this.#entry(entry)
    }
    file.rest = file.rest.slice(at)
  }

  async #header(entry) {
    const file = this.#file, { report } = this, header = entry.value, link = this.#link
    if (entry.type !== HEADER) throw this.#wrong(0, 'headless')
    if (header.file !== file.part) throw this.#wrong(entry.sequence, 'renamed', header.file)
    if ((this.#install ?? hex(header.install)) !== hex(header.install)) throw this.#wrong(entry.sequence, 'elsewhere')
    if (link && header.file !== link.file + 1) throw this.#wrong(entry.sequence, 'parts', link.file)
    if (link?.isWhole && !file.isWhole) throw this.#wrong(entry.sequence, 'hole')
    if (link?.isWhole) this.#follows(link, header)
    if (entry.sequence !== header.beforeSequence + 1) throw this.#wrong(entry.sequence, 'missing', header.beforeSequence + 1)
    if (!same(chainAfter(header.beforeChain, entry.body), entry.chain)) throw this.#wrong(entry.sequence, 'changed')
    await this.#signedHeader(entry, link)
    Object.assign(file, { header, sequence: entry.sequence - 1, chain: header.beforeChain })
    this.#key = header.nextKey
    this.#headerKey = header.headerKey
    this.#install = report.install = hex(header.install)
    if (!file.isWhole) return void report.headers++
    report.parts++
    report.first ||= entry.sequence
    report.from ??= Number(header.wall)
  }

  /** Compare how the part before ended with what its follower says. */
  #follows(link, header) {
    const cut = (sequence, word) => new AuditFault(link.file, sequence, word, header.file)
    if (header.beforeSequence > link.sequence) throw cut(link.sequence + 1, 'cut')
    if (header.beforeSequence < link.sequence) throw cut(header.beforeSequence + 1, 'added')
    if (!same(header.beforeChain, link.chain) || header.beforeBytes !== link.bytes || header.beforeEnd !== link.end) throw cut(link.sequence, 'replaced')
  }

  async #signedHeader(entry, link) {
    const { report } = this, header = entry.value, isBy = (key) => isSigned(key, header.signature, signedBytes(entry))
    if (header.fileInLife) {
      if (link && !(await isBy(this.#headerKey))) throw this.#wrong(entry.sequence, 'signature')
      return // of the first part that is here nobody knows the key: what follows is not bound to a root key until a life begins
    }
    if (!(await isBy(header.root))) throw this.#wrong(entry.sequence, 'signature')
    const key = hex(header.root)
    if (report.roots.at(-1)?.key !== key) report.roots.push({ key, file: header.file, isNamed: !report.roots.length || this.#named.has(key) })
    report.isBound = true
  }

  async #entry(entry) {
    const file = this.#file, { report } = this, expected = file.sequence + 1
    if (file.end) throw this.#wrong(expected, 'after')
    if (entry.sequence !== expected) throw this.#wrong(expected, entry.sequence > expected ? 'missing' : 'again', entry.sequence)
    const before = file.chain
    file.chain = chainAfter(before, entry.body)
    if (!same(entry.chain, file.chain)) throw this.#wrong(expected, 'changed')
    file.sequence = expected
    if (!file.isWhole) return
    if (entry.type === CHECKPOINT) await this.#checkpoint(entry, before)
    else if (entry.type === HEADER && file.size) throw this.#wrong(expected, 'header')
    this.#grow(entry.body)
    report.entries++
    report.last = expected
    if (entry.type === RECORD) {
      report.records++
      this.#told(expected, entry.value)
    }
  }

  #grow(body) {
    const file = this.#file
    let leaf = hashOf(LEAF_MARK, body), size = 1
    file.leaves.push(leaf.slice(0, LEAF))
    while (file.peaks.length && file.peaks.at(-1)[0] === size) {
      leaf = node(file.peaks.pop()[1], leaf)
      size *= 2
    }
    file.peaks.push([size, leaf])
    file.size++
  }

  async #checkpoint(entry, before) {
    const file = this.#file, { report } = this, point = entry.value, { sequence } = entry
    if (!(await isSigned(this.#key, point.signature, signedBytes(entry)))) throw this.#wrong(sequence, 'signature')
    this.#key = point.nextKey
    if (!same(join(...file.leaves), point.leaves)) {
      const at = file.leaves.findIndex((leaf, index) => !same(leaf, point.leaves.subarray(index * LEAF, index * LEAF + LEAF)))
      throw this.#wrong(sequence - file.leaves.length + Math.max(0, at), 'unsigned')
    }
    const tree = file.peaks.map(([, root]) => root).reduceRight((right, left) => node(left, right))
    if (point.file !== file.part || point.size !== file.size || !same(point.root, tree) || !same(point.chain, before)) throw this.#wrong(sequence, 'place')
    this.#named.add(hex(point.rootKey))
    file.leaves = []
    file.hasHead = true
    file.end = point.end
    report.heads++
    report.next = hex(point.rootKey)
    report.signed = { file: file.part, size: file.size, sequence, tree: hex(tree), wall: Number(point.wall) }
    this.trees.set(`${file.part}/${file.size}`, report.signed.tree)
  }
}
