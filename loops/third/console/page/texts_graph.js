// What the graph of rights says.

const times = (count) => (count === 1 ? 'once' : `${count} times`)

export const graphTexts = {
  title: 'Who may call whom, and what was called', picture: 'Callers at the left, what they call at the right; the table below says the same',
  none: 'The graph needs the method called of primary/events and policy of third/status, which this client may not call. On the host, run',
  focus: 'Only what is of', all: 'all, by loop', nothing: 'There is nothing to draw yet.',
  since: (at, rest, left) => `${at ? `Counted by the gate since Primary began, ${at}Z` : 'This client may not read what was called'}${rest?.calls || rest?.refused ? `; beside these ${rest.calls} calls and ${rest.refused} refusals without a place of their own` : ''}${left ? `; ${left} policy lines are left out` : ''}.`,
  node: (name, isCalled) => `${name}, ${isCalled ? 'called' : 'caller'}: ${name.includes('/') ? 'show only what is of it' : 'open or close'}`,
  close: (loop) => `Close ${loop}`,
  edge: (source, target, calls, refused, unused) => `${source} → ${target}: called ${times(calls)}${refused ? `, refused ${times(refused)}` : ''}${unused ? `, ${unused} ${unused === 1 ? 'right' : 'rights'} never used since start` : ''}`,
  kinds: { used: 'called', unused: 'never used since start', refused: 'refused by policy' },
  leftOut: (count) => `${count} edges are not drawn: choose a subject above. The table has them.`,
  table: (shown, all) => (shown < all ? `The first ${shown} of ${all} edges: choose a subject above` : `${all} edges`), heads: ['Who', 'Whom', 'Called', 'Never used since start', 'By'],
  method: (method, calls, refused) => `${method} ${times(calls)}${refused ? ` (refused ${times(refused)})` : ''}`, never: (methods) => methods.map((one) => (one === '*' ? 'any method' : one)).join(', '),
  policy: 'policy', own: 'by a right of its own',
}
