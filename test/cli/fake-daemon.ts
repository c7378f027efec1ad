import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { encodeLocalFrame, FrameReader, localVersion } from '../../src/wire/local.ts'

interface Request {
  method: string
  params: unknown
}

/** A daemon's local socket that answers what it is told to; values that are functions are called with the parameters. */
export interface FakeDaemon {
  requests: Request[]
  close(): Promise<void>
}

export type Answers = Record<string, unknown>

/** An answer that is an error of the daemon. */
export class Refusal {
  readonly error: { code: string; message: string; hint?: string }

  constructor(error: { code: string; message: string; hint?: string }) {
    this.error = error
  }
}

/** Says nothing at all. */
export const silence = Symbol('silence')
/** Hangs up instead of answering. */
export const hangUp = Symbol('hang up')

export async function fakeDaemon(socketPath: string, answers: Answers, version = localVersion): Promise<FakeDaemon> {
  const requests: Request[] = []
  const sockets = new Set<Socket>()
  await mkdir(dirname(socketPath), { recursive: true })
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    // A client that has given up does not wait for the answer.
    socket.on('error', () => undefined)
    const reader = new FrameReader()
    socket.on('data', (chunk) => {
      for (const frame of reader.push(chunk)) {
        if (frame.type === 'hello') socket.write(encodeLocalFrame({ type: 'welcome', version }))
        if (frame.type === 'request') reply(socket, JSON.parse(frame.json))
      }
    })
  })
  const reply = (socket: Socket, request: Request): void => {
    requests.push(request)
    const answer = answers[request.method]
    const value = typeof answer === 'function' ? answer(request.params) : answer
    if (value === silence) return
    if (value === hangUp) {
      socket.destroy()
      return
    }
    const body = value instanceof Refusal ? { ok: false, error: value.error } : { ok: true, value }
    // In two pieces, as a socket may.
    const frame = encodeLocalFrame({ type: 'response', json: JSON.stringify(body) })
    socket.write(frame.subarray(0, 7))
    socket.write(frame.subarray(7))
  }
  server.listen(socketPath)
  await once(server, 'listening')
  return {
    requests,
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
