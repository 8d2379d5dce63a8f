/** Where in the picture and when in the clip a LoRA acts, as `lora_core/stack/region.py` and `time_curve.py` read it. */

import { english } from './said.js'

/** What parts of a picture are called: left, top, right and bottom as fractions of it. */
export const PLACES = {
  all: [0, 0, 1, 1],
  left: [0, 0, 0.5, 1],
  right: [0.5, 0, 1, 1],
  top: [0, 0, 1, 0.5],
  bottom: [0, 0.5, 1, 1],
  centre: [0.25, 0.25, 0.75, 0.75],
  'top-left': [0, 0, 0.5, 0.5],
  'top-right': [0.5, 0, 1, 0.5],
  'bottom-left': [0, 0.5, 0.5, 1],
  'bottom-right': [0.5, 0.5, 1, 1],
  'left-third': [0, 0, 1 / 3, 1],
  'middle-third': [1 / 3, 0, 2 / 3, 1],
  'right-third': [2 / 3, 0, 1, 1],
  'top-third': [0, 0, 1, 1 / 3],
  'bottom-third': [0, 2 / 3, 1, 1]
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i
const SOFT = /\s*;\s*soft\s*=([^;]*)$/
const TIME = /^(?:(frames?)\s*)?(\d+(?:\.\d*)?|\.\d+)\s*(s|secs?|seconds?|f|frames?)?$/i
const HARD = /\s*;\s*hard\s*$/i
const MOST_KEYFRAMES = 1000

/** What is wrong with a text and what to do, as a phrase with names to fill in. */
class Fault extends Error {
  constructor(phrase, names = {}) {
    super(english(phrase, names))
    this.told = [phrase, names]
  }
}

/** Read a region's text into `{ box, path, soft, inverted }`, without box and path for `rest`; throw what is wrong. */
export function parseRegion(text) {
  const found = SOFT.exec(text)
  const soft = found ? numberIn(found[1]) : null
  if (soft !== null && !(soft >= 0 && soft <= 1)) throw new Fault('an edge of {soft} is no fraction of the picture. Choose one from 0 to 1', { soft })
  const whole = (found ? text.slice(0, found.index) : text).trim()
  const inverted = /^not /i.test(whole)
  const name = inverted ? whole.slice(4).trim() : whole
  if (name.toLowerCase() === 'rest') {
    if (soft !== null) throw new Fault('the rest has the edges of the other regions. Say there how soft they are')
    return { box: null, path: null, soft, inverted }
  }
  const box = boxIn(name)
  if (!box && !looksLikeAPath(name)) throw new Fault('{name} is no place in a picture. Name a place such as left, give a box, or a file with its suffix', { name: name || '-' })
  return { box, path: box ? null : name, soft, inverted }
}

/** Read the text of a curve over time into `{ keyframes, unit, hard }`, keyframes as [time, factor]; throw what is wrong. */
export function parseTime(text) {
  const body = text.replace(HARD, '').trim()
  const units = new Set()
  const at = part => {
    const found = TIME.exec(part.trim())
    if (!found) throw unreadable(text)
    const word = (found[1] ?? found[3] ?? '').toLowerCase()
    if (word) units.add(word.startsWith('f') ? 'frames' : 'seconds')
    return Number(found[2])
  }
  const keyframes = keyframesIn(body, at, text).toSorted(([one], [other]) => one - other)
  if (units.size > 1) throw new Fault('{text} counts seconds and frames. Write all times in the same unit', { text })
  if (!units.size) throw new Fault('{text} says neither seconds nor frames. Write s or f behind the numbers', { text })
  if (keyframes.length > MOST_KEYFRAMES) throw unreadable(text)
  const thrice = keyframes.find(([time], index) => keyframes[index + 2]?.[0] === time)
  if (thrice) throw new Fault('more than two keyframes at {time}. Remove one of them', { time: thrice[0] })
  return { keyframes, unit: [...units][0], hard: body !== text.trim() }
}

/** Return what is wrong with the value of a row's `region`, in the words of `say`, or null; the object form is the server's to check. */
export function regionFault(value, say = english) {
  return faultOf(parseRegion, value, say)
}

/** Return what is wrong with the value of a row's `time`, in the words of `say`, or null; the object form is the server's to check. */
export function timeFault(value, say = english) {
  return faultOf(parseTime, value, say)
}

/** Return the text for the value of a row's `region` or `time`. */
export function placeText(value) {
  return value === null || value === undefined || typeof value === 'string' ? value ?? '' : JSON.stringify(value)
}

/** Return where and when a row acts in a few words; nothing for everywhere and always. */
export function placesOf({ region, time }) {
  return [region, time].map(placeText).filter(Boolean).join('; ')
}

/** Return the corners of a curve over time in a box of width x height, and the last time that it shows. */
export function timeCurveOf({ keyframes }, width, height) {
  const factors = keyframes.map(([, factor]) => factor)
  const [low, high] = [Math.min(0, ...factors), Math.max(1, ...factors)]
  const end = (keyframes.at(-1)[0] || 1) * 1.5
  const x = time => round((time / end) * (width - 2) + 1)
  const y = factor => round(height - 1 - ((factor - low) / (high - low)) * (height - 2))
  const corners = [[0, factors[0]], ...keyframes, [end, factors.at(-1)]]
  return { points: corners.map(([time, factor]) => [x(time), y(factor)]), end }
}

function faultOf(parse, value, say) {
  if (typeof value !== 'string' || !value.trim()) return null
  try {
    parse(value)
    return null
  } catch (error) {
    return error instanceof Fault ? say(...error.told) : error.message
  }
}

function boxIn(name) {
  const known = PLACES[name.toLowerCase().replace(/[ _]/g, '-').replace(/center/g, 'centre')]
  if (known) return known
  const parts = name.split(',')
  if (parts.length !== 4 || name.includes('/')) return null
  const box = parts.map(numberIn)
  if (box.some(number => number < 0 || number > 1)) throw new Fault('{box} leaves the picture. Write fractions of it, 0 to 1', { box: name })
  const [left, top, right, bottom] = box
  if (left >= right || top >= bottom) throw new Fault('{box} is empty. Write left, top, right, bottom', { box: name })
  return box
}

function looksLikeAPath(name) {
  return /[/\\]/.test(name) || /[^.]\.\w*[a-z]\w*$/i.test(name)
}

function keyframesIn(body, at, text) {
  const [word, ...rest] = body.split(' ')
  if (['from', 'until'].includes(word.toLowerCase())) {
    const time = at(rest.join(' '))
    const first = word.toLowerCase() === 'from' ? 0 : 1
    return [[time, first], [time, 1 - first]]
  }
  if (body.includes('=')) {
    return body.split(',').map(pair => {
      const place = pair.indexOf('=')
      if (place < 0) throw unreadable(text)
      return [at(pair.slice(0, place)), numberIn(pair.slice(place + 1))]
    })
  }
  const dash = body.indexOf('-')
  if (dash < 0) throw unreadable(text)
  const [start, end] = [at(body.slice(0, dash)), at(body.slice(dash + 1))]
  if (start >= end) throw new Fault('{text} ends before it begins. Exchange the two', { text })
  return [[start, 0], [start, 1], [end, 1], [end, 0]]
}

function unreadable(text) {
  return new Fault('{text} is not readable. Write from 2s, until frame 33, 1s-3s or 0s=0,2s=1', { text })
}

function numberIn(text) {
  const number = Number(text)
  if (!NUMBER.test(text.trim()) || !Number.isFinite(number)) throw new Fault('{text} is no number. Write one', { text: `'${text.trim()}'` })
  return number
}

function round(number) {
  return Math.round(number * 10) / 10
}
