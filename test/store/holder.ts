import { once } from 'node:events'
import { codeOf } from '../../src/base/errors.ts'
import { type Lock, takeLock } from '../../src/store/lock.ts'

/** Takes the lock named by its argument, says `held` (or the error's code), and keeps it until standard input ends. */
const [path = ''] = process.argv.slice(2)
let lock: Lock | undefined
try {
  lock = await takeLock(path)
} catch (error) {
  process.stdout.write(`${codeOf(error)}\n`)
}
if (lock !== undefined) {
  process.stdout.write('held\n')
  process.stdin.resume()
  await once(process.stdin, 'end')
  await lock.release()
}
