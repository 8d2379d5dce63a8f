/** Changes of several rows at once; a row that has no file yet stays as it is. */

import { withOurKeys } from './foreign_rows.js'
import { changed } from './lora_row.js'

/** Return whether a row is on. */
export function isOn(row) {
  return withOurKeys(row).enabled !== false
}

/** Return the rows all off if any is on, else all on. */
export function toggledAll(rows) {
  const enabled = !rows.some(row => hasFile(row) && isOn(row))
  return rows.map(row => (hasFile(row) ? changed(row, { enabled }) : row))
}

/** Return the rows with one of them on and all others off. */
export function onlyOn(rows, index) {
  return rows.map((row, place) => (hasFile(row) ? changed(row, { enabled: place === index }) : row))
}

/** Return whether a row names a file. */
export function hasFile(row) {
  return Boolean(withOurKeys(row).path)
}
