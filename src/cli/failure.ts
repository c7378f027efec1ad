import { styleText } from 'node:util'
import { type ErrorCode, toShoalError } from '../base/errors.ts'
import { type Io, note, printJson } from './io.ts'

/** What the exit code of `shoal` says. Permanent. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  notRunning: 3,
  degraded: 4,
  config: 5,
  timedOut: 6,
  refused: 7,
} as const

const exitCodeOf: Partial<Record<ErrorCode, number>> = {
  ERR_USAGE: exitCodes.usage,
  ERR_DAEMON_DOWN: exitCodes.notRunning,
  ERR_CONFIG: exitCodes.config,
  ERR_DEADLINE: exitCodes.timedOut,
  ERR_ADMISSION: exitCodes.refused,
  ERR_INVITE: exitCodes.refused,
  ERR_INVITE_BURNED: exitCodes.refused,
  ERR_INVITE_UNKNOWN: exitCodes.refused,
  ERR_INVITE_USED: exitCodes.refused,
  ERR_OTHER_MESH: exitCodes.refused,
  ERR_REVOKED: exitCodes.refused,
  ERR_ROLE: exitCodes.refused,
}

/** Says what went wrong and what to do about it. @returns the exit code */
export function reportFailure(io: Io, thrown: unknown, json: boolean): number {
  const error = toShoalError(thrown)
  if (json) printJson(io, { error: { code: error.code, message: error.message, hint: error.hint } })
  const label = `error[${error.code}]:`
  note(io, `${io.interactive ? styleText('red', label, { validateStream: false }) : label} ${error.message}`)
  note(io, `  hint: ${error.hint}`)
  if (error.code === 'ERR_INTERNAL' && error.cause instanceof Error && io.env.SHOAL_DEBUG)
    note(io, `${error.cause.stack}`)
  return exitCodeOf[error.code] ?? exitCodes.failed
}
