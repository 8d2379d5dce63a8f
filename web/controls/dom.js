/** An element of the page, made in one expression. */

/** Make an element: properties that start with "on" are listeners, others are attributes; false and null leave one out. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value)
    else setAttribute(element, name, value)
  }
  element.append(...children.filter(child => child !== null && child !== undefined))
  return element
}

/** Make an element of a drawing. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  element.append(...children)
  return element
}

/** Set an attribute, or take it away with false, null or undefined. */
export function setAttribute(element, name, value) {
  if (value === false || value === null || value === undefined) element.removeAttribute(name)
  else element.setAttribute(name, value === true ? '' : value)
}

/** Make a sign from the host's own icon font, or of text where it starts with no "pi-". */
export function sign(name) {
  return name.startsWith('pi-') ? el('i', { class: `pi ${name}`, 'aria-hidden': 'true' }) : name
}

/** Make a button that shows a sign and is called by its label. */
export function iconButton(shown, label, act, attributes = {}) {
  return el('button', { type: 'button', class: 'wl-icon', 'aria-label': label, title: label, onclick: act, ...attributes }, sign(shown))
}

/** Make a chooser of [value, text] pairs. */
export function choice(label, title, pairs, value, change) {
  const known = pairs.some(([one]) => one === value)
  const options = (known ? pairs : [[value, String(value)], ...pairs]).map(([one, text]) =>
    el('option', { value: one, selected: one === value }, text)
  )
  return el('select', { class: 'wl-field wl-choice', 'aria-label': label, title, onchange: event => change(event.target.value) }, ...options)
}
