import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** What a liar puts in the place of what was compiled; as long, so that the library stays one. */
export const honest = 'HONEST'
export const poison = 'POISON'

/**
 * Stands in for bubblewrap: runs the real one, and when that has ended changes the libraries that came out. Whoever finds it first
 * along PATH is a node that lies, and signs what it says, without a line of its own code being another.
 */
const script = (real: string): string => `#!/bin/bash
[ "$1" = --version ] && exec ${real} --version
mapfile -d '' -t options <&4
for at in "\${!options[@]}"; do
  [ "\${options[at]}" = --bind ] && out="\${options[at+1]}"
done
${real} "$@" 4< <(printf '%s\\0' "\${options[@]}")
status=$?
for library in "$out"/*.rlib; do
  [ -e "$library" ] && [ "$status" = 0 ] && LC_ALL=C sed -i s/${honest}/${poison}/g "$library"
done
exit "$status"
`

/** @returns a PATH with which a daemon lies; it leads to a stand-in in `dir` */
export function lyingPath(dir: string): string {
  const bin = join(dir, 'lying')
  mkdirSync(bin, { recursive: true })
  const real = execFileSync('sh', ['-c', 'command -v bwrap'], { encoding: 'utf8' }).trim()
  writeFileSync(join(bin, 'bwrap'), script(real), { mode: 0o755 })
  return `${bin}:${process.env.PATH ?? '/usr/bin:/bin'}`
}
