/**
 * A training at its node, while it runs and after: what it does, how far it is, its losses and its previews.
 * Its parts: "training status", text; "training losses", a plot; "training previews", a picture. Not part of the workflow.
 */

import { linesOf } from '../core/curve.js'
import { el, setAttribute, svg } from '../controls/dom.js'
import { fileAddress, fitAround, passToCanvas } from '../host.js'
import { say, told } from '../words.js'

const NAME = 'wanloom_training'
const MARGIN = 10
const HEAD = 42
const PLOT = { width: 400, height: 110 }
const SHEET = 200

/** Show the state of a training, as `nodes/live_training.py` tells it. */
export function showTraining(node, state) {
  const shown = node.widgets?.find(widget => widget.name === NAME)
  const training = shown?.training ?? addTraining(node)
  training.show(state)
}

function addTraining(node) {
  const status = el('span', { class: 'wl-first-line', role: 'status', 'aria-label': say('training status') })
  const bar = el('progress', { class: 'wl-bar', max: '1', value: '0', 'aria-label': say('steps done') })
  const range = el('span', { class: 'wl-range' })
  const plot = svg('svg', { viewBox: `0 0 ${PLOT.width} ${PLOT.height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': say('training losses') })
  const legend = el('div', { class: 'wl-legend' },
    ...['high_noise', 'low_noise'].map(expert => el('span', { 'data-expert': expert }, say(expert === 'high_noise' ? 'high' : 'low'))),
    el('span', { class: 'wl-held-out' }, say('held out')), range)
  const picture = el('img', { alt: say('training previews') })
  const sheet = el('div', { class: 'wl-sheet', tabindex: '0' }, picture)
  const curve = el('div', { class: 'wl-curve' }, plot, legend)
  const element = el('div', { class: 'wl-report wl-training' }, el('div', { class: 'wl-report-head' }, status), bar, curve, sheet)
  curve.hidden = sheet.hidden = true
  let address = ''
  picture.addEventListener('load', () => { sheet.scrollTop = sheet.scrollHeight })

  const widget = node.addDOMWidget(NAME, NAME, element, {
    serialize: false,
    hideOnZoom: false,
    hideInPanel: true,
    margin: MARGIN,
    getValue: () => '',
    setValue: () => {},
    getMinHeight: () => 2 * MARGIN + HEAD + (curve.hidden ? 0 : PLOT.height + 20) + (sheet.hidden ? 0 : SHEET + 4)
  })
  widget.serialize = false
  passToCanvas(element, () => sheet.scrollHeight > sheet.clientHeight)
  widget.training = {
    show(state) {
      status.textContent = status.title = told(state.status, state.said)
      bar.value = state.step / Math.max(1, state.steps)
      setAttribute(element, 'data-running', state.running)
      const { lines, low, high } = linesOf(state.curves, state.steps, PLOT.width, PLOT.height)
      plot.replaceChildren(...lines.flatMap(drawn))
      range.textContent = low === null ? '' : `${low.toFixed(3)} – ${high.toFixed(3)}`
      if (curve.hidden === Boolean(lines.length)) fitAround(node, () => { curve.hidden = !lines.length })
      if (sheet.hidden === Boolean(state.sheet)) fitAround(node, () => { sheet.hidden = !state.sheet })
      const next = state.sheet ? fileAddress(state.sheet) : ''
      if (next && next !== address) picture.src = address = next
    }
  }
  fitAround(node, () => {})
  return widget.training
}

function drawn({ kind, expert, points }) {
  const line = svg('polyline', { points: points.map(point => point.join(',')).join(' '), 'data-expert': expert, 'data-kind': kind })
  if (kind === 'trained') return [line]
  return [line, ...points.map(([cx, cy]) => svg('circle', { cx, cy, r: 2.5, 'data-expert': expert, 'data-kind': kind }))]
}
