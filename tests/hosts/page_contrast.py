"""Which texts of a page cannot be read against what is behind them (WCAG 2.1, 1.4.3)."""

CONTRAST = """(() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number)
  const light = colour => rgb(colour).slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0)
  const back = one => { for (; one; one = one.parentElement) {
    const colour = getComputedStyle(one).backgroundColor, parts = rgb(colour)
    if (parts.length < 4 || parts[3] === 1) return colour } return 'rgb(255, 255, 255)' }
  const bad = []
  for (const one of document.querySelectorAll('body *')) {
    if (![...one.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || !one.checkVisibility()) continue
    const [a, b] = [light(getComputedStyle(one).color), light(back(one))].sort((x, y) => y - x)
    if ((a + 0.05) / (b + 0.05) < 4.5) bad.push(one.tagName + ' ' + one.className + ' ' + one.textContent.slice(0, 40))
  }
  return bad
})()"""
