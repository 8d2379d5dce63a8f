/** The text form of a strength schedule, as `lora_core/stack/schedule.py` reads it: what is wrong with one, and how to say one. */

import { english } from './said.js'

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i

/** How many numbers may follow a shape's name. */
const RAMPS = { constant: [0, 1], linear: [2, 4], fade_in: [0, 2], fade_out: [0, 2] }
const POINTS = ['keyframes', 'hold']

/** What the chooser offers; the first stands for no schedule at all. */
export const CONSTANT = 'constant'
export const EXAMPLES = [
  [CONSTANT, 'the full strength throughout'],
  ['fade_in', 'from 0 to full, noise level (sigma) 1 to 0.5'],
  ['fade_out', 'from full to 0, noise level (sigma) 1 to 0.5'],
  ['fade_in@steps', 'from 0 to full over the steps'],
  ['fade_out@steps', 'from full to 0 over the steps'],
  ['fade_out:0.95:0.8', 'from noise level (sigma) 0.95 to 0.8'],
  ['linear:0.2:1', 'from one factor to another'],
  ['keyframes:1=0.2,0.5=1', 'noise level (sigma)=factor, straight in between'],
  ['hold:1=0,0.9=1', 'noise level (sigma)=factor, held until the next']
]

/** Return what is wrong with a schedule's text and what to do, in the words of `say`, or null. */
export function scheduleFault(text, say = english) {
  const [head, ...rest] = text.trim().split(':')
  const [name, axis, ...more] = head.split('@')
  if (more.length || (axis !== undefined && axis !== 'steps')) return say('unknown axis @{axis}. Write @steps, or leave it out', { axis: [axis, ...more].join('@') })
  if (POINTS.includes(name)) return pointsFault(rest.join(':'), say)
  if (name in RAMPS) return rampFault(name, rest, axis === 'steps', say)
  if (NUMBER.test(name)) return rest.length ? say('one number is a constant. Remove what follows it') : null
  return say('unknown shape {name}. Choose one of {names}', { name, names: [...Object.keys(RAMPS), ...POINTS].join(', ') })
}

/** Return what is wrong with the value of a row's `schedule`, or null; the object form is the server's to check. */
export function scheduleFaultOf(value, say = english) {
  return typeof value === 'string' && value.trim() ? scheduleFault(value, say) : null
}

function rampFault(name, numbers, onSteps, say) {
  const counts = RAMPS[name]
  if (!counts.includes(numbers.length)) {
    return say('{name} takes {counts} numbers and has {count}. Add or remove some', { name, counts: counts.join('/'), count: numbers.length })
  }
  const odd = numbers.find(number => !isNumber(number))
  if (odd !== undefined) return say('{text} is no number. Write one', { text: `'${odd}'` })
  if (name === 'constant' || numbers.length < Math.max(...counts)) return null
  const [start, end] = numbers.slice(-2).map(Number)
  if ([start, end].some(outside)) return say('{start} to {end} is outside 0 to 1. Choose other positions', { start, end })
  if (start === end) return say('a ramp begins and ends at {start}. Choose two positions that differ', { start })
  if (onSteps ? start > end : start < end) {
    return onSteps
      ? say('a ramp runs from an earlier fraction to a later. Exchange the two')
      : say('a ramp runs from a higher noise level (sigma) to a lower. Exchange the two')
  }
  return null
}

function pointsFault(text, say) {
  const positions = []
  for (const pair of text.split(',')) {
    const [position, factor, ...more] = pair.split('=')
    if (factor === undefined || more.length) return say('{text} has no factor. Write position=factor, separated by commas', { text: `'${pair.trim()}'` })
    const odd = [position, factor].find(number => !isNumber(number))
    if (odd !== undefined) return say('{text} is no number. Write one', { text: `'${odd.trim()}'` })
    if (outside(Number(position))) return say('{position} is outside 0 to 1. Choose another position', { position: position.trim() })
    if (positions.includes(Number(position))) return say('two factors at {position}. Remove one of them', { position: position.trim() })
    positions.push(Number(position))
  }
  return null
}

/** Return the text for the value of a row's `schedule`, which may be the object form. */
export function scheduleText(value) {
  if (value === null || value === undefined) return CONSTANT
  if (typeof value === 'string') return value
  if (!Array.isArray(value.keyframes)) return JSON.stringify(value)
  const shape = value.interpolation === 'hold' ? 'hold' : 'keyframes'
  const axis = value.axis === 'steps' ? '@steps' : ''
  return `${shape}${axis}:${value.keyframes.map(([position, factor]) => `${position}=${factor}`).join(',')}`
}

/** Return the value of a row's `schedule` for a text: nothing where the text says no more than nothing does. */
export function scheduleValue(text) {
  const wanted = text.trim()
  return wanted === '' || wanted === CONSTANT ? null : wanted
}

function isNumber(text) {
  return NUMBER.test(text.trim())
}

function outside(position) {
  return position < 0 || position > 1
}
