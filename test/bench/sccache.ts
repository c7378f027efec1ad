import { mkdir } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { capture } from '../support/cluster.ts'

/** What cargo is told so that sccache is in front of rustc and of the C compilers, with a server and a cache of its own. */
export interface Sccache {
  env: NodeJS.ProcessEnv
  /** Ends its server. */
  close(): Promise<void>
}

/** @param program its path. @param dir new, for its cache. @throws when the server does not start */
export async function startSccache(program: string, dir: string): Promise<Sccache> {
  await mkdir(dir, { recursive: true })
  const own = {
    SCCACHE_DIR: join(dir, 'cache'),
    SCCACHE_SERVER_PORT: String(await freePort()),
    SCCACHE_CONF: join(dir, 'none.toml'),
    SCCACHE_IDLE_TIMEOUT: '0',
  }
  const env = { ...process.env, ...own }
  const started = await capture(program, ['--start-server'], { env })
  if (started.code !== 0) throw new Error(started.stderr)
  const told = { CARGO_INCREMENTAL: '0', RUSTC_WRAPPER: program, CC: `${program} cc`, CXX: `${program} c++` }
  return { env: { ...own, ...told }, close: async () => void (await capture(program, ['--stop-server'], { env })) }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
