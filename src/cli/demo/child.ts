import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { ShoalError } from '../../base/errors.ts'
import type { Environment } from '../../base/paths.ts'

export interface ChildOptions {
  env?: Environment
  cwd?: string
  stdin?: string
  signal?: AbortSignal
  /** Output goes to the terminal as it comes, and is not returned. */
  inherit?: boolean
}

export interface Ended {
  /** 1 when a signal ended it. */
  code: number
  /** Standard output and standard error, in the order in which they came. */
  output: string
  stdout: string
}

/**
 * Runs a program to its end, which an abort brings about; a non-zero exit is an answer, not an error.
 * @throws the signal's reason, once the program has ended
 */
export async function runChild(argv: readonly string[], options: ChildOptions = {}): Promise<Ended> {
  const [program = '', ...args] = argv
  const { signal, cwd, inherit = false } = options
  const child = spawn(program, args, {
    stdio: [
      options.stdin === undefined ? 'ignore' : 'pipe',
      inherit ? 'inherit' : 'pipe',
      inherit ? 'inherit' : 'pipe',
    ],
    ...(options.env === undefined ? {} : { env: options.env }),
    ...(cwd === undefined ? {} : { cwd }),
  })
  const stop = (): boolean => child.kill('SIGTERM')
  signal?.addEventListener('abort', stop, { once: true })
  let output = ''
  let stdout = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output += text
    stdout += text
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  child.stdin?.end(options.stdin)
  const [code] = await once(child, 'close').finally(() => signal?.removeEventListener('abort', stop))
  signal?.throwIfAborted()
  return { code: typeof code === 'number' ? code : 1, output, stdout }
}

/** The same, where only success will do. @throws ShoalError ERR_INTERNAL with what the program said */
export async function mustRun(argv: readonly string[], options: ChildOptions = {}): Promise<Ended> {
  const ended = await runChild(argv, options)
  if (ended.code === 0) return ended
  throw new ShoalError('ERR_INTERNAL', `${argv.join(' ')} ended with ${ended.code}: ${ended.output.trim()}`)
}
