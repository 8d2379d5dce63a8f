/** The words shown to people, in the language ComfyUI is set to; a phrase without a translation stays English. */

import { app } from '../../scripts/app.js'
import { textOf } from './core/said.js'
import { CHINESE_SAID } from './said_zh.js'
import { CHINESE } from './words_zh.js'

/** Return a phrase in the user's language, with {names} filled in. */
export function say(phrase, names = {}) {
  const words = (isChinese() && CHINESE[phrase]) || phrase
  return words.replace(/\{(\w+)\}/g, (whole, name) => names[name] ?? whole)
}

/** Return what a node says in the user's language: its English, or its form in the words of that language. */
export function told(english, form) {
  return isChinese() && form !== undefined ? textOf(form, CHINESE_SAID) : english
}

/** Return whether what a node says is shown in another language than English. */
export function isTranslated() {
  return isChinese()
}

function isChinese() {
  return (app.extensionManager.setting.get('Comfy.Locale') ?? 'en').startsWith('zh')
}
