/**
 * A widget of JSON text shown as rows.
 *
 * The host's own multiline widget stays what it is - name, place, value and how it is saved - and only the element that
 * it shows is exchanged, so a workflow reads the same with and without this file. Text that is no list of objects is
 * shown as it is, in the host's own text field, and is never written over.
 */

import { moved, parseRows, writeRows } from '../core/row_list.js'
import { fitAround, passToCanvas, redraw, rememberForUndo } from '../host.js'
import { say } from '../words.js'
import { MARGIN, focusOn, frameHeight, isScrolling, partOf, rowFrame, showCount, showFault, showLinked, showList, showNote, showText } from './row_frame.js'

const TYPE = 'wanloom_rows'
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
 *   rowsOf(form)            the rows that JSON stands for, where others write it differently; may be missing
 *   tools(context, root, node)  buttons about all rows, each with a `refresh()` where it shows what is around it; may be missing
 */
export function showRows(node, widget, kind) {
  const rowWidget = new RowWidget(node, widget, kind)
  exchangeElement(widget, rowWidget)
  passToCanvas(rowWidget.frame.root, event => isScrolling(rowWidget.frame, event))
  collapseWhileLinked(node, widget, rowWidget)
  rowWidget.sync()
  return rowWidget
}

/** The rows of one widget, the text that they are written as, and which of the two is shown. */
class RowWidget {
  constructor(node, widget, kind) {
    this.node = node
    this.widget = widget
    this.kind = kind
    this.rows = []
    this.drafts = new WeakSet() // rows that are shown and not yet written
    this.written = null
    this.isText = false
    this.isLinked = false // its text comes from another node
    this.frame = rowFrame(kind, widget.element, { addRow: () => this.addRow(), changeMode: () => this.setMode(!this.isText) })
    this.context = contextOf(this)
    this.frame.tools.append(...(kind.tools?.(this.context, this.frame.root, node) ?? []))
    this.frame.root.addEventListener('pointerenter', () => this.refreshTools())
  }

  /**
   * Let the rows show what has changed around them, in place, as someone may be typing: other files, or what a run said;
   * isNews says whether that run was of the rows as they are.
   */
  refresh(isNews) {
    if (isNews !== undefined) this.frame.root.classList.toggle('wl-stale', !isNews)
    for (const row of this.frame.list.children) row.refresh?.()
    this.refreshTools()
  }

  refreshTools() {
    for (const tool of this.frame.tools.children) tool.refresh?.()
  }

  /** Take over a text that came from elsewhere: a workflow, an undo, the text field. */
  sync() {
    const now = String(this.widget.value ?? '')
    if (now === this.written) return
    this.written = now
    fitAround(this.node, () => this.read())
  }

  /** Read the rows from the text; one that has none is shown as text. */
  read() {
    const { rows, fault } = parseRows(this.written, this.kind.rowsOf, say)
    this.rows = rows
    showFault(this.frame, fault)
    if (fault) this.isText = true
    this.render()
  }

  /** Write the rows as the widget's text. */
  write() {
    this.written = writeRows(this.rows.filter(row => !this.drafts.has(row)))
    this.widget.value = this.written
    showCount(this.frame, this.rows.length)
    showNote(this.frame)
    redraw(this.node)
  }

  /** Tell that the rows have been edited, once those that are shown are those there are. */
  tellEdited() {
    this.frame.root.classList.add('wl-stale')
    this.frame.root.dispatchEvent(new CustomEvent('wl-edited'))
  }

  render() {
    if (this.isText) showText(this.frame, this.written)
    else showList(this.frame, this.rows.map((_, index) => this.kind.row(this.context, index)))
    this.refreshTools()
  }

  setMode(isText) {
    this.isText = isText
    fitAround(this.node, () => this.read())
    if (isText) this.frame.text.focus()
  }

  /** Replace a row whose own controls show the change already. */
  set(index, row) {
    if (this.drafts.has(this.rows[index]) && !this.kind.isWhole(row)) this.drafts.add(row)
    this.rows = this.rows.with(index, row)
    this.write()
    this.tellEdited()
  }

  /** Put other rows in the place of these, and the keyboard on a part of one. */
  restructure(rows, focusRow, focusPart) {
    this.draw(rows)
    focusOn(this.frame, focusRow, focusPart)
    rememberForUndo()
  }

  addRow() {
    const row = this.kind.blank()
    if (!this.kind.isWhole(row)) this.drafts.add(row)
    this.draw([...this.rows, row])
    this.frame.list.lastElementChild?.scrollIntoView({ block: 'nearest' })
    focusOn(this.frame, this.rows.length - 1, this.kind.firstPart)
    rememberForUndo()
  }

  draw(rows) {
    fitAround(this.node, () => {
      this.rows = rows
      this.write()
      this.render()
      this.tellEdited()
    })
  }
}

/** Return what a row may ask of the others. */
function contextOf(rowWidget) {
  const { kind } = rowWidget
  return {
    get rows() { return rowWidget.rows },
    set: (index, row) => rowWidget.set(index, row),
    settled: rememberForUndo,
    replace: (rows, focusRow, focusPart) => rowWidget.restructure(rows, focusRow, focusPart),
    focus: (index, part) => focusOn(rowWidget.frame, index, part),
    press: (index, part) => partOf(rowWidget.frame, index, part)?.click(),
    tell: text => showNote(rowWidget.frame, text),
    remove(index) {
      rowWidget.restructure(this.rows.toSpliced(index, 1), Math.min(index, this.rows.length - 2), 'remove')
    },
    move(from, to) {
      rowWidget.restructure(moved(this.rows, from, to), to, 'move')
    },
    duplicate(index) {
      rowWidget.restructure(this.rows.toSpliced(index + 1, 0, kind.duplicate(this.rows, index)), index + 1, 'duplicate')
    }
  }
}

/** Let the host's widget show the rows; its value, and how it is saved, stay its own. */
function exchangeElement(widget, rowWidget) {
  const { kind } = rowWidget
  const setText = widget.options.setValue
  const layout = widget.computeLayoutSize
  widget.element = rowWidget.frame.root
  widget.type = TYPE
  widget.tooltip = say(kind.about)
  widget.computeLayoutSize = function (...of) {
    return { ...layout.apply(this, of), minWidth: kind.minWidth }
  }
  Object.assign(widget.options, {
    margin: MARGIN,
    hideInPanel: true, // where `showInPanel` does not see to it: the panel draws them over where they are in the node
    getMinHeight: () => frameHeight(kind, Math.min(rowWidget.rows.length, MOST_ROWS_AT_ONCE), rowWidget.isText, rowWidget.isLinked),
    getMaxHeight: () => {
      const isOpen = rowWidget.isText && !rowWidget.isLinked
      return isOpen ? undefined : frameHeight(kind, rowWidget.rows.length, false, rowWidget.isLinked)
    },
    setValue: value => { setText(value); rowWidget.sync() },
    onDraw: () => rowWidget.sync()
  })
}

/** Take the rows out of use, and their room from the node, while their text comes from another node. */
function collapseWhileLinked(node, widget, rowWidget) {
  const showLink = () => {
    const isLinked = node.inputs?.some(input => input.widget?.name === widget.name && input.link != null) ?? false
    if (isLinked === rowWidget.isLinked) return
    fitAround(node, () => {
      rowWidget.isLinked = isLinked
      showLinked(rowWidget.frame, isLinked)
    })
  }
  const changed = node.onConnectionsChange
  node.onConnectionsChange = function (...change) {
    changed?.apply(this, change)
    queueMicrotask(showLink)
  }
  queueMicrotask(showLink)
}
