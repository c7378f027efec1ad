const inName = /[\w.+-]|[^\u0000-\u007f]/
/** The letter that ends an escape (`\n`, or a colour: `\u001b[0m`) is not part of a path. */
const endsEscape = /(?:(?:\\u001b|\u001b)\[[\d;]*m|(?<!\\)(?:\\\\)*\\[ntr])$/

/**
 * Puts what is remapped back, as the shim does it with what rustc says (`src/shim/text.rs`): whole paths only, each once, the
 * longest that fits, of equals the later.
 */
export function restoredPaths(text: string, remaps: readonly { from: string; to: string }[]): string {
  const real = new Map(remaps.map(({ from, to }) => [to, from]))
  const targets = [...real.keys()].sort((a, b) => b.length - a.length)
  let result = ''
  let copied = 0
  for (let at = text.indexOf('/'); at >= 0; at = text.indexOf('/', at)) {
    const to = targets.find((target) => text.startsWith(target, at) && !inName.test(text[at + target.length] ?? ''))
    if (to === undefined || continues(text, at)) {
      at++
      continue
    }
    result += text.slice(copied, at) + (real.get(to) ?? to)
    at += to.length
    copied = at
  }
  return result + text.slice(copied)
}

/** Whether a path goes on from what is before: `\0` ends the name of a root. */
function continues(text: string, at: number): boolean {
  const last = text[at - 1]
  if (last === undefined || !(inName.test(last) || last === '/' || last === '\0')) return false
  return !endsEscape.test(text.slice(Math.max(0, at - 64), at))
}
