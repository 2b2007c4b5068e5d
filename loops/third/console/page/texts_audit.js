// What the screen of the audit log says.

export const auditTexts = {
  none: 'The audit log needs the method audit_log of the service secondary/logs, which this client may not call. On the host, run',
  how: 'How much', parts: (count) => (count === 1 ? 'the newest part (up to 4 MiB)' : `the newest ${count} parts`), check: 'Read and check',
  progress: (count) => `${count} entries checked …`, done: (count) => `${count} entries were read and checked in this browser.`,
  good: 'Whole: every entry up to the last signed head is as it was written, by the key below.',
  broken: (part, sequence, why) => `Broken in part ${part}${sequence ? `, at sequence ${sequence}` : ''}: ${why}. What stands before that, up to the last signed head, is proven; nothing after it is.`,
  nothing: 'Nothing is proven: there is no signed head in what was read.',
  unbound: 'Not bound to a key: what was read begins amid a life of the host, and its first header is not here. Read more parts, or verify on the host.',
  unnamed: 'The key has changed, and no head that was read names the new one. Compare the key below before you believe anything.',
  seen: {
    here: (sequence, at) => `The head that this browser saw last (sequence ${sequence}, ${at}) is still in the log: nothing was cut off before it.`,
    older: (sequence, at) => `The head that this browser saw last (sequence ${sequence}, ${at}) is before what was read: read more parts to compare it.`,
    cut: (sequence, at) => `Cut off: this browser has seen a signed head at sequence ${sequence} (${at}), and this log ends before it.`,
    other: (sequence, at) => `Replaced: at sequence ${sequence} (${at}) this browser has seen another signed head than this log has.`,
    key: (sequence, at, key) => `Another key: this browser has seen this host's log signed by ${key}, and this one is not.`,
  },
  from: 'From', until: 'Proven until', sequences: 'Sequences', records: 'Records', heads: 'Signed heads', unsigned: 'Behind the last head',
  key: 'Signed by', now: 'signs this life of the host', next: 'is named as the next one', before: 'signed before', noKey: 'No key is known of what was read.',
  typed: 'Key, as the command prints it on the host', same: 'It is this key.', other: 'It is another key: do not believe this log.',
  cannot: 'What this does not show', list: 'Records, the newest last', unproven: '(not signed yet)',
  limits: [
    'The end: who gives the log, which a captured secondary/logs is, can keep back what came after the last head that you see. Only a head that was kept elsewhere tells: this browser keeps the last one, and the journal of the host has them as tlsrt-audit.',
    'Entries behind the last head: the chain alone holds them, and their MACs need the master_key. On the host, tlsrt-supervisor audit verify checks these.',
    'The key: it comes with the log. Compare it with what tlsrt-supervisor audit key prints on the host.',
    'This page: a captured Primary may give a page that says anything. tlsrt-supervisor console prints the digests of the true one.',
  ],
  noEd25519: 'This browser cannot check Ed25519 signatures (WebCrypto), so nothing is proven here. On the host, run tlsrt-supervisor audit verify.',
  noLog: 'the service answers with what is no part of an audit log', tooLong: 'the service gives more than a log of so many parts has',
  faults: {
    none: () => 'there is no log', empty: () => 'it is empty, or its header is cut off', unread: () => 'this does not read: it was changed', headless: () => 'it does not begin with a header',
    header: () => 'a header stands within a part', after: () => 'something follows its end', renamed: (file) => `it says that it is part ${file}`, elsewhere: () => 'it is of another host',
    parts: (file) => `it follows part ${file}: parts are missing`, hole: () => 'the service keeps back what is in this part',
    missing: () => 'entries are missing here', again: () => 'an entry stands here again: inserted or reordered', changed: () => 'this was changed: it does not continue the chain',
    cut: (file) => `its end is cut off: part ${file} was begun after more`, added: (file) => `this was not there when part ${file} was begun`, replaced: (file) => `part ${file} was begun after something else`,
    signature: () => 'its signature is not by the key that was named for it', unsigned: () => 'this is not what the head after it has signed', place: () => 'this head is not of this place',
  },
}
