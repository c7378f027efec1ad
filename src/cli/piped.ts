import type { Readable } from 'node:stream'

/** Whoever pipes something in has it ready; a standard input that says nothing is just open. */
const patienceMs = 1000

/** All of a stream, up to `maxBytes`. */
export async function restOf(stream: Readable, maxBytes: number): Promise<string> {
  let text = ''
  for await (const chunk of stream) {
    text += String(chunk)
    if (text.length > maxBytes) break
  }
  return text
}

/** The first line of a stream, when it begins within a second; else nothing, and the stream is left alone. */
export async function pipedLine(stream: Readable, maxBytes: number): Promise<string> {
  let text = ''
  const { promise, resolve } = Promise.withResolvers<void>()
  const onData = (chunk: unknown): void => {
    clearTimeout(timer)
    text += String(chunk)
    if (text.includes('\n') || text.length > maxBytes) resolve()
  }
  const timer = setTimeout(resolve, patienceMs)
  stream.on('data', onData).once('end', resolve).once('error', resolve)
  await promise
  clearTimeout(timer)
  stream.off('data', onData)
  stream.pause()
  // An open pipe would keep the process alive.
  if ('unref' in stream && typeof stream.unref === 'function') stream.unref()
  return text.split('\n')[0] ?? ''
}
