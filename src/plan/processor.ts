import { createHash, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { codeOf } from '../base/errors.ts'

/** Lines of /proc/cpuinfo by which LLVM's idea of "this very processor" can differ; x86 and Arm. */
const telling =
  /^(vendor_id|cpu family|model|model name|stepping|flags|CPU implementer|CPU architecture|CPU variant|CPU part|CPU revision|Features)\s*:/

/** Instructions for which libm has code of its own, with other last digits. */
const ofMathematics = /^(avx2?|fma4?|avx512f)$/
const libm = /\S*\/libm[.-][\w.-]*\bso\b\S*/

/**
 * Names how sines, powers and the like are computed here, which a code generator does with those that are constant: by libm's content, and what of it this processor
 * has it use. For what this process itself has loaded, and by default whoever starts without libraries of its own.
 * @returns something else each time where that cannot be told
 */
export function mathematics(maps = '/proc/self/maps', cpuinfo = '/proc/cpuinfo'): string {
  try {
    const [path = ''] = libm.exec(readFileSync(maps, 'utf8')) ?? []
    const [, flags = ''] = /^flags\s*:(.*)$/m.exec(readFileSync(cpuinfo, 'utf8')) ?? []
    const used = flags.split(' ').filter((flag) => ofMathematics.test(flag))
    return createHash('sha256').update(readFileSync(path)).update(used.sort().join(' ')).digest('hex').slice(0, 32)
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return randomUUID()
  }
}

/**
 * Names the processor that `-C target-cpu=native` means here: a digest over every kind of core. Undefined where the
 * system does not tell.
 */
export function processorName(file = '/proc/cpuinfo'): string | undefined {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
  const lines = [...new Set(text.split('\n').filter((line) => telling.test(line)))].sort()
  return lines.length === 0 ? undefined : createHash('sha256').update(lines.join('\n')).digest('hex').slice(0, 32)
}
