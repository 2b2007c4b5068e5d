/** What a call, a session or an enrolment ends with instead of a value: `code` is a word of section 10 of PROTOCOL.md. */
export class TlsrtError extends Error {
  constructor(code, sentence) {
    super(sentence)
    this.name = 'TlsrtError'
    this.code = code
  }
}

/** Throw the error that ends a connection whose server broke the protocol. */
export function require(condition, what) {
  if (!condition) throw new TlsrtError('rejected', `the server broke the protocol: ${what}`)
}
