/**
 * The text that a run left at a node: monospace, scrollable, foldable, not part of the workflow.
 * Its controls: "result", the text; "fold result" and "copy result", buttons.
 */

import { copyText } from '../controls/clipboard.js'
import { el, iconButton, setAttribute, sign } from '../controls/dom.js'
import { numColumns } from '../core/said.js'
import { fitAround, passToCanvas } from '../host.js'
import { say } from '../words.js'

const NAME = 'wanloom_result'
const LINE = 14
const LETTER = 6.4
const HEADER = 20
const MARGIN = 10
const MOST_LINES = 9

/** Show the text at the node; an empty one takes the last away, and a fault is red, unfolded and wrapped. */
export function showResult(node, text, { isFolded = false, isTable = false, isFault = false } = {}) {
  const shown = node.widgets?.find(widget => widget.name === NAME)
  if (!text) return shown && fitAround(node, () => node.removeWidget(shown))
  const result = shown?.result ?? addResult(node, isFolded, isTable)
  fitAround(node, () => result.show(text, isFault))
}

/** Show that the text is of a run before the last change. */
export function markStale(node, isStale = true) {
  const shown = node.widgets?.find(widget => widget.name === NAME)
  shown?.element.classList.toggle('wl-stale', isStale)
}

function addResult(node, startsFolded, isTable) {
  const pre = el('pre', { class: isTable ? 'wl-text wl-table' : 'wl-text', tabindex: '0', role: 'log', 'aria-label': say('result') })
  const title = el('span', { class: 'wl-first-line' })
  const fold = el('button', { type: 'button', class: 'wl-icon', 'aria-label': say('fold result'), onclick: () => setFolded(!isFolded) })
  const copy = iconButton('pi-copy', say('copy result'), () => copyText(pre.textContent))
  const element = el('div', { class: 'wl-report' }, el('div', { class: 'wl-report-head' }, fold, title, copy), pre)
  let isFolded = startsFolded
  let isFault = false
  let lengths = [0]

  function setFolded(next) {
    fitAround(node, () => {
      isFolded = next
      pre.hidden = isFolded
      fold.replaceChildren(sign(isFolded ? 'pi-angle-right' : 'pi-angle-down'))
      setAttribute(fold, 'aria-expanded', String(!isFolded))
      title.textContent = isFolded ? pre.textContent.split('\n')[0] : say(isFault ? 'error' : 'result')
    })
  }

  function textHeight() {
    if (isFolded) return 0
    const inLine = isTable && !isFault ? Infinity : Math.max(20, (node.size[0] - 2 * MARGIN - 16) / LETTER)
    const numLines = lengths.reduce((sum, length) => sum + Math.max(1, Math.ceil(length / inLine)), 0)
    return Math.min(numLines, MOST_LINES) * LINE + 10
  }

  const widget = node.addDOMWidget(NAME, NAME, element, {
    serialize: false,
    hideOnZoom: true,
    hideInPanel: true,
    margin: MARGIN,
    getValue: () => '',
    setValue: () => {},
    getMinHeight: () => HEADER + 2 * MARGIN + textHeight(),
    getMaxHeight: () => (isFolded ? HEADER + 2 * MARGIN : undefined)
  })
  widget.serialize = false
  passToCanvas(element, () => pre.scrollHeight > pre.clientHeight)
  widget.result = {
    show(text, asFault) {
      isFault = asFault
      pre.textContent = text
      pre.classList.toggle('wl-table', isTable && !isFault)
      element.classList.toggle('wl-wrong', isFault)
      lengths = text.split('\n').map(numColumns)
      element.classList.remove('wl-stale')
      setFolded(isFolded && !isFault)
    }
  }
  return widget.result
}
