// Who may call whom, and what was really called: policy lines and the gate's counts as edges between subjects. Pure.

const ANY = '*'

/** The loop of an address; of a client `client`. */
export const loopOf = (address) => address.split('/', 1)[0]

const sides = (address) => {
  const at = address.indexOf('/')
  return at < 0 ? [address, ''] : [address.slice(0, at), address.slice(at + 1)]
}

/** Tell whether a side of a policy line names an address; `*` stands for a whole owner or name. */
export function matches(pattern, address) {
  const [owner, name] = sides(pattern), [itsOwner, itsName] = sides(address)
  return (owner === ANY || owner === itsOwner) && (name === ANY || name === itsName)
}

/**
 * Return the edges: {source, target, calls, refused, methods, unused, isAllowed}. A call counts for each line that allows it; a
 * line that none was made by is an edge of its own, `unused` with its methods; `isAllowed` is false for what no line names, such as
 * the rights of enrolled clients, which the authority keeps.
 */
export function edgesOf(lines, called) {
  const found = new Map(), bySource = new Map(), left = lines.map(([source, target, methods]) => ({ source, target, methods: new Set(methods), isUsed: false }))
  for (const line of left) {
    const owner = loopOf(line.source)
    bySource.set(owner, [...(bySource.get(owner) ?? []), line])
  }
  const edge = (source, target) => {
    const key = JSON.stringify([source, target])
    if (!found.has(key)) found.set(key, { source, target, calls: 0, refused: 0, methods: [], unused: [], isAllowed: false })
    return found.get(key)
  }
  for (const [source, target, method, calls, refused] of called) {
    const one = edge(source, target)
    one.calls += calls
    one.refused += refused
    one.methods.push([method, calls, refused])
    for (const line of [...(bySource.get(loopOf(source)) ?? []), ...(bySource.get(ANY) ?? [])]) {
      if (!matches(line.source, source) || !matches(line.target, target)) continue
      one.isAllowed = true
      if (!calls) continue
      line.isUsed = true
      line.methods.delete(method)
    }
  }
  for (const line of left) {
    const never = line.methods.has(ANY) ? (line.isUsed ? [] : [ANY]) : [...line.methods]
    const one = edge(line.source, line.target)
    one.isAllowed = true
    one.unused.push(...never.filter((method) => !one.unused.includes(method)))
  }
  return [...found.values()].filter((one) => one.calls || one.refused || one.unused.length).sort((a, b) => (a.source + a.target < b.source + b.target ? -1 : 1))
}

/** What an edge is first: `refused`, `used` or `unused`. */
export const kindOf = ({ calls, refused }) => (refused ? 'refused' : calls ? 'used' : 'unused')

/** Return the edges that are drawn: those of one subject, or all with the loops that are not `opened` as one each. */
export function drawn(edges, { focus = '', opened = new Set() } = {}) {
  const isOf = (address) => address === focus || matches(address, focus)
  const wanted = focus ? edges.filter(({ source, target }) => isOf(source) || isOf(target)) : edges
  const shown = (address) => (focus || opened.has(loopOf(address)) ? address : loopOf(address))
  const joined = new Map()
  for (const { source, target, calls, refused, unused } of wanted) {
    const key = JSON.stringify([shown(source), shown(target)])
    const one = joined.get(key) ?? { source: shown(source), target: shown(target), calls: 0, refused: 0, unused: 0 }
    joined.set(key, { ...one, calls: one.calls + calls, refused: one.refused + refused, unused: one.unused + unused.length })
  }
  return [...joined.values()]
}

/** Return what is drawn as places: the callers at the left, the called at the right, at most `most` on each side. */
export function placed(edges, most) {
  const order = (name) => `${name.includes('/') ? 1 : 0}${name}` // loops first: what can be opened is always there
  const side = (name) => [...new Set(edges.map((one) => one[name]))].sort((a, b) => (order(a) < order(b) ? -1 : 1))
  const left = side('source'), right = side('target'), seen = [new Map(left.slice(0, most).map((one, at) => [one, at])), new Map(right.slice(0, most).map((one, at) => [one, at]))]
  const fit = edges.filter(({ source, target }) => seen[0].has(source) && seen[1].has(target))
  return { left: [...seen[0].keys()], right: [...seen[1].keys()], edges: fit.map((one) => ({ ...one, from: seen[0].get(one.source), to: seen[1].get(one.target) })), leftOut: edges.length - fit.length }
}
