// The signed head of each host's audit log that this browser saw last. It is what shows that an end was cut off since then: no
// log says that of itself. Kept without a secret; what is not as it must be is as good as none.

const NAME = 'tlsrt-audit-'
const isCount = (value) => Number.isSafeInteger(value) && value > 0
const isHex = (value) => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)

/** Return {file, size, sequence, tree, key, wall} of the last time, or null. */
export function seenHead(install) {
  try {
    const head = JSON.parse(localStorage.getItem(NAME + install))
    return [head.file, head.size, head.sequence, head.wall].every(isCount) && isHex(head.tree) && isHex(head.key) ? head : null
  } catch {
    return null
  }
}

export function keepHead(install, { file, size, sequence, tree, wall }, key) {
  try {
    localStorage.setItem(NAME + install, JSON.stringify({ file, size, sequence, tree, wall, key }))
  } catch { /* a browser that keeps nothing has nothing to compare with */ }
}

/** What has become of a head that was seen before: `none`, `here`, `older` (before what was read), `cut` or `other`. */
export function compare(before, report, trees) {
  if (!before) return 'none'
  if (report.roots.length && !report.roots.some(({ key }) => key === before.key) && report.next !== before.key) return 'key'
  const tree = trees.get(`${before.file}/${before.size}`)
  if (tree !== undefined) return tree === before.tree ? 'here' : 'other'
  if (!report.signed || report.signed.sequence < before.sequence) return 'cut'
  return report.first > before.sequence ? 'older' : 'other'
}
