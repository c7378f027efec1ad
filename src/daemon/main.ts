import { flushCompileCache } from 'node:module'
import { homedir } from 'node:os'
import { createInterface } from 'node:readline'
import { readConfig } from '../base/config.ts'
import { type ShoalError, toShoalError } from '../base/errors.ts'
import { createLogger } from '../base/log.ts'
import { absoluteHome, shoalPaths } from '../base/paths.ts'
import type { Person } from './join-network.ts'
import { startNode } from './node.ts'
import { setUp } from './setup.ts'

/**
 * The daemon's program. Without arguments it is the node, until a signal or a stop request. With `--once` it
 * reads one request, a line, from standard input, changes this node's files and answers with the last line on standard output.
 * Lines before that are for the person (`{"word": …}`); where one is a question, the next line of standard input answers it.
 */
absoluteHome(process.env)
// Said to this process alone, not to what it starts.
delete process.env.NODE_COMPILE_CACHE
const paths = shoalPaths(process.env, homedir())

/** A node that has just started has other things to do. */
const flushMs = 15_000

async function once(): Promise<void> {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
  const say = (value: unknown): boolean => process.stdout.write(`${JSON.stringify(value)}\n`)
  const person: Person = {
    tell: (word) => void say(word),
    async agrees(word) {
      say(word)
      return (await lines.next()).value === 'yes'
    },
  }
  let answer: unknown
  try {
    const { value: request = '' } = await lines.next()
    answer = { ok: true, value: await setUp(JSON.parse(request), paths, process.env, person) }
  } catch (error) {
    const { code, message, hint } = toShoalError(error)
    answer = { ok: false, error: { code, message, hint } }
  }
  say(answer)
  process.stdin.destroy()
}

async function serve(): Promise<void> {
  const config = await readConfig(paths.config)
  const log = createLogger(config.log)
  // A node serves whole builds: one peer's or one file's trouble must not end it.
  process.on('uncaughtException', (error) =>
    log.error('uncaught exception', { message: error.message, stack: error.stack }),
  )
  process.on('unhandledRejection', (error) => log.error('unhandled rejection', { message: String(error) }))
  if (process.getuid?.() === 0) {
    log.info('this node runs as root; what it compiles for others does not')
  }
  const node = await startNode({ paths, config, log, env: process.env })
  const stop = (): void => {
    // A part that does not let go must not keep the machine from shutting down.
    setTimeout(() => process.exit(1), 10_000).unref()
    void node.stop().then(() => process.exit(0))
  }
  // Otherwise it would be written at the end of this process, which may be that of the machine. Node writes what is new, mostly nothing.
  setTimeout(flushCompileCache, flushMs).unref()
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
  void node.stopRequested.then(stop)
}

function fail({ code, message, hint }: ShoalError): void {
  process.stderr.write(`error[${code}]: ${message}\n  hint: ${hint}\n`)
  process.exitCode = code === 'ERR_CONFIG' ? 5 : 1
}

if (process.argv[2] === '--once') await once()
else await serve().catch((error: unknown) => fail(toShoalError(error)))
