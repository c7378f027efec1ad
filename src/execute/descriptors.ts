import { readdirSync, readFileSync } from 'node:fs'
import { codeOf } from '../base/errors.ts'

const closeOnExec = 0o2000000

/**
 * Descriptors that this process was started with and would hand down to every process it starts: Node.js opens its own to
 * be closed then, but cannot do that for what a careless parent left open.
 * @returns their numbers, ascending, standard input, output and error left out
 */
export function inheritedDescriptors(): number[] {
  const inherited: number[] = []
  for (const name of readdirSync('/proc/self/fdinfo')) {
    const fd = Number(name)
    if (fd > 2 && (flagsOf(fd) & closeOnExec) === 0) inherited.push(fd)
  }
  return inherited.sort((a, b) => a - b)
}

function flagsOf(fd: number): number {
  try {
    return Number.parseInt(/^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '0', 8)
  } catch (error) {
    // The directory's own descriptor, closed by now.
    if (codeOf(error) === 'ENOENT') return closeOnExec
    throw error
  }
}
