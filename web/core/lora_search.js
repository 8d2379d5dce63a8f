/**
 * The words that LoRA files are searched by. A file must fit all of them:
 *   neon          a part of its path          wan/       a folder
 *   base:wan2.2   a part of its model's name  tag:style  a part of a tag, or of what it is for
 *   /high.*e40/   a regular expression on the path
 */

const PATTERN = /(^|\s)\/((?:\\.|[^/\\])+)\/(?=\s|$)/g
const KEYS = ['base', 'tag']

/** Return what is typed as { tests, first, fault, needsFacts }; a test takes a file and its facts: [bases, tags]. */
export function queryOf(typed) {
  const patterns = []
  const rest = typed.replace(PATTERN, (_, before, pattern) => { patterns.push(pattern); return before })
  const words = rest.toLowerCase().split(/\s+/).filter(Boolean)
  const plain = words.filter(word => !keyOf(word) && !word.endsWith('/'))
  try {
    const tests = [...patterns.map(matchesPattern), ...words.map(testOf)].filter(Boolean)
    return { tests, first: plain[0] ?? '', fault: '', needsFacts: words.some(keyOf) }
  } catch (error) {
    return { tests: [() => false], first: '', fault: error.message, needsFacts: false }
  }
}

/** Return a model's name as it is compared: "Wan Video 2.2 T2V-A14B" and "wan2.2-t2v-a14b" are one. */
export function folded(name) {
  return name.toLowerCase().replace(/video|[^\p{L}\p{N}]/gu, '')
}

function keyOf(word) {
  return KEYS.find(key => word.startsWith(`${key}:`))
}

function testOf(word) {
  const key = keyOf(word)
  const value = word.slice((key ?? '').length + 1)
  if (key && !value) return null
  if (key === 'base') return fitsBase(folded(value))
  if (key === 'tag') return (_, facts) => facts?.[1].some(tag => tag.toLowerCase().includes(value)) ?? false
  if (word.endsWith('/')) return file => `/${portable(file)}`.includes(`/${word.replace(/^\/+/, '')}`)
  const part = portable(word)
  return file => portable(file).includes(part)
}

/** Models are few and files many, so what is said of a model is kept. */
function fitsBase(value) {
  const known = new Map()
  const fits = base => known.get(base) ?? known.set(base, folded(base).includes(value)).get(base)
  return (_, facts) => facts?.[0].some(fits) ?? false
}

function matchesPattern(pattern) {
  const expression = new RegExp(pattern, 'i')
  return file => expression.test(file)
}

function portable(file) {
  return file.toLowerCase().replaceAll('\\', '/')
}
