/** Something of ours over the page, at a place of it: it closes with Escape, a click elsewhere or a turn of the wheel elsewhere. */

const EDGE = 4
let closeLast = () => {}

/**
 * Show the element under another one, or at `{ x, y }`, and return what closes it; the one shown before is closed.
 *
 * The keyboard goes where it was before, unless `close(false)` says that it has been put elsewhere.
 */
export function openPopup(element, at, closed = () => {}) {
  closeLast()
  const before = document.activeElement
  document.body.append(element)
  place(element, at)
  const ends = new AbortController()
  const isOutside = event => !element.contains(event.target)
  const listen = (target, name, act) => target.addEventListener(name, act, { capture: true, signal: ends.signal })
  listen(window, 'pointerdown', event => isOutside(event) && close(false))
  listen(window, 'wheel', event => isOutside(event) && close())
  listen(window, 'resize', () => close())
  listen(element, 'keydown', event => {
    if (event.key !== 'Escape') return
    event.preventDefault()
    event.stopPropagation()
    close()
  })
  element.addEventListener('keydown', event => event.stopPropagation())
  element.addEventListener('contextmenu', event => event.preventDefault())

  function close(isFocusBack = true) {
    if (ends.signal.aborted) return
    ends.abort()
    element.remove()
    if (isFocusBack && before?.isConnected) before.focus()
    closed()
  }

  closeLast = close
  return close
}

function place(element, at) {
  const box = at.getBoundingClientRect?.() ?? { left: at.x, top: at.y, bottom: at.y }
  const isAbove = box.bottom + element.offsetHeight + EDGE > innerHeight && box.top > innerHeight - box.bottom
  const top = isAbove ? box.top - element.offsetHeight - 2 : box.bottom + 2
  element.style.left = `${Math.max(EDGE, Math.min(box.left, innerWidth - element.offsetWidth - EDGE))}px`
  element.style.top = `${Math.max(EDGE, Math.min(top, innerHeight - element.offsetHeight - EDGE))}px`
}
