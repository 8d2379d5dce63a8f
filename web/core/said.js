/** What a node says, from its form: `lora_core/wording` has the forms, a table of phrases says them in a language. */

/** Return the text of a form; what a table lacks stays English. */
export function textOf(form, table) {
  if (typeof form === 'string') return form
  const kind = Object.keys(FORMS).find(key => key in form)
  return kind ? FORMS[kind](form, table) : ''
}

const FORMS = {
  say: (form, table) => filled(table[form.say] ?? form.say, form.with, table),
  join: (form, table) => form.of.map(part => textOf(part, table)).join(table[form.join] ?? form.join),
  indent: (form, table) => textOf(form.of, table).replace(/^(?=.*\S)/gm, form.indent),
  wrap: (form, table) => wrapped(textOf(form.of, table), form.wrap),
  pad: (form, table) => padded(textOf(form.of, table), form.pad)
}

/** Return a phrase in English, with {names} filled in. */
export function english(phrase, names = {}) {
  return phrase.replace(/\{(\w+)\}/g, (whole, name) => names[name] ?? whole)
}

/** Fill a text up to so many columns, on its left where the width is negative. */
function padded(text, width) {
  const room = ' '.repeat(Math.max(0, Math.abs(width) - numColumns(text)))
  return width < 0 ? room + text : text + room
}

function filled(phrase, values, table) {
  return phrase.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? textOf(values[name], table) : whole))
}

/** Break a text into lines of so many columns, of which a Chinese sign takes two; those behind the first are indented. */
function wrapped(text, width) {
  const lines = ['']
  for (const piece of text.match(/\s+|[\u2e80-\uffef]|[^\s\u2e80-\uffef]+/g) ?? []) {
    if (lines.at(-1).trim() && numColumns(lines.at(-1) + piece) > width && !/^[\s，。；：、）”]/.test(piece)) lines.push('  ')
    lines.push(lines.pop() + piece)
  }
  return lines.map(line => line.trimEnd()).join('\n')
}

/** Return how wide a line is, in columns of letters of one width. */
export function numColumns(text) {
  return [...text].reduce((sum, sign) => sum + (/[\u2e80-\uffef]/.test(sign) ? 2 : 1), 0)
}
