import { lookup, resolveTxt } from 'node:dns/promises'
import { CODE_DNS, CODE_DNS4, CODE_DNS6, CODE_DNSADDR, type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { codeOf, ShoalError } from '../base/errors.ts'
import { isDialable, readMultiaddr } from './addresses.ts'

/** How names are resolved. */
export interface Resolver {
  /** IP addresses of a host. @param family 0 for either */
  hosts(name: string, family: 0 | 4 | 6): Promise<{ address: string; family: number }[]>
  /** Texts of a TXT record. */
  texts(name: string): Promise<string[]>
}

const systemResolver: Resolver = {
  hosts: (name, family) => lookup(name, { all: true, family }),
  texts: async (name) => (await resolveTxt(name)).map((parts) => parts.join('')),
}

const families: Readonly<Record<number, 0 | 4 | 6>> = { [CODE_DNS]: 0, [CODE_DNS4]: 4, [CODE_DNS6]: 6 }
const maxAddresses = 8
const prefix = 'dnsaddr='

/** Whether it stands for the addresses in a TXT record. */
export function isDnsaddr(address: Multiaddr): boolean {
  const [first] = address.getComponents()
  return first?.code === CODE_DNSADDR && address.getComponents().length <= 2
}

/**
 * Addresses with the names in them resolved, as they are now: `/dns4/HOST/tcp/PORT` by its host's addresses, `/dnsaddr/HOST` by the
 * `dnsaddr=` texts of `_dnsaddr.HOST`. Nothing is remembered.
 * @throws ShoalError ERR_PEER_LOST naming the name when none of them leads anywhere
 */
export async function resolved(addresses: readonly Multiaddr[], resolver = systemResolver): Promise<Multiaddr[]> {
  const found: Multiaddr[] = []
  let failure: ShoalError | undefined
  for (const address of addresses) {
    try {
      found.push(...(await resolvedOne(address, resolver)))
    } catch (error) {
      const [first] = address.getComponents()
      const why = codeOf(error) ?? (error instanceof Error ? error.message : String(error))
      failure = new ShoalError('ERR_PEER_LOST', `${first?.value ?? ''} cannot be resolved: ${why}`, { cause: error })
    }
  }
  if (found.length === 0 && failure !== undefined) throw failure
  return found.slice(0, maxAddresses)
}

async function resolvedOne(address: Multiaddr, resolver: Resolver): Promise<Multiaddr[]> {
  const [first, ...rest] = address.getComponents()
  const name = first?.value ?? ''
  if (isDnsaddr(address)) {
    const texts = await resolver.texts(`_dnsaddr.${name}`)
    const said = texts.filter((text) => text.startsWith(prefix)).map((text) => readMultiaddr(text.slice(prefix.length)))
    const usable = said.filter((one) => one !== undefined).filter(isDialable)
    if (usable.length === 0) throw new Error('no dnsaddr= with an address that can be dialled')
    return (await Promise.all(usable.slice(0, maxAddresses).map((one) => resolvedOne(one, resolver)))).flat()
  }
  const family = first === undefined ? undefined : families[first.code]
  if (family === undefined) return [address]
  const hosts = await resolver.hosts(name, family)
  const tail = rest.map(({ name: protocol, value }) => `/${protocol}/${value}`).join('')
  return hosts.map((host) => multiaddr(`/ip${host.family}/${host.address}${tail}`))
}
