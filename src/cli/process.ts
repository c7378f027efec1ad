import { readFile } from 'node:fs/promises'
import { codeOf } from '../base/errors.ts'

/** False once the process is gone; a zombie that nobody has collected yet counts as gone. */
export async function processRuns(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (codeOf(error) === 'ESRCH') return false
    if (codeOf(error) !== 'EPERM') throw error
  }
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z'
  } catch (error) {
    // Gone in between, or a system without /proc: there the signal above has answered.
    if (codeOf(error) === 'ENOENT') return process.platform !== 'linux'
    if (codeOf(error) === 'ESRCH') return false
    throw error
  }
}
