import { existsSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { codeOf, ShoalError } from '../base/errors.ts'
import { checkOwnSocket } from '../base/private-path.ts'
import { encodeLocalFrame, FrameReader, localVersion } from '../wire/local.ts'
import type { Io } from './io.ts'
import { replyValue } from './reply.ts'

export interface AskOptions {
  /** Default 10 s. */
  timeoutMs?: number
  signal?: AbortSignal
}

/**
 * One question to the running node over its socket.
 * @returns the `value` of its answer, unchecked
 * @throws ShoalError ERR_DAEMON_DOWN when nobody listens, ERR_DEADLINE, ERR_FRAME, ERR_DECODE, or what the node answered
 */
export function ask(socketPath: string, method: string, params: object, options: AskOptions = {}): Promise<unknown> {
  return converse(socketPath, { method, params }, options)
}

/** `ask` for a command: the node of this environment, until Ctrl-C. */
export async function askNode(io: Io, method: string, params: object = {}, timeoutMs?: number): Promise<unknown> {
  const options = timeoutMs === undefined ? {} : { timeoutMs }
  try {
    return await ask(io.paths.socket, method, params, { ...options, signal: io.signal })
  } catch (error) {
    if (codeOf(error) !== 'ERR_DAEMON_DOWN' || existsSync(join(io.paths.state, 'mesh.json'))) throw error
    // `shoal up` would be refused.
    const hint = 'Run `shoal init`, or `shoal join` to join one; then `shoal up`.'
    throw new ShoalError('ERR_DAEMON_DOWN', 'no node runs here, and this machine belongs to no mesh yet', { hint })
  }
}

/** True when a node greets at this socket. @throws ShoalError ERR_DEADLINE, ERR_FRAME when something else does */
export async function answers(socketPath: string, options: AskOptions = {}): Promise<boolean> {
  try {
    await converse(socketPath, undefined, options)
    return true
  } catch (error) {
    if (codeOf(error) === 'ERR_DAEMON_DOWN') return false
    throw error
  }
}

interface Request {
  method: string
  params: object
}

async function converse(socketPath: string, request: Request | undefined, options: AskOptions): Promise<unknown> {
  const timeoutMs = options.timeoutMs ?? 10_000
  const deadline = AbortSignal.timeout(timeoutMs)
  const signal = options.signal === undefined ? deadline : AbortSignal.any([deadline, options.signal])
  signal.throwIfAborted()
  let socket: Socket | undefined
  try {
    await checkOwnSocket(socketPath)
    signal.throwIfAborted()
    socket = connect({ path: socketPath })
    return await exchange(socket, request, signal)
  } catch (error) {
    if (deadline.aborted) {
      throw new ShoalError('ERR_DEADLINE', `no answer to ${request?.method ?? 'a greeting'} within ${timeoutMs} ms`)
    }
    throw connectError(error, socketPath)
  } finally {
    socket?.destroy()
  }
}

/** @returns the answer to `request`; undefined after the greeting when there is none */
async function exchange(socket: Socket, request: Request | undefined, signal: AbortSignal): Promise<unknown> {
  const reader = new FrameReader()
  const abort = (): void => {
    socket.destroy(signal.reason instanceof Error ? signal.reason : new Error('aborted'))
  }
  signal.addEventListener('abort', abort, { once: true })
  try {
    socket.write(encodeLocalFrame({ type: 'hello', version: localVersion, client: 'cli' }))
    for await (const chunk of socket) {
      for (const frame of reader.push(chunk)) {
        if (frame.type === 'welcome') {
          if (frame.version !== localVersion) throw otherVersion(frame.version)
          if (request === undefined) return undefined
          socket.write(encodeLocalFrame({ type: 'request', json: JSON.stringify(request) }))
        } else if (frame.type === 'response') {
          return replyValue(frame.json, request?.method ?? 'nothing')
        }
      }
    }
    throw new ShoalError('ERR_DAEMON_DOWN', 'the node went away before it answered')
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

function otherVersion(version: number): ShoalError {
  return new ShoalError('ERR_FRAME', `the node speaks local protocol ${version}, this command ${localVersion}`, {
    hint: 'The running node is of another version: `shoal down`, then `shoal up`.',
  })
}

function connectError(error: unknown, socketPath: string): unknown {
  const code = codeOf(error)
  if (code === 'ENOENT' || code === 'ECONNREFUSED') {
    return new ShoalError('ERR_DAEMON_DOWN', `no node answers at ${socketPath}`, { cause: error })
  }
  if (code === 'ECONNRESET' || code === 'EPIPE') {
    return new ShoalError('ERR_DAEMON_DOWN', 'the node went away before it answered', { cause: error })
  }
  if (code === 'EINVAL' || code === 'ENAMETOOLONG') {
    const hint = 'Set SHOAL_HOME or XDG_RUNTIME_DIR to a shorter directory.'
    return new ShoalError('ERR_CONFIG', `the socket path is too long: ${socketPath}`, { hint, cause: error })
  }
  if (code !== undefined && !code.startsWith('ERR_')) {
    return new ShoalError('ERR_DAEMON_DOWN', `${socketPath} cannot be reached (${code})`, { cause: error })
  }
  return error
}
