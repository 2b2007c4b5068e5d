// A page that tries what it may not, and tells how that went.

const { call, show } = tlsrt
const told = []
const host = await call('where')

async function attempt(name, work) {
  let how
  try {
    how = `worked ${String(await work()).slice(0, 60)}`
  } catch (error) {
    how = `refused ${error.code ?? error.name}`
  }
  told.push(`${name}: ${how}`)
}
const never = (name) => { throw new DOMException('', name) }
const event = (thing, good, bad) => new Promise((take, refuse) => {
  thing[good] = () => take(good)
  thing[bad] = () => refuse(new DOMException('', 'EventError'))
  setTimeout(() => refuse(new DOMException('', 'TimeError')), 2000)
})

await attempt('origin', () => (self.origin === 'null' ? never('OpaqueError') : self.origin))
await attempt('document', () => document.title)
await attempt('keys', () => event(indexedDB.open('tlsrt'), 'onsuccess', 'onerror'))
await attempt('caches', () => caches.open('x'))
await attempt('fetch', () => fetch(`https://${host}/`).then((answer) => answer.status))
await attempt('elsewhere', () => fetch('https://127.0.0.1:1/', { mode: 'no-cors' }).then(() => 'sent'))
await attempt('data', () => fetch('data:text/plain,x').then(() => 'read'))
await attempt('request', () => { const request = new XMLHttpRequest(); request.open('GET', `https://${host}/`, false); request.send(); return request.status })
await attempt('socket', () => event(new WebSocket(`wss://${host}/tlsrt`, 'tlsrt.1'), 'onopen', 'onerror'))
await attempt('events', () => event(new EventSource(`https://${host}/`), 'onopen', 'onerror'))
await attempt('transport', () => new WebTransport(`https://${host}/`).ready)
await attempt('peer', () => new RTCPeerConnection())
await attempt('import', () => import(`https://${host}/client.js`))
await attempt('eval', () => eval('1 + 1'))
await attempt('worker', () => event(new Worker(`https://${host}/client.js`), 'onmessage', 'onerror'))
await attempt('microphone', () => navigator.mediaDevices.getUserMedia({ audio: true }))
await attempt('another component', () => call('uname'))
await attempt('prototype', () => call('__proto__'))
await attempt('arguments', () => call('read', new Date()))
await attempt('a large number', () => call('note', { text: 5n ** 70n }))
await attempt('without a click', () => call('shine', { level: 50 }))
await attempt('many', async () => (await Promise.all(Array.from({ length: 300 }, () => call('read')))).length)
await new Promise((go) => setTimeout(go, 4000))
for (const [at, nodes] of [
  [['script', {}, 'x']], [['a', { href: 'https://127.0.0.1:1/' }, 'x']], [['img', { src: 'https://127.0.0.1:1/' }]], [['div', { style: 'position: fixed' }]],
  [['input', { type: 'password' }]], [['input', { type: 'file' }]], [['div', { id: 'no' }]], [['form', { action: 'https://127.0.0.1:1/' }]], [['iframe', {}]],
  [['div', { onclick: 'alert(1)' }]], [Array.from({ length: 3000 }, () => 'x')],
].entries()) {
  show(['p', {}, `drawn ${at}`], ...nodes)
  await new Promise((go) => setTimeout(go, 100))
}
for (const line of told) await call('note', { text: line })
show(['p', { title: '"><script>self.bad = 1</script>' }, '<img src=x onerror="self.bad = 1">'], ['button', { class: 'main evil' }, 'button'])
await call('note', { text: 'end' })
while (true) { /* it takes a processor, and nothing else */ }
