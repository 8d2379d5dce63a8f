/** The list of LoRA files to choose from, as the node's definition gives it. */

/** Return the files that hold every word typed, those first whose name begins with it. */
export function matching(files, typed) {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean)
  if (!words.length) return files
  const found = files.filter(file => words.every(word => file.toLowerCase().includes(word)))
  const begins = file => (file.toLowerCase().split(/[\\/]/).at(-1).startsWith(words[0]) ? 0 : 1)
  return found.toSorted((one, other) => begins(one) - begins(other))
}
