/** Rows as people and other tools write them, under our keys; `lora_core/stack/rows.py` reads and refuses them alike. */

const SYNONYMS = {
  adapter_name: 'name',
  lora: 'path',
  lora_name: 'path',
  lora_path: 'path',
  lora_scale: 'weight',
  lora_weight: 'weight',
  low_noise_strength: 'low_noise_weight',
  model_strength: 'weight',
  on: 'enabled',
  scale: 'weight',
  strength: 'weight',
  strength_model: 'weight',
  target_filter: 'targets'
}

/** diffusers' folder and file within the repository or folder that is the path. */
const WITHIN = ['subfolder', 'weight_name']
/** Strengths on the text encoder; one that says nothing of its own is left out. */
const TEXT_STRENGTHS = ['clip_strength', 'strengthTwo', 'strength_clip']
/** Keys under which others hold the list of rows. */
const LISTS = ['lora_configs', 'loras', 'lora_stack']

/** Return the rows that plain data stand for: a list of them, one alone, or an object that holds a list. */
export function rowsOf(form) {
  const rows = Array.isArray(form) ? form : listIn(form)
  return Array.isArray(rows) ? rows.map(row => (typeof row === 'string' ? { path: row } : row)) : rows
}

function listIn(form) {
  if (typeof form === 'string') return [form]
  if (form === null || typeof form !== 'object') return form
  const keys = Object.keys(form)
  if (keys.length === 1 && LISTS.includes(keys[0]) && Array.isArray(form[keys[0]])) return form[keys[0]]
  return keys.length && keys.every(key => /^lora_\d+$/.test(key)) ? Object.values(form) : [form]
}

/** Return the row under our keys; what cannot be meant is left for `lora_core` to refuse. */
export function withOurKeys(form) {
  if (typeof form === 'string') return { path: form }
  const named = Object.entries(form).map(([key, value]) => {
    const ours = SYNONYMS[key]
    return ours && !(ours in form) ? [ours, value] : [key, value]
  })
  return asNumbers(withoutTextStrengths(withFileWithin(Object.fromEntries(named))))
}

function withFileWithin(row) {
  const parts = ['path', ...WITHIN].map(key => row[key]).filter(part => part !== undefined && part !== null)
  if (!WITHIN.some(key => row[key]) || !parts.every(part => typeof part === 'string')) return row
  const { subfolder, weight_name, ...rest } = row
  return { ...rest, path: parts.map((part, place) => (place ? part.replace(/^\/+|\/+$/g, '') : part)).join('/') }
}

function withoutTextStrengths(row) {
  const idle = ([key, value]) => TEXT_STRENGTHS.includes(key) && (value === null || value === row.weight)
  return Object.fromEntries(Object.entries(row).filter(entry => !idle(entry)))
}

function asNumbers(row) {
  const isPair = Array.isArray(row.weight) && row.weight.length === 2 && !('low_noise_weight' in row)
  const apart = isPair ? { ...row, weight: row.weight[0], low_noise_weight: row.weight[1] } : { ...row }
  for (const key of ['weight', 'low_noise_weight']) {
    const value = apart[key]
    if (typeof value === 'string' && value.trim() && Number.isFinite(Number(value))) apart[key] = Number(value)
  }
  return apart
}
