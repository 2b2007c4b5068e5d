// The page of a lamp.

const { h, show, call, stream, subscribe } = tlsrt
const note = (text) => call('note', { text })
const levels = []

function draw(level) {
  levels.push(level)
  show(
    h('h3', `It is ${level}`),
    h('chart', { label: 'lately', values: levels }),
    h('form', { submit: ({ level }) => call('shine', { level: Number(level) }) },
      h('label', h('span', 'How bright'), h('input', { name: 'level', type: 'number', value: 7 })),
      h('button', { class: 'main' }, 'Shine')),
    level > 50 && h('p', { class: 'warn' }, 'very bright'))
}

await note(`page of ${tlsrt.component}, may ${[...tlsrt.methods].sort().join(' ')}`)
draw(await call('read'))
let sum = 0
for await (const number of stream('count')) {
  sum += number
  if (number === 5) break
}
await note(`sum ${sum}`)
for await (const level of subscribe('shone')) draw(level)
