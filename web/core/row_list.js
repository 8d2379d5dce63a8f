/** A list of rows as the JSON text that a node's widget holds. */

import { english } from './said.js'

/**
 * Read the text; `fault` says why it cannot be shown as rows, and then there are none.
 * It is in the words of `say`. `rowsOf` turns what other tools write for a list of such rows into one.
 */
export function parseRows(text, rowsOf = form => form, say = english) {
  if (!text.trim()) return { rows: [], fault: null }
  let form
  try {
    form = rowsOf(JSON.parse(text))
  } catch (error) {
    return { rows: [], fault: say('not JSON: {error}. Correct the text', { error: error.message }) }
  }
  if (!Array.isArray(form)) return { rows: [], fault: say('not a list. Put the rows in [ ]') }
  const odd = form.findIndex(row => row === null || typeof row !== 'object' || Array.isArray(row))
  if (odd >= 0) return { rows: [], fault: say('entry {n} is no object. Write it in { }', { n: odd + 1 }) }
  return { rows: form, fault: null }
}

/** Write rows one to a line, so that the text can be read where it is shown as text. */
export function writeRows(rows) {
  return `[${rows.map(row => JSON.stringify(row)).join(',\n ')}]`
}

/** Return the list with one row moved; positions outside of it leave the list as it is. */
export function moved(rows, from, to) {
  if (to < 0 || to >= rows.length || from === to) return rows
  const rest = rows.toSpliced(from, 1)
  return rest.toSpliced(to, 0, rows[from])
}

/** Return `wanted`, with a number behind it if that name is taken. */
export function freeName(wanted, taken) {
  if (!taken.has(wanted)) return wanted
  let number = 2
  while (taken.has(`${wanted} ${number}`)) number += 1
  return `${wanted} ${number}`
}
