import { checks } from './checks.ts'
import { runSteps } from './tools.ts'

const failed = await runSteps(checks)
process.stderr.write(failed.length === 0 ? 'check: all good\n' : `check failed: ${failed.join(', ')}\n`)
process.exitCode = failed.length === 0 ? 0 : 1
