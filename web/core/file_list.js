/** The list of LoRA files to choose from, as the node's definition gives it. */

import { baseName } from './lora_row.js'
import { queryOf } from './lora_search.js'

/**
 * Return the files that fit what is typed, those first whose name begins with it; of a pair the first file alone.
 *
 * facts is file -> [bases, tags], as far as they are known.
 */
export function matching(files, typed, twins = {}, facts = {}) {
  const { tests, first } = queryOf(typed)
  const found = tests.length ? files.filter(file => tests.every(test => test(file, facts[file]))) : files
  const brought = new Set(found.map(file => twins[file]).filter(Boolean))
  const offered = brought.size ? found.filter(file => !brought.has(file)) : found
  if (!first) return offered
  const [beginning, others] = [[], []]
  for (const file of offered) (baseName(file).toLowerCase().startsWith(first) ? beginning : others).push(file)
  return [...beginning, ...others]
}

/** Return the folder that a file lies in, as the list names it; "" for the LoRA folder itself. */
export function folderOf(file) {
  return file.slice(0, Math.max(0, file.length - baseName(file).length - 1))
}

/** Return a name of at most so many letters; what it leaves out is in the middle, for names tell their kind at both ends. */
export function shortened(name, most) {
  if (name.length <= most) return name
  const atEnd = Math.ceil((most - 1) * 0.6)
  return `${name.slice(0, most - 1 - atEnd)}…${name.slice(-atEnd)}`
}
