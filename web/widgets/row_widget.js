/**
 * A widget of JSON text shown as rows.
 *
 * The host's own multiline widget stays what it is - name, place, value and how it is saved - and only the element that
 * it shows is exchanged, so a workflow reads the same with and without this file. Text that is no list of objects is
 * shown as it is, in the host's own text field, and is never written over.
 */

import { moved, parseRows, writeRows } from '../core/row_list.js'
import { el, iconButton, setAttribute } from '../controls/dom.js'
import { fitAround, passToCanvas, redraw, rememberForUndo } from '../host.js'
import { say } from '../words.js'

const TYPE = 'wanloom_rows'
const MARGIN = 10
const FOOTER = 24
const TEXT_HEIGHT = 150
const MOST_ROWS_AT_ONCE = 10

/**
 * Show the widget's text as rows of a kind, and return what the extension may ask of them.
 *
 * A kind of rows has
 *   noun, addText, about    what a row, the button for a new one and the whole are called
 *   height, minWidth, width of a row, of the node at least, and of a new node
 *   row(context, index)     the element of a row, with a `refresh()` where it shows more than the row's own text
 *   firstPart               the data-part to begin with in a new row
 *   blank()                 a row to add; isWhole(row) says whether it is enough to be written yet
 *   duplicate(rows, index)  a copy of a row
 */
export function showRows(node, widget, kind) {
  const text = widget.element ?? widget.inputEl
  const setText = widget.options.setValue
  const drafts = new WeakSet()
  const list = el('div', { class: 'wl-list-of-rows', role: 'list', 'aria-label': say(`${kind.noun} list`) })
  const count = el('span', { class: 'wl-count' })
  const fault = el('span', { class: 'wl-fault', role: 'alert' })
  const add = el('button', { type: 'button', class: 'wl-add', 'aria-label': say(kind.addText), onclick: addRow }, `+ ${say(kind.addText)}`)
  const asText = iconButton('{ }', say('edit as text'), () => setMode(!isText), { 'aria-pressed': 'false' })
  const root = el('div', { class: 'wl-rows', title: say(kind.about), style: `--wl-row-height: ${kind.height}px` }, list,
    el('div', { class: 'wl-footer' }, add, count, fault, asText))
  let rows = []
  let written = null
  let isText = false

  const context = {
    node,
    get rows() { return rows },
    /** Replace a row whose own controls show the change already. */
    set(index, row) {
      if (drafts.has(rows[index]) && !kind.isWhole(row)) drafts.add(row)
      rows = rows.with(index, row)
      write()
    },
    settled: rememberForUndo,
    remove: index => restructure(rows.toSpliced(index, 1), Math.min(index, rows.length - 2), 'remove'),
    move: (from, to) => restructure(moved(rows, from, to), to, 'move'),
    duplicate: index => restructure(rows.toSpliced(index + 1, 0, kind.duplicate(rows, index)), index + 1, 'duplicate')
  }

  function write() {
    written = writeRows(rows.filter(row => !drafts.has(row)))
    widget.value = written
    count.textContent = rows.length ? `${rows.length}` : ''
    root.classList.add('wl-stale')
    root.dispatchEvent(new CustomEvent('wl-edited'))
    redraw(node)
  }

  function restructure(next, focusRow, focusPart) {
    fitAround(node, () => {
      rows = next
      write()
      render()
    })
    focusOn(focusRow, focusPart)
    rememberForUndo()
  }

  function focusOn(row, part) {
    list.children[row]?.querySelector(`[data-part="${part}"]`)?.focus()
  }

  function addRow() {
    const row = kind.blank()
    if (!kind.isWhole(row)) drafts.add(row)
    fitAround(node, () => {
      rows = [...rows, row]
      write()
      render()
    })
    list.lastElementChild?.scrollIntoView?.({ block: 'nearest' })
    focusOn(rows.length - 1, kind.firstPart)
    rememberForUndo()
  }

  /** Take over a text that came from elsewhere: a workflow, an undo, the text field. */
  function sync() {
    const now = String(widget.value ?? '')
    if (now === written) return
    written = now
    fitAround(node, read)
  }

  function read() {
    const read = parseRows(written)
    rows = read.rows
    fault.textContent = read.fault ?? ''
    setAttribute(fault, 'title', read.fault)
    if (read.fault) isText = true
    render()
  }

  function setMode(next) {
    isText = next
    fitAround(node, read)
    if (isText) text.focus()
  }

  function render() {
    count.textContent = rows.length && !isText ? `${rows.length}` : ''
    setAttribute(asText, 'aria-pressed', String(isText))
    asText.title = say(isText ? 'show as rows' : 'edit as text')
    asText.disabled = isText && fault.textContent !== ''
    add.hidden = isText
    root.classList.toggle('wl-as-text', isText)
    if (isText) {
      if (text.parentElement !== root) root.prepend(text)
      if (text.value !== written) text.value = written
      list.replaceChildren()
    } else {
      const place = list.scrollTop
      text.remove()
      list.replaceChildren(...rows.map((_, index) => kind.row(context, index)))
      list.scrollTop = place
    }
  }

  function height(numRows) {
    return (isText ? TEXT_HEIGHT : numRows * kind.height) + FOOTER + 2 * MARGIN
  }

  function showLink() {
    root.inert = node.inputs?.some(input => input.widget?.name === widget.name && input.link != null) ?? false
  }

  widget.element = root
  widget.type = TYPE
  widget.tooltip = say(kind.about)
  Object.assign(widget.options, {
    margin: MARGIN,
    hideInPanel: true, // the side panel draws widgets that it does not know over where they are in the node
    getMinHeight: () => height(Math.min(rows.length, MOST_ROWS_AT_ONCE)),
    getMaxHeight: () => (isText ? undefined : height(rows.length)),
    setValue: value => { setText(value); sync() },
    onDraw: sync
  })
  const layout = widget.computeLayoutSize
  widget.computeLayoutSize = function (...of) {
    return { ...layout.apply(this, of), minWidth: kind.minWidth }
  }
  text.setAttribute('aria-label', say(`${kind.noun} list as text`))
  passToCanvas(root, event => {
    const scroller = isText ? text : list
    return scroller.scrollHeight > scroller.clientHeight && Math.abs(event.deltaY) > Math.abs(event.deltaX)
  })
  root.addEventListener('keydown', event => {
    if (event.target.tagName === 'BUTTON' && [' ', 'Enter'].includes(event.key)) event.stopPropagation()
  })
  const whenLinked = node.onConnectionsChange
  node.onConnectionsChange = function (...change) {
    whenLinked?.apply(this, change)
    queueMicrotask(showLink)
  }
  sync()
  showLink()
  return {
    /** Let the rows show what has changed around them, in place, as someone may be typing: other files, or news of a run. */
    refresh(isNews) {
      if (isNews) root.classList.remove('wl-stale')
      for (const row of list.children) row.refresh?.()
    }
  }
}
