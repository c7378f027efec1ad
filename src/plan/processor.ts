import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

/** Lines of /proc/cpuinfo by which LLVM's idea of "this very processor" can differ; x86 and Arm. */
const telling =
  /^(vendor_id|cpu family|model|model name|stepping|flags|CPU implementer|CPU architecture|CPU variant|CPU part|CPU revision|Features)\s*:/

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
