import { globSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { checks } from './checks.ts'
import { root, run, runSteps } from './tools.ts'

// `npm test -- test/watch/*.test.ts` runs some of the tests, without the checks.
const chosen = process.argv.slice(2)
const failed = chosen.length > 0 ? [] : await runSteps(checks)
// Guests that take whatever they can get of this machine, for as long as it takes to stop them: nobody should run beside them.
const bombs = 'test/execute/hostile-bombs.test.ts'
const all = globSync('test/**/*.test.ts', { cwd: root }).sort()
const rounds = chosen.length > 0 ? [chosen] : [all.filter((file) => file !== bombs), [bombs]]
// No single test may hang the whole run; the longest builds a workspace on three nodes.
const timeoutMs = 600_000
// Half of the files wait more than they compute: nodes that look for each other, builds with one unit ready. No test asserts a time.
const atOnce = `--test-concurrency=${availableParallelism()}`
const options = ['--test', '--test-reporter=spec', `--test-timeout=${timeoutMs}`, atOnce]
let code = 0
for (const files of rounds) code = (await run(process.execPath, [...options, ...files])) || code
if (failed.length > 0) process.stderr.write(`check failed: ${failed.join(', ')} (see above)\n`)
process.exitCode = code === 0 && failed.length === 0 ? 0 : 1
