/** What went wrong with a run, or with a workflow that was refused: at which nodes, inputs and rows it is to be seen. */

import { withOurKeys } from './foreign_rows.js'
import { nameOf } from './lora_row.js'

const REFUSED = 'custom_validation_failed'

/**
 * Return node id -> the texts of its own checks, and keep of the host's list of faults those of the input that each is
 * about: the host repeats what a check says for every value that the check was handed.
 */
export function refusals(nodeErrors, prompt) {
  const texts = {}
  for (const [id, node] of Object.entries(nodeErrors ?? {})) {
    const own = node.errors.filter(error => error.type === REFUSED)
    if (!own.length) continue
    const inputs = prompt?.[id]?.inputs ?? {}
    const kept = [...groupedBy(own, textOf)].flatMap(([text, errors]) => concerned(errors, text, inputs))
    node.errors = node.errors.filter(error => error.type !== REFUSED || kept.includes(error))
    texts[id] = [...new Set(own.map(textOf))]
  }
  return texts
}

/** Let the host's own list of faults say one in other words. */
export function withText(errors, text, shown) {
  for (const error of errors) if (error.type === REFUSED && textOf(error) === text) error.details = error.details.replace(text, () => shown)
}

/** Return the number of the row that a text is about, counted from 0: by its place, its file or its name; or -1. */
export function rowAt(rows, text) {
  const place = /^[^:]*? entry (\d+)\b/.exec(text)
  if (place) return Number(place[1]) - 1
  const named = text.slice(0, text.indexOf(': '))
  const isOf = name => name && (text.startsWith(`${name}: `) || named.endsWith(`/${name}`))
  return rows.findIndex(row => [withOurKeys(row).path, nameOf(row)].some(isOf))
}

/** Return the class of the node that a text names as the place of the fault, or null. */
export function placeOf(text) {
  return /^(\w+):/.exec(text)?.[1] ?? null
}

function textOf(error) {
  return error.details.replace(new RegExp(`^${error.extra_info?.input_name ?? ''} - `), '')
}

function concerned(errors, text, inputs) {
  const about = errors.filter(({ extra_info }) => {
    const name = extra_info?.input_name
    const value = inputs[name]
    return text.startsWith(`${name}: `) || text.startsWith(`${name} `) || text.startsWith(`${value}: `) || text.includes(`'${value}'`)
  })
  return about.length ? about : errors
}

function groupedBy(items, key) {
  const groups = new Map()
  for (const item of items) groups.set(key(item), [...(groups.get(key(item)) ?? []), item])
  return groups
}
