// A conversation with the language model of the host, as tlsrt/channels/client/asking.py has it: a call that the model wants is
// made here, with the rights of this client, if it was offered and a person has said yes. What the component says is checked:
// it may be captured, and its model may have been turned by what it has read.

import { TlsrtError } from './errors.js'
import { may } from './feeds.js'
import { plain } from './values.js'

export const ASK = 'secondary/ask'
const CALLS_MOST = 8 // of one question
const RESULT_CHARS = 8000
const OWN = new Set(['timeout_s', 'idempotent'])

const failed = (says) => new TlsrtError('failed', says)
const isText = (one) => typeof one === 'string'
const isMap = (one) => one !== null && typeof one === 'object' && !Array.isArray(one) && !(one instanceof Uint8Array)

/** Return the tools that LOOP/NAME.METHOD name, as `chat` takes them. Throws for one that cannot be one. */
export async function offered(client, names) {
  const tools = new Map()
  for (const name of names) {
    const [, target, method] = /^([^.\s]+\/[^\s]+)\.([^.\s]+)$/.exec(name) ?? []
    if (!target) throw new TlsrtError('invalid_argument', `${name} is no tool: write LOOP/NAME.METHOD, as in external/network.links`)
    if (!may(client, target, method)) throw new TlsrtError('denied', `this client may not call ${method} of ${target}, so the model cannot have it for a tool`)
    const spec = plain(await client.describe(target)).methods?.[method]
    if (!spec) throw new TlsrtError('not_found', `${target} has no method ${method}`)
    const own = spec.parameters.find((one) => OWN.has(one.name))
    if (spec.stream || spec.upload || own) throw new TlsrtError('invalid_argument', `${name} is no tool: one takes arguments and returns one value`)
    const parameters = spec.parameters.map((one) => ({ name: one.name, kind: String(one.schema?.type ?? 'any'), required: Boolean(one.required) }))
    tools.set(name, { target, method, spec: { name, doc: String(spec.doc ?? '').slice(0, 4000), parameters } })
  }
  return tools
}

function wanted(call, tools) {
  const tool = isMap(call) && isText(call.tool) && tools.get(call.tool)
  if (!tool || !isMap(call.arguments)) throw failed('the model wants a call that was not offered to it: nothing was called')
  const known = new Set(tool.spec.parameters.map((one) => one.name))
  if (!Object.keys(call.arguments).every((one) => known.has(one))) throw failed(`the model wants ${call.tool} with arguments that it has not: nothing was called`)
  return { ...tool, tool: call.tool, arguments: call.arguments }
}

/** The sources as messages: neighbours of one line share one, as no line of theirs can look like another's. */
export function given(sources) {
  const found = []
  let lines = []
  const flush = () => { if (lines.length) found.push(lines.join('\n')); lines = [] }
  sources.forEach(({ head, text }, at) => {
    if (!/[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/.test(text)) return lines.push(`Source ${at + 1} (${head}): ${text}`)
    flush()
    found.push(`Source ${at + 1} (${head}):\n${text}`)
  })
  flush()
  return found
}

const shown = (value) => JSON.stringify(value, (_, one) => (one instanceof Uint8Array ? `${one.length} bytes` : typeof one === 'bigint' ? String(one) : one)) ?? 'null'

/** Ask; yields {read, of}, {text}, {call, outcome} and the last {end}. `sure` resolves to whether a call is to be made. */
export async function* converse(client, question, { tools = new Map(), sources = [], sure, tokens = 256, signal }) {
  const messages = [...given(sources).map((text) => ({ role: 'data', text })), { role: 'user', text: question }]
  for (let count = 0; count <= CALLS_MOST; count++) {
    const left = count < CALLS_MOST ? tools : new Map() // without tools it has to answer in words
    let call = null
    for await (const one of client.stream(ASK, 'chat', [messages], { named: { tools: [...left.values()].map(({ spec }) => spec), tokens }, signal })) {
      const item = plain(one)
      if (isMap(item) && 'call' in item) call = wanted(item.call, left)
      else if (isMap(item) && isText(item.end)) call || (yield { end: item.end, model: item.model, sha256: item.sha256, tokens: item.tokens, took_ms: item.took_ms })
      else if (isMap(item) && isText(item.text)) yield { text: item.text }
      else if (isMap(item) && Number.isInteger(item.read) && Number.isInteger(item.of)) yield { read: item.read, of: item.of }
      else throw failed('the model\'s component answers with what is no part of an answer')
    }
    if (!call) return
    let outcome = 'refused', said = 'the person has not allowed this call; answer without it'
    if (await sure(call)) {
      try {
        said = shown(plain(await client.call(call.target, call.method, [], { named: call.arguments, signal })))
        outcome = 'done'
      } catch (error) {
        [outcome, said] = [error.code ?? 'failed', `it failed: ${error.message}`]
      }
    }
    signal?.throwIfAborted()
    yield { call, outcome }
    messages.push({ role: 'assistant', text: shown({ tool: call.tool, arguments: call.arguments }) }, { role: 'data', text: `${call.tool}: ${said.slice(0, RESULT_CHARS)}` })
  }
}
