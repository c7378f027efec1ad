import { readFile } from 'node:fs/promises'
import { createServer, isIP } from 'node:net'
import { join } from 'node:path'
import type { Multiaddr } from '@multiformats/multiaddr'
import { z } from 'zod'
import { toShoalError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { writeDurably } from '../store/durable.ts'
import { hostOf, listenAddresses } from './addresses.ts'

interface Ports {
  v: 1
  4?: number | undefined
  6?: number | undefined
}

interface PortsNeeds {
  stateDir: string
  log: Logger
}

const port = z.int().min(1).max(65_535)
const schema: z.ZodType<Ports> = z.object({ v: z.literal(1), 4: port.optional(), 6: port.optional() })

const fileOf = (stateDir: string): string => join(stateDir, 'ports.json')

/**
 * The addresses to listen on, with the ports of the last time where they are free: others remember this node by its addresses, links
 * have them in them, and where there is no mDNS nothing else tells where two are that were started again.
 * @param listen as `MeshInit.listen`, with a port that nobody has chosen
 */
export async function withLastPorts(
  { stateDir }: Pick<PortsNeeds, 'stateDir'>,
  listen: readonly string[],
): Promise<string[]> {
  if (!isPlain(listen)) return [...listen]
  const last = await lastPorts(stateDir)
  const on = async (host: string): Promise<string> => {
    const wanted = last[familyOf(host)]
    if (wanted === undefined || !(await isFree(host, wanted))) return host
    return listenAddresses([host], wanted)[0] ?? host
  }
  return await Promise.all(listen.map(on))
}

/**
 * Keeps the ports for the next time; that they cannot be kept is no reason not to run.
 * @param addresses where this node listens now
 */
export async function keepPorts(
  { stateDir, log }: PortsNeeds,
  listen: readonly string[],
  addresses: readonly Multiaddr[],
): Promise<void> {
  if (!isPlain(listen)) return
  const last = await lastPorts(stateDir)
  const now: Ports = { ...last }
  for (const address of addresses) {
    const family = isIP(hostOf(address))
    if (family === 4 || family === 6) now[family] = Number(address.getComponents()[1]?.value)
  }
  if (now[4] === last[4] && now[6] === last[6]) return
  try {
    await writeDurably(fileOf(stateDir), `${JSON.stringify(now)}\n`)
  } catch (error) {
    log.warn('the port was not kept for the next time', { error: toShoalError(error).message })
  }
}

const familyOf = (host: string): 4 | 6 => (isIP(host) === 6 ? 6 : 4)

/** Of each family one: two addresses may have two ports. */
function isPlain(listen: readonly string[]): boolean {
  return listen.every((entry) => isIP(entry) !== 0) && new Set(listen.map(familyOf)).size === listen.length
}

/** A file that is absent or damaged says nothing: any port will do. */
async function lastPorts(stateDir: string): Promise<Ports> {
  try {
    return schema.parse(JSON.parse(await readFile(fileOf(stateDir), 'utf8')))
  } catch (error) {
    if (error instanceof Error) return { v: 1 }
    throw error
  }
}

async function isFree(host: string, wanted: number): Promise<boolean> {
  const server = createServer((socket) => socket.destroy())
  return await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false))
    server.listen({ host, port: wanted, ipv6Only: isIP(host) === 6 }, () => server.close(() => resolve(true)))
  })
}
