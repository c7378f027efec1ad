import { BlockList, isIPv4, isIPv6 } from 'node:net'
import { type Interfaces, plainHost } from './addresses.ts'

const privateNets = new BlockList()
privateNets.addSubnet('10.0.0.0', 8)
privateNets.addSubnet('172.16.0.0', 12)
privateNets.addSubnet('192.168.0.0', 16)
privateNets.addSubnet('169.254.0.0', 16)
privateNets.addSubnet('127.0.0.0', 8)
privateNets.addSubnet('fc00::', 7, 'ipv6')
privateNets.addSubnet('fe80::', 10, 'ipv6')
privateNets.addAddress('::1', 'ipv6')

/**
 * Whether an IP address is on one of the networks that this machine itself has an address on, and one that no router of the
 * internet would carry. It says where a connection comes from, not who is there.
 */
export function isNeighbour(address: string, interfaces: Interfaces): boolean {
  const host = plainHost(address)
  const family = familyOf(host)
  return family !== undefined && privateNets.check(host, family) && isOnNetwork(host, interfaces)
}

/** Whether an IP address is on one of the networks that this machine itself has an address on. */
export function isOnNetwork(address: string, interfaces: Interfaces): boolean {
  const host = plainHost(address)
  const family = familyOf(host)
  const own = new BlockList()
  for (const entries of Object.values(interfaces())) {
    for (const { cidr } of entries ?? []) {
      const [network = '', bits] = (cidr ?? '').split('/')
      const its = familyOf(network)
      if (its !== undefined && bits !== undefined) own.addSubnet(network, Number(bits), its)
    }
  }
  return family !== undefined && own.check(host, family)
}

function familyOf(host: string): 'ipv4' | 'ipv6' | undefined {
  if (isIPv4(host)) return 'ipv4'
  return isIPv6(host) ? 'ipv6' : undefined
}
