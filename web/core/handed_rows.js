/** Rows in what others hand over: `<lora:name:0.8>` in a text, rows in JSON, names of files, the widgets of other packs' nodes. */

import { rowsOf, withOurKeys } from './foreign_rows.js'
import { addedTo, baseName, changed } from './lora_row.js'

const SUFFIX = /\.(safetensors|sft|pt|pth|bin|ckpt)$/i
const TAG = /<lora:(?:\|(high|low)_noise\|)?([^:<>]+)((?::[^:<>]*)*)>/gi
const NUMBER = /^\s*[+-]?(\d+\.?\d*|\.\d+)\s*$/
/** Strengths on the text encoder, on which no LoRA acts here. */
const TEXT_STRENGTHS = ['clipStrength', 'clip_strength', 'strengthTwo', 'strength_clip']

/**
 * Type of node -> the rows among the values of its widgets.
 * Power Lora Loader has a widget for each row; Lora-Manager's nodes have one with the list of them.
 */
const OTHERS = {
  'Power Lora Loader (rgthree)': values => values.filter(value => typeof value?.lora === 'string'),
  'Lora Loader (LoraManager)': listOfRows,
  'Lora Stacker (LoraManager)': listOfRows,
  'WanVideo Lora Select (LoraManager)': listOfRows
}

/**
 * Return the rows that a text holds as `{ rows, missing, numTextStrengths }`, or null where it holds none.
 * Of files that are not in the list the names are in `missing`, and so are their rows in `rows`.
 */
export function rowsInText(text, files) {
  const tags = [...text.matchAll(TAG)]
  const forms = tags.length ? tags.map(ofTag) : formsInJson(text) ?? namesIn(text)
  return forms?.length ? handed(forms, files) : null
}

/** Return the rows for files by their names, those not in the list left out and named in `missing`; null where none is a LoRA's. */
export function rowsOfFiles(names, files) {
  const ours = names.filter(name => SUFFIX.test(name))
  if (!ours.length) return null
  const { rows, missing } = handed(ours.map(path => ({ path })), files)
  return { rows: rows.filter(row => files.includes(row.path)), missing, numTextStrengths: 0 }
}

/** Return whether a path ends as LoRA files do. */
export function isFileName(path) {
  return SUFFIX.test(path)
}

/** Return whether rows can be taken from nodes of this type. */
export function hasOthersRows(type) {
  return type in OTHERS
}

/** Return the rows of another pack's node from the values of its widgets. */
export function othersRows(type, values, files) {
  return handed(OTHERS[type](Object.values(values ?? {})), files)
}

/** Return whether there are any, without a look for their files among thousands. */
export function hasRows(type, values) {
  return named(OTHERS[type](Object.values(values ?? {}))).length > 0
}

/** Return the rows with others behind them, each under a name of its own. */
export function withAdded(rows, more) {
  return more.reduce((all, row) => [...all, addedTo(all, row)], rows)
}

/** Return the file of the list that a name means, with or without its folder and extension; else the name as that of a file. */
export function fileNamed(name, files) {
  if (files.includes(name)) return name
  const wanted = name.trim().replaceAll('\\', '/')
  const same = [file => file, withoutSuffix, baseName, file => withoutSuffix(baseName(file))]
  for (const as of [text => text, text => text.toLowerCase()]) {
    const asked = as(wanted)
    for (const part of same) {
      const found = files.find(file => as(part(file.replaceAll('\\', '/'))) === asked)
      if (found) return found
    }
  }
  return SUFFIX.test(wanted) ? name.trim() : `${name.trim()}.safetensors`
}

function handed(forms, files) {
  const theirs = named(forms)
  const rows = theirs.map(row => changed(without(row, TEXT_STRENGTHS), { path: fileNamed(row.path, files), weight: row.weight ?? 1 }))
  return {
    rows,
    missing: rows.map(row => row.path).filter(path => !files.includes(path)),
    numTextStrengths: theirs.filter(row => TEXT_STRENGTHS.some(key => isOther(row[key], row.weight))).length
  }
}

/** Return the forms that name a file, under our keys. */
function named(forms) {
  return forms.map(form => withOurKeys(ofLoraManager(form))).filter(row => row.path && row.path !== 'None')
}

/** A strength on the text encoder that says something of its own. */
function isOther(strength, weight) {
  return strength !== undefined && strength !== null && Number(strength) !== Number(weight ?? 1)
}

function ofTag([, expert, name, strengths]) {
  const [weight, clipStrength] = strengths.split(':').slice(1).filter(part => NUMBER.test(part)).map(Number)
  return { path: name, weight: weight ?? 1, ...(expert && { applies_to: `${expert}_noise` }), ...(clipStrength !== undefined && { clipStrength }) }
}

/** Return the rows in JSON, or null where the text is none or stands for something else. */
function formsInJson(text) {
  if (!/^\s*[[{]/.test(text)) return null
  let forms
  try {
    const form = JSON.parse(text)
    forms = rowsOf(form?.__value__ ?? form)
  } catch {
    return null
  }
  const isRow = form => typeof withOurKeys(ofLoraManager(form ?? {})).path === 'string'
  return Array.isArray(forms) && forms.every(form => typeof form === 'object' && isRow(form)) ? forms : null
}

function namesIn(text) {
  const lines = text.split('\n').map(line => line.trim().replace(/^"(.*)"$/, '$1')).filter(Boolean)
  return lines.every(line => SUFFIX.test(line)) ? lines.map(path => ({ path })) : null
}

/** Lora-Manager calls the file "name" and has keys for how its row is shown. */
function ofLoraManager(form) {
  if (!('active' in form) || !('name' in form)) return form
  const { name, active, ...rest } = without(form, ['expanded', 'locked', 'clip_expanded', 'selected'])
  return { path: name, enabled: active, ...rest }
}

function listOfRows(values) {
  const list = values.map(value => value?.__value__ ?? value).find(value => Array.isArray(value) && value.every(row => row?.name !== undefined))
  return list ?? []
}

function without(row, keys) {
  return Object.fromEntries(Object.entries(row).filter(([key]) => !keys.includes(key)))
}

function withoutSuffix(file) {
  return file.replace(SUFFIX, '')
}
