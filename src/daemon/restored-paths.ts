const inName = /[\w.+-]|[^\u0000-\u007f]/
/** Where a JSON diagnostic names a source file: in a span, or in a line of the rendered text that begins an excerpt. */
const namesFile = /"file_name":"$|(?:\\n|"rendered":")(?:\\u001b\[[\d;]*m| )*(?:-->|:::|╭▸|⸬)(?:\\u001b\[[\d;]*m| )*$/u
/** Longer than what stands before the name in such a line. */
const lookBehind = 256

/**
 * Puts what is remapped back in what rustc wrote to standard error, as the shim does it (`src/shim/text.rs`): the longest that
 * fits, of equals the later; in a JSON diagnostic only where it names a source file, elsewhere wherever no longer path ends in it.
 */
export function restoredPaths(text: string, remaps: readonly { from: string; to: string }[]): string {
  const real = new Map(remaps.map(({ from, to }) => [to, from]))
  const targets = [...real.keys()].sort((a, b) => b.length - a.length)
  const restored = (line: string): string => {
    const fits = line.startsWith('{') ? isFileName : isWhole
    let result = ''
    let copied = 0
    for (let at = line.indexOf('/'); at >= 0; at = line.indexOf('/', at)) {
      const to = targets.find((target) => line.startsWith(target, at) && !inName.test(line[at + target.length] ?? ''))
      if (to === undefined || !fits(line, at)) {
        at++
        continue
      }
      result += line.slice(copied, at) + (real.get(to) ?? to)
      at += to.length
      copied = at
    }
    return result + line.slice(copied)
  }
  return targets.some((target) => text.includes(target)) ? text.split('\n').map(restored).join('\n') : text
}

function isFileName(line: string, at: number): boolean {
  return namesFile.test(line.slice(Math.max(0, at - lookBehind), at))
}

/** Nothing goes on from before it: `\0` ends the name of a root, and the letter that ends a colour is not part of a path. */
function isWhole(line: string, at: number): boolean {
  const last = line[at - 1]
  if (last === undefined || !(inName.test(last) || last === '/' || last === '\0')) return true
  return /\u001b\[[\d;]*m$/.test(line.slice(Math.max(0, at - lookBehind), at))
}
