/** A target filter, as `lora_core/stack/target_filter.py` reads it, and the sliders that can say one. */

import { english } from './said.js'

export const KINDS = ['self_attn', 'cross_attn', 'ffn', 'norm', 'modulation', 'embedding', 'head', 'other']
export const MOST = 1.5

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i
const RANGE = /^(\d{1,6})(?:\s*-\s*(\d{1,6}))?$/
const MOST_GROUPS = 10

/** What a filter says of the block ranges, from the first to the last, and of the kinds; what is left out is 1. */
export const PRESETS = [
  ['all', {}],
  ['no cross-attention', { kinds: { cross_attn: 0 } }],
  ['no feed-forward', { kinds: { ffn: 0 } }],
  ['first half', { group: depth => (depth < 0.5 ? 1 : 0) }],
  ['second half', { group: depth => (depth < 0.5 ? 0 : 1) }],
  ['fade over depth', { group: depth => stepped(1 - depth) }],
  ['rise over depth', { group: depth => stepped(depth) }]
]

/** Read a filter into `{ rules, otherwise }`; a rule is `{ blocks: [first, last] or null, kind or null, factor }`. Throw what is wrong. */
export function parseTargets(value) {
  return typeof value === 'string' ? ofText(value) : ofObject(value)
}

/** What is wrong with a filter and what to do, as a phrase with names to fill in. */
class Fault extends Error {
  constructor(phrase, names = {}) {
    super(english(phrase, names))
    this.told = [phrase, names]
  }
}

/** Return what is wrong with a filter and what to do, in the words of `say`, or null. */
export function targetsFault(value, say = english) {
  try {
    parseTargets(value)
    return null
  } catch (error) {
    return error instanceof Fault ? say(...error.told) : error.message
  }
}

/** Return the text form of a filter in whatever form; what is no filter stays as it is, as JSON. */
export function targetsText(value) {
  if (value === null || value === undefined || typeof value === 'string') return value ?? ''
  return targetsFault(value) ? JSON.stringify(value) : written(parseTargets(value))
}

/** Return the factor on a kind of module in a block; null for a module in none. */
export function factorOf({ rules, otherwise }, block, kind) {
  const about = rules.filter(rule => (rule.kind ?? kind) === kind && (rule.blocks === null || (block !== null && isWithin(block, rule.blocks))))
  return about.length ? about.reduce((product, { factor }) => product * factor, 1) : otherwise
}

/** Return the ranges of blocks that have a slider each: [first, last] pairs. */
export function groupsOf(numBlocks) {
  const count = Math.min(MOST_GROUPS, numBlocks)
  const start = index => Math.floor((index * numBlocks) / count)
  return Array.from({ length: count }, (_, index) => [start(index), start(index + 1) - 1])
}

/** Return `{ groups, kinds }`, the factors that the sliders stand at for a filter, or null where they cannot say it. */
export function slidersOf(value, numBlocks) {
  if (value === null || value === undefined || value === '') return { groups: groupsOf(numBlocks).map(() => 1), kinds: {} }
  if (targetsFault(value)) return null
  const { rules, otherwise } = parseTargets(value)
  const isBeyond = ({ blocks, kind }) => Boolean(blocks) === Boolean(kind) || (blocks && blocks[1] >= numBlocks)
  if (otherwise !== 1 || rules.some(isBeyond)) return null
  const ofBlock = block => factorOf({ rules: rules.filter(rule => rule.blocks), otherwise: 1 }, block, null)
  const groups = groupsOf(numBlocks).map(([first, last]) => {
    const factors = Array.from({ length: last - first + 1 }, (_, index) => ofBlock(first + index))
    return factors.every(factor => factor === factors[0]) ? factors[0] : NaN
  })
  const kinds = {}
  for (const { kind, factor } of rules) if (kind) kinds[kind] = (kinds[kind] ?? 1) * factor
  return [...groups, ...Object.values(kinds)].every(factor => factor >= 0 && factor <= MOST) ? { groups, kinds } : null
}

/** Return the text for the sliders; null where they leave everything as it is. */
export function targetsOf({ groups, kinds }, numBlocks) {
  const ranges = []
  for (const [index, [first, last]] of groupsOf(numBlocks).entries()) {
    const before = ranges.at(-1)
    if (before?.factor === groups[index]) before.blocks[1] = last
    else ranges.push({ blocks: [first, last], kind: null, factor: groups[index] })
  }
  const rules = [...ranges, ...KINDS.map(kind => ({ blocks: null, kind, factor: kinds[kind] ?? 1 }))].filter(({ factor }) => factor !== 1)
  return rules.length ? written({ rules, otherwise: 1 }) : null
}

/** Return the sliders of a preset. */
export function presetSliders({ group = () => 1, kinds = {} }, numBlocks) {
  const groups = groupsOf(numBlocks)
  return { groups: groups.map((_, index) => group(groups.length > 1 ? index / (groups.length - 1) : 0)), kinds }
}

function ofText(text) {
  const rules = []
  let otherwise = 1
  for (const part of text.split(',')) {
    const at = part.indexOf('=')
    if (at < 0) throw new Fault('{text} has no factor. Write {text}=0.5, for example', { text: part.trim() || 'ffn' })
    const name = part.slice(0, at).trim()
    const factor = numberIn(part.slice(at + 1))
    if (name === 'otherwise') otherwise = factor
    else rules.push(ruleNamed(name, factor))
  }
  return { rules, otherwise }
}

function ruleNamed(name, factor) {
  if (name === 'all') return { blocks: null, kind: null, factor }
  const at = name.indexOf('.')
  const [blocks, kind] = !/^\d/.test(name) ? ['', name] : at < 0 ? [name, ''] : [name.slice(0, at), name.slice(at + 1)]
  return rule(blocks || null, kind || null, factor)
}

function ofObject(form) {
  if (form === null || typeof form !== 'object' || !Array.isArray(form.rules ?? [])) throw new Fault('this is no target filter. Write one such as 0-9=0.5,ffn=0')
  const rules = (form.rules ?? []).map(({ blocks = null, kind = null, factor }) => rule(blocks, kind, factor))
  return { rules, otherwise: finite(form.otherwise ?? 1) }
}

function rule(blocks, kind, factor) {
  if (kind !== null && !KINDS.includes(kind)) throw new Fault('unknown module kind {kind}. Choose one of {kinds}', { kind, kinds: KINDS.join(', ') })
  return { blocks: blocks === null ? null : rangeOf(blocks), kind, factor: finite(factor) }
}

function rangeOf(blocks) {
  const found = Array.isArray(blocks) ? [null, ...blocks] : RANGE.exec(String(blocks).trim())
  const [first, last] = found ? [Number(found[1]), Number(found[2] ?? found[1])] : [0, -1]
  if (!(first >= 0 && first <= last)) throw new Fault('{blocks} is no range of blocks. Write one such as 0-9', { blocks })
  return [first, last]
}

function numberIn(text) {
  if (!NUMBER.test(text.trim())) throw new Fault('{text} is no number. Write one', { text: `'${text.trim()}'` })
  return finite(Number(text))
}

function finite(factor) {
  if (typeof factor !== 'number' || !Number.isFinite(factor)) throw new Fault('{factor} is no factor. Write a number', { factor })
  return factor
}

function written({ rules, otherwise }) {
  const parts = rules.map(({ blocks, kind, factor }) => {
    const range = blocks && (blocks[0] === blocks[1] ? `${blocks[0]}` : blocks.join('-'))
    return `${[range, kind].filter(Boolean).join('.') || 'all'}=${factor}`
  })
  return [...parts, ...(otherwise !== 1 || !parts.length ? [`otherwise=${otherwise}`] : [])].join(',')
}

function isWithin(block, [first, last]) {
  return first <= block && block <= last
}

/** The nearest place that a slider stands at. */
function stepped(factor) {
  return Math.round(factor * 20) / 20
}
