/** One row of a LoRA stack, under the keys that `lora_core` reads; keys unknown here stay in it untouched. */

import { withOurKeys } from './foreign_rows.js'
import { freeName } from './row_list.js'

/** What a key left out stands for; a key that says just this is left out again. */
const DEFAULTS = {
  low_noise_weight: null,
  low_noise_path: null,
  applies_to: 'auto',
  schedule: null,
  targets: null,
  region: null,
  time: null,
  enabled: true,
  find_twin: true
}

export const EXPERTS = [
  ['auto', 'auto'],
  ['high_noise', 'high'],
  ['low_noise', 'low'],
  ['both', 'both']
]

/** Return a row for a file. */
export function newLora(path) {
  return { path, weight: 1 }
}

/** Return the row with some keys changed, and without those that say no more than the default. */
export function changed(row, changes) {
  const whole = { ...withOurKeys(row), ...changes }
  const telling = Object.entries(whole).filter(
    ([key, value]) => value !== undefined && !(key in DEFAULTS && value === DEFAULTS[key])
  )
  return Object.fromEntries(telling)
}

/** Return the row on another expert; a second strength that could never act there goes, as `lora_core` refuses it. */
export function appliedTo(row, applies_to) {
  return changed(row, applies_to === 'high_noise' ? { applies_to, low_noise_weight: null } : { applies_to })
}

/** Return the row with another file; a low-noise file or a hash given for the old one goes. */
export function withFile(row, path) {
  return changed(row, { path, low_noise_path: null, sha256: undefined, low_noise_sha256: undefined })
}

/** Return the name that reports call the row by. */
export function nameOf(row) {
  const { name, path } = withOurKeys(row)
  return name ?? stem(path ?? '')
}

/** Return a copy of rows[index] under a name of its own, which a stack asks for. */
export function duplicateOf(rows, index) {
  const row = rows[index]
  return changed(row, { name: freeName(nameOf(row), new Set(rows.map(nameOf))) })
}

/** Return the row as it is to be added, named where the name of its file is taken. */
export function addedTo(rows, row) {
  const taken = new Set(rows.map(nameOf))
  return taken.has(nameOf(row)) ? changed(row, { name: freeName(nameOf(row), taken) }) : row
}

/** Return the low-noise file that acts beside the row's own: the one given, or the twin found that no row names. */
export function twinOf(row, twins, rows = []) {
  if (row.low_noise_path) return { file: row.low_noise_path, found: false }
  const isPair = row.find_twin !== false && (row.applies_to ?? 'auto') === 'auto'
  const file = isPair ? twins[row.path] : undefined
  return file && !rows.some(other => withOurKeys(other).path === file) ? { file, found: true } : null
}

/** Return the last part of a path. */
export function baseName(path) {
  return path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1)
}

function stem(path) {
  return baseName(path).replace(/\.(safetensors|sft|pt|pth|bin|ckpt)$/i, '')
}
