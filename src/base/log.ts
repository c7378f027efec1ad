import { type DestinationStream, pino } from 'pino'

/** Structured events, not prose: a fixed message and its fields. */
export interface Logger {
  debug(message: string, fields?: Record<string, unknown>): void
  info(message: string, fields?: Record<string, unknown>): void
  warn(message: string, fields?: Record<string, unknown>): void
  error(message: string, fields?: Record<string, unknown>): void
  /** The same log under a narrower scope, such as `mesh`. */
  child(scope: string): Logger
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

/** JSON lines to `destination` (standard error by default). */
export function createLogger(level: LogLevel, destination?: DestinationStream): Logger {
  const root = destination ? pino({ level, base: null }, destination) : pino({ level, base: null }, pino.destination(2))
  const wrap = (inner: typeof root): Logger => ({
    debug: (message, fields = {}) => inner.debug(fields, message),
    info: (message, fields = {}) => inner.info(fields, message),
    warn: (message, fields = {}) => inner.warn(fields, message),
    error: (message, fields = {}) => inner.error(fields, message),
    child: (scope) => wrap(inner.child({ scope })),
  })
  return wrap(root)
}

const drop = (): void => undefined

/** For tests and tools that want no log. */
export const silentLogger: Logger = {
  debug: drop,
  info: drop,
  warn: drop,
  error: drop,
  child: () => silentLogger,
}

/** The same log, and every warning or error that carries a code is also told to `onTrouble`. */
export function watchedLogger(inner: Logger, onTrouble: (code: string, message: string) => void): Logger {
  const tell = (message: string, fields: Record<string, unknown> = {}): void => {
    if (typeof fields.code !== 'string') return
    const detail = fields.message ?? fields.error
    onTrouble(fields.code, typeof detail === 'string' ? `${message}: ${detail}` : message)
  }
  return {
    debug: (message, fields) => inner.debug(message, fields),
    info: (message, fields) => inner.info(message, fields),
    warn(message, fields) {
      inner.warn(message, fields)
      tell(message, fields)
    },
    error(message, fields) {
      inner.error(message, fields)
      tell(message, fields)
    },
    child: (scope) => watchedLogger(inner.child(scope), onTrouble),
  }
}
