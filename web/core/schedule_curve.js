/** A strength schedule as a curve: the factor at every place of a run, as `lora_core/stack/schedule.py` computes it. */

import { scheduleFault } from './schedule.js'

/** Where a ramp runs unless told otherwise. */
const RAMPS = { sigma: [1, 0.5], steps: [0, 1] }

/** A shape's keyframes from the numbers behind its name. */
const SHAPES = {
  constant: ([factor = 1]) => [[1, factor]],
  linear: ([first, last, ...ends], axis) => ramp(first, last, ends, axis),
  fade_in: (ends, axis) => ramp(0, 1, ends, axis),
  fade_out: (ends, axis) => ramp(1, 0, ends, axis)
}

/** Return `{ keyframes, axis, interpolation }` for the value of a row's `schedule`, keyframes as a run passes them; null for none. */
export function scheduleOf(value) {
  if (typeof value === 'string') return value.trim() && !scheduleFault(value) ? ofText(value.trim()) : null
  if (!Array.isArray(value?.keyframes) || !value.keyframes.length) return null
  const { keyframes, axis = 'sigma', interpolation = 'linear' } = value
  const areNumbers = keyframes.every(pair => Array.isArray(pair) && pair.length === 2 && pair.every(Number.isFinite))
  return areNumbers ? inOrder(keyframes, axis, interpolation) : null
}

/** Return the factor at a position on the schedule's own axis: a noise level, or a fraction of the steps. */
export function factorAt({ keyframes, axis, interpolation }, position) {
  const isReached = ([other]) => (axis === 'sigma' ? other <= position : other >= position)
  const after = keyframes.findIndex(isReached)
  if (after < 0) return keyframes.at(-1)[1]
  if (keyframes[after][0] === position || after === 0) return keyframes[after][1]
  const [[start, low], [end, high]] = keyframes.slice(after - 1, after + 1)
  return interpolation === 'hold' ? low : low + ((position - start) / (end - start)) * (high - low)
}

/**
 * Return the corners of the curve in a box of width x height, the start of a run at its left, and the lowest and highest factor.
 * The box always spans 0 to 1, and more where a factor does.
 */
export function curveOf(schedule, width, height) {
  const { keyframes, axis } = schedule
  const factors = keyframes.map(([, factor]) => factor)
  const [low, high] = [Math.min(0, ...factors), Math.max(1, ...factors)]
  const x = position => round((axis === 'sigma' ? 1 - position : position) * (width - 2) + 1)
  const y = factor => round(height - 1 - ((factor - low) / (high - low)) * (height - 2))
  const [start, end] = axis === 'sigma' ? [1, 0] : [0, 1]
  const corners = [[start, factorAt(schedule, start)], ...keyframes.flatMap(cornersAt(schedule)), [end, factorAt(schedule, end)]]
  return { points: corners.map(([position, factor]) => [x(position), y(factor)]), low, high }
}

/** A factor that is held jumps at the next keyframe. */
function cornersAt({ keyframes, interpolation }) {
  return ([position, factor], index) =>
    interpolation === 'hold' && index > 0 ? [[position, keyframes[index - 1][1]], [position, factor]] : [[position, factor]]
}

function ofText(text) {
  const [head, ...rest] = text.split(':')
  const [name, axisName] = head.split('@')
  const axis = axisName === 'steps' ? 'steps' : 'sigma'
  if (name in SHAPES) return inOrder(SHAPES[name](rest.map(Number), axis), name === 'constant' ? 'sigma' : axis, 'linear')
  if (!rest.length) return inOrder([[1, Number(name)]], 'sigma', 'linear')
  const points = rest.join(':').split(',').map(pair => pair.split('=').map(Number))
  return inOrder(points, axis, name === 'hold' ? 'hold' : 'linear')
}

function ramp(first, last, [start, end], axis) {
  return [[start ?? RAMPS[axis][0], first], [end ?? RAMPS[axis][1], last]]
}

function inOrder(keyframes, axis, interpolation) {
  const way = axis === 'sigma' ? -1 : 1
  return { keyframes: keyframes.toSorted(([one], [other]) => way * (one - other)), axis, interpolation }
}

function round(number) {
  return Math.round(number * 10) / 10
}
