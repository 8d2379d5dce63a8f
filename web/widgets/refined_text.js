/**
 * The refined text in the node, to be edited before the video is made; "refine now" runs the node without what is behind it.
 *
 * The host's own text field shows what the last run made. Only what was written into it goes to the server, with the mark
 * of the text that it is an edit of: sent back unchanged, the refiner's own text would make all behind the node run again.
 */

import { addressOf, runAlone } from '../host.js'
import { say } from '../words.js'
import { markStale } from './result_text.js'

const PROPERTY = 'wanloom_refined'
/** Of a new node, beyond what it needs at least: both its texts have several lines. */
const ROOM = 90

/** Let a node show its refined text, and take an edit of it. */
export function showRefinedText(node) {
  const [box, of, again] = ['edited', 'edited_of', 'again'].map(name => node.widgets.find(widget => widget.name === name))
  node.refined = { box, again }
  box.serializeValue = () => sent(node)?.text ?? ''
  of.serializeValue = () => sent(node)?.of ?? ''
  box.element?.classList.add('wl-refined')
  hint(box)
  for (const widget of node.widgets) if (widget.element) tellTyping(widget, () => markStale(node))
  const button = node.addWidget('button', say('refine now'), null, () => refineNow(node), { serialize: false })
  button.serialize = false
  button.tooltip = say('Asks the refiner anew, without the rest of the workflow: look, edit, then run. An edit is dropped.')
  const [width, height] = node.computeSize()
  node.setSize([Math.max(node.size[0], width), height + ROOM])
}

/** Show the text that a run came to, unless something else has been written since. */
export function takeRefinedText(node, output) {
  const text = output.refined?.[0]
  // What was never queued from here is of another graph, of which the host still knows an output under the same id.
  if (text === undefined || !node.refined || !node.properties[PROPERTY]) return
  const { box } = node.refined
  const edit = sent(node, { isQueued: false })
  const state = stateOf(node)
  const key = JSON.stringify([text, output.of, output.edited])
  if (state.seen === key) return
  state.seen = key
  state.of = output.of[0]
  if (output.edited[0] && edit && !edit.of) edit.of = state.of
  if ((edit?.text ?? '') === (state.queued ?? '')) box.value = state.shown = text
}

/** What is remembered with the workflow: the text `shown`, what it is `of`, the `edit`, and what was `queued` last. */
function stateOf(node) {
  return (node.properties[PROPERTY] ??= { shown: '', of: '', edit: null, queued: '', seen: '' })
}

/** Return the edit that counts: the text in the field if it is not the one that was shown. */
function sent(node, { isQueued = true } = {}) {
  const state = stateOf(node)
  const { value } = node.refined.box
  if (value !== state.shown) {
    state.edit = value.trim() ? { text: value, of: state.of } : null
    state.shown = value
    state.seen = ''
  }
  if (isQueued) state.queued = state.edit?.text ?? ''
  return state.edit
}

function refineNow(node) {
  const { box, again } = node.refined
  box.value = ''
  sent(node)
  again.value += 1
  runAlone(addressOf(node))
}

/** Tell of what is typed into a text field, of which the host tells its widget alone. */
function tellTyping(widget, tell) {
  const typed = widget.callback
  widget.callback = function (...of) {
    typed?.apply(this, of)
    tell()
  }
}

function hint(box) {
  const text = say('the refined text, after a run; what you write here is used instead')
  box.options.placeholder = text
  if (box.element) box.element.placeholder = text
}
