import { dirname, join, resolve } from 'node:path'

/** Where one node keeps its things. All paths absolute. */
export interface ShoalPaths {
  /** `config.toml`; need not exist. */
  config: string
  /** Identity, mesh membership, session history, the shim: what must not be lost. */
  state: string
  /** Blocks and traces: what can be computed again. */
  cache: string
  /** Socket, lock and announcement: gone after a reboot. Mode 0700. */
  run: string
  socket: string
  announce: string
  log: string
  shimDir: string
  /** The library that notes what compiles read; need not exist. */
  observer: string
}

export type Environment = Readonly<Record<string, string | undefined>>

/**
 * Follows the XDG base directories; `SHOAL_HOME=DIR` puts everything under one directory instead, so that several nodes
 * fit on one machine. Pure; `SHOAL_HOME` must be absolute, see `absoluteHome`.
 */
export function shoalPaths(env: Environment, home: string): ShoalPaths {
  const one = env.SHOAL_HOME
  const state = one ? join(one, 'state') : join(env.XDG_STATE_HOME || join(home, '.local/state'), 'shoal')
  const run = one ? join(one, 'run') : env.XDG_RUNTIME_DIR ? join(env.XDG_RUNTIME_DIR, 'shoal') : join(state, 'run')
  // SHOAL_HOME wins: a socket may be left in the shell from another node's `shoal env`.
  const socket = (one ? undefined : env.SHOAL_SOCKET) || join(run, 'shoal.sock')
  return {
    config: one ? join(one, 'config.toml') : join(env.XDG_CONFIG_HOME || join(home, '.config'), 'shoal/config.toml'),
    state,
    cache: one ? join(one, 'cache') : join(env.XDG_CACHE_HOME || join(home, '.cache'), 'shoal'),
    run,
    socket,
    // Where the shim looks for it, which knows the socket alone.
    announce: join(dirname(socket), 'announce'),
    log: join(state, 'daemon.log'),
    shimDir: join(state, 'bin'),
    observer: join(state, 'bin', 'libshoal-observer.so'),
  }
}

/** Makes `SHOAL_HOME` absolute, for this process and those that it starts elsewhere. To be called once, by a program. */
export function absoluteHome(env: Record<string, string | undefined>): void {
  if (env.SHOAL_HOME) env.SHOAL_HOME = resolve(env.SHOAL_HOME)
}
