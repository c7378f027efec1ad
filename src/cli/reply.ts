import { z } from 'zod'
import { foreignText, isErrorCode, ShoalError } from '../base/errors.ts'

const replyShape = z.union([
  z.object({ ok: z.literal(true), value: z.unknown() }),
  z.object({
    ok: z.literal(false),
    error: z.object({ code: z.string(), message: z.string(), hint: z.string().optional() }),
  }),
])

/**
 * The value in a reply of the daemon, unchecked.
 * @param from what was asked, for messages
 * @throws ShoalError the one that the daemon described, or ERR_DECODE when the text is no reply
 */
export function replyValue(text: string, from: string): unknown {
  let reply: unknown
  try {
    reply = JSON.parse(text)
  } catch (error) {
    throw new ShoalError('ERR_DECODE', `the answer to ${from} is not JSON`, { cause: error })
  }
  const parsed = replyShape.safeParse(reply)
  if (!parsed.success) throw new ShoalError('ERR_DECODE', `the answer to ${from} has an unknown shape`)
  if (!parsed.data.ok) throw describedError(parsed.data.error)
  return parsed.data.value
}

/** An error that was described in words; a code of a newer version becomes part of the message. */
function describedError(error: { code: string; message: string; hint?: string | undefined }): ShoalError {
  const options = error.hint === undefined ? {} : { hint: foreignText(error.hint) }
  const message = foreignText(error.message)
  if (isErrorCode(error.code)) return new ShoalError(error.code, message, options)
  return new ShoalError('ERR_INTERNAL', `${foreignText(error.code)}: ${message}`, options)
}
