/** A small drawing of a strength schedule, from the start of a run at the left to its end at the right. */

import { curveOf, scheduleOf } from '../core/schedule_curve.js'
import { say } from '../words.js'
import { el, svg } from './dom.js'

const [WIDTH, HEIGHT] = [60, 16]

/** Make the drawing; `show(value)` draws the value of a row's `schedule`, and hides it where there is no curve. */
export function curveSketch(label) {
  const line = svg('polyline', {})
  const base = svg('line', { x1: 1, x2: WIDTH - 1 })
  const element = el('span', { class: 'wl-sketch', role: 'img', 'aria-label': label },
    svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none' }, base, line))
  element.show = value => {
    const schedule = scheduleOf(value)
    element.hidden = !schedule
    if (!schedule) return
    const { points, low, high } = curveOf(schedule, WIDTH, HEIGHT)
    line.setAttribute('points', points.map(point => point.join(',')).join(' '))
    const zero = HEIGHT - 1 + (low / (high - low)) * (HEIGHT - 2)
    base.setAttribute('y1', zero)
    base.setAttribute('y2', zero)
    element.title = say(ABOUT[schedule.axis], { low, high })
  }
  return element
}

const ABOUT = {
  sigma: 'The factor, {low} to {high}, from noise level (sigma) 1 at the left to 0 at the right',
  steps: 'The factor, {low} to {high}, from the first step at the left to the end of the last at the right'
}
