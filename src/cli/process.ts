import { readFile } from 'node:fs/promises'
import { codeOf } from '../base/errors.ts'
import { statFields } from '../base/proc-stat.ts'

/** False once the process is gone; a zombie that nobody has collected yet counts as gone. */
export async function processRuns(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (codeOf(error) === 'ESRCH') return false
    if (codeOf(error) !== 'EPERM') throw error
  }
  try {
    return statFields(await readFile(`/proc/${pid}/stat`, 'latin1'))[0] !== 'Z'
  } catch (error) {
    // Gone in between, or a system without /proc: there the signal above has answered.
    if (codeOf(error) === 'ENOENT') return process.platform !== 'linux'
    if (codeOf(error) === 'ESRCH') return false
    throw error
  }
}
